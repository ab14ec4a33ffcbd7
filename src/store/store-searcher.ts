import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { fuseRanks, fuseScores, type RankedRows } from '../search/fusion.ts';
import type { SearchIndex } from '../search/search-index.ts';
import { UsageError } from '../util/errors.ts';
import type { ApproximateOptions } from './embedding-table.ts';
import { filterSql, type MetadataFilter } from './filter.ts';
import { PassageRows } from './passage-input.ts';
import type { StoredPassage } from './passage-table.ts';
import type { Store, StoreSnapshot } from './store.ts';
import { loadEncoder } from './stored-encoder.ts';
import { openStoredIndex } from './stored-index.ts';
import { openVectors, type VectorSource } from './vector-source.ts';

/** Way of finding passages. */
export type SearchMode = 'dense' | 'bm25' | 'hybrid';

/** Settings of one search. */
export interface StoreSearchOptions {
  /** Way of finding passages. Default `hybrid`. */
  readonly mode?: SearchMode | undefined;
  /** Passages to find, ≥ 1. Default 10. */
  readonly topK?: number | undefined;
  /** Conditions that a passage must fulfil. Default none. */
  readonly filter?: MetadataFilter | undefined;
  /** Search approximately, where the store has an index for it. Default exactly. */
  readonly approximate?: ApproximateOptions | boolean | undefined;
  /**
   * Fusion of a hybrid search. Default: reciprocal ranks. A weight w in [0, 1]: w times the dense scores and 1 − w times those of
   * BM25, each scaled to [0, 1].
   */
  readonly denseWeight?: number | undefined;
  /** Candidates that each part of a hybrid search gives. Default 10 · topK, at least 100. */
  readonly candidates?: number | undefined;
}

/** Passage that was found. */
export interface StoreHit extends StoredPassage {
  /** Rank, from 1. */
  readonly rank: number;
  /** Score, comparable within one search. */
  readonly score: number;
  /** Parts of the score of a hybrid search: the inner product and the BM25 score, where each has found the passage. */
  readonly parts?: { readonly dense?: number; readonly bm25?: number };
}

/** Settings of a {@link StoreSearcher}. */
export interface SearcherOptions extends ComputeOptions {
  /** Most bytes of vectors to keep in memory. Default 40 % of the machine's. */
  readonly memoryBytes?: number | undefined;
}

/** Index over the vectors of a snapshot. */
interface OpenIndex {
  readonly snapshot: StoreSnapshot;
  readonly source: Promise<VectorSource>;
  readonly index: Promise<SearchIndex>;
}

async function free(open: OpenIndex | undefined): Promise<void> {
  await (await open?.index)?.dispose();
  await (await open?.source)?.dispose();
}

/** Searches a store. It keeps the model of the current space and, if they fit, its vectors in memory. */
export class StoreSearcher {
  private readonly store: Store;
  private readonly options: SearcherOptions;
  private readonly compute: ComputeOptions;
  private encoder: { space: string; retriever: Promise<Retriever> } | undefined;
  private exact: OpenIndex | undefined;

  constructor(store: Store, options: SearcherOptions = {}) {
    const { memoryBytes: _, ...compute } = options;
    this.store = store;
    this.options = options;
    this.compute = compute;
  }

  /**
   * Finds passages for a text.
   *
   * @throws UsageError for an empty text, a dense search of a store without vectors, and an approximate search without index
   */
  async search(text: string, options: StoreSearchOptions = {}): Promise<StoreHit[]> {
    const { mode = 'hybrid', topK = 10 } = options;
    if (text.trim() === '') throw new UsageError('the text to search for is empty');
    const snapshot = await this.store.snapshot();
    const depth = mode === 'hybrid' ? (options.candidates ?? Math.max(100, 10 * topK)) : topK;
    const dense = mode === 'bm25' ? undefined : await this.dense(snapshot, text, depth, options);
    const bm25 = mode === 'dense' ? undefined : await this.bm25(snapshot, text, depth, options);
    const found = dense && bm25 ? fused(dense, bm25, options.denseWeight) : (dense ?? bm25)!;
    const rows = Array.from(found.rows).slice(0, topK);
    const passages = new Map((await snapshot.passages.read(rows)).map((passage) => [passage.pid, passage]));
    const parts = dense && bm25 && partsOf(dense, bm25);
    return rows.flatMap((pid, i) => {
      const passage = passages.get(pid);
      if (!passage) return [];
      return { ...passage, rank: i + 1, score: found.scores[i]!, ...(parts && { parts: parts(pid) }) };
    });
  }

