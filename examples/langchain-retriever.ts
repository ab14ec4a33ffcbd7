/**
 * A store as a retriever of LangChain.js (npm package `@langchain/core`, version 1), for chains and agents:
 *
 *   const retriever = await UndriftRetriever.open('stores/docs', { topK: 4, filter: ['year>=2020'] });
 *   const documents = await retriever.invoke('how do I undo a commit');
 *
 * `npx tsx langchain-retriever.ts STORE QUERY` prints what is found. `undrift index` or `undrift up` makes the store.
 */
import { pathToFileURL } from 'node:url';
import { Document } from '@langchain/core/documents';
import { BaseRetriever } from '@langchain/core/retrievers';
import { parseCondition, Store, StoreSearcher, type StoreSearchOptions } from 'undrift/store';

/** Settings of a search, with filters as text: `year>=2020`. */
export interface UndriftRetrieverOptions extends Omit<StoreSearchOptions, 'filter'> {
  readonly filter?: readonly string[];
}

/** Retriever of LangChain.js over a store. It keeps the store's model in memory until `close`. */
export class UndriftRetriever extends BaseRetriever {
  lc_namespace = ['undrift'];
  private readonly store: Store;
  private readonly searcher: StoreSearcher;
  private readonly options: StoreSearchOptions;

  private constructor(store: Store, { filter, ...options }: UndriftRetrieverOptions) {
    super();
    this.store = store;
    this.searcher = new StoreSearcher(store);
    this.options = { ...options, filter: filter?.map(parseCondition) };
  }

  static override lc_name(): string {
    return 'UndriftRetriever';
  }

  static async open(folder: string, options: UndriftRetrieverOptions = {}): Promise<UndriftRetriever> {
    return new UndriftRetriever(await Store.open(folder), options);
  }

  override async _getRelevantDocuments(query: string): Promise<Document[]> {
    const hits = await this.searcher.search(query, this.options);
    return hits.map(({ id, title, text, metadata, score }) => {
      const pageContent = title === '' ? text : `${title}\n${text}`;
      return new Document({ id, pageContent, metadata: { ...metadata, score } });
    });
  }

  async close(): Promise<void> {
    await this.searcher.dispose();
    await this.store.close();
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [folder = 'undrift-store', query = 'how do I undo a commit'] = process.argv.slice(2);
  const retriever = await UndriftRetriever.open(folder, { topK: 3 });
  for (const { id, pageContent, metadata } of await retriever.invoke(query)) {
    console.log(`${metadata.score.toFixed(4)}  ${id}  ${pageContent.replace(/\s+/g, ' ').slice(0, 80)}`);
  }
  await retriever.close();
}