  /** Embeds a text as a query in the current space. */
  async embed(text: string): Promise<Float32Array> {
    const space = this.currentSpace();
    if (this.encoder?.space !== space) {
      const former = this.encoder;
      this.encoder = { space, retriever: loadEncoder(this.store, space) };
      if (former) await (await former.retriever).dispose();
    }
    return await (await this.encoder.retriever).encode('query', [text], this.compute);
  }

  /** Frees the model and the vectors. */
  async dispose(): Promise<void> {
    await (await this.encoder?.retriever)?.dispose();
    await free(this.exact);
  }

  private async dense(
    snapshot: StoreSnapshot,
    text: string,
    k: number,
    { filter = [], approximate }: StoreSearchOptions,
  ): Promise<RankedRows> {
    const space = this.currentSpace();
    const query = await this.embed(text);
    const condition = filterSql(filter);
    if (approximate) {
      const table = snapshot.embeddings(space);
      if ((await table.approximate()) === undefined) {
        throw new UsageError('the store has no index for approximate search', {
          help: 'build one with undrift index --approximate ivf, or search exactly',
        });
      }
      const settings = approximate === true ? {} : approximate;
      if (condition === undefined) {
        const { pids, scores } = await table.searchApproximately(query, k, settings);
        return { rows: pids, scores };
      }
    }
    if (condition === undefined) return await (await this.exactIndex(snapshot, space)).search(query, k);
    const among = new Set<number>();
    for await (const pids of snapshot.passages.pids(condition)) for (const pid of pids) among.add(pid);
    const source = await openVectors(this.store, snapshot, space, { ...this.compute, among });
    const index = await openStoredIndex(source, this.options);
    const found = await index.search(query, k);
    await index.dispose();
    await source.dispose();
    return found;
  }

  private async bm25(
    snapshot: StoreSnapshot,
    text: string,
    k: number,
    { filter = [] }: StoreSearchOptions,
  ): Promise<RankedRows> {
    const terms = new PassageRows(this.store.head.terms).queryTerms(text);
    const found = await snapshot.passages.search(terms, k, filterSql(filter));
    return { rows: found.map(({ pid }) => pid), scores: found.map(({ score }) => score) };
  }

  private async exactIndex(snapshot: StoreSnapshot, space: string): Promise<SearchIndex> {
    if (this.exact?.snapshot !== snapshot) {
      const former = this.exact;
      const source = openVectors(this.store, snapshot, space, this.compute);
      const index = source.then((vectors) => openStoredIndex(vectors, this.options));
      this.exact = { snapshot, source, index };
      await free(former);
    }
    return await this.exact.index;
  }

  private currentSpace(): string {
    const { current } = this.store.head;
    if (current !== null) return current;
    throw new UsageError('the store has no vectors yet', {
      help: 'undrift index --model MODEL --store STORE',
    });
  }
}

const fused = (dense: RankedRows, bm25: RankedRows, denseWeight: number | undefined): RankedRows =>
  denseWeight === undefined
    ? fuseRanks([dense, bm25])
    : fuseScores([dense, bm25], [denseWeight, 1 - denseWeight]);

/** Makes the function that returns the scores of a row in both rankings. */
function partsOf(dense: RankedRows, bm25: RankedRows): (row: number) => StoreHit['parts'] & {} {
  const scores = ({ rows, scores }: RankedRows) => new Map(Array.from(rows, (row, i) => [row, scores[i]!]));
  const [byVector, byTerms] = [scores(dense), scores(bm25)];
  return (row) => ({
    ...(byVector.has(row) && { dense: byVector.get(row)! }),
    ...(byTerms.has(row) && { bm25: byTerms.get(row)! }),
  });
}
