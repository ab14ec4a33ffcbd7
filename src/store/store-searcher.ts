import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { type FusedRows, fuseRanks, fuseScores, type RankedRows } from '../search/fusion.ts';
import type { SearchIndex, SearchResult } from '../search/search-index.ts';
import { UsageError } from '../util/errors.ts';
import type { ApproximateOptions } from './embedding-table.ts';
import { filterSql, type MetadataFilter } from './filter.ts';
import { PassageRows } from './passage-input.ts';
import type { StoredPassage } from './passage-table.ts';
import type { Store, StoreSnapshot } from './store.ts';
import { loadEncoder } from './stored-encoder.ts';
import { openStoredIndex, type StoredIndexOptions } from './stored-index.ts';
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
  /** Space to search in. Default the current one of the store. */
  readonly space?: string | undefined;
  /** Find passages without a vector in this space by those of other spaces, moved by the store's correctors. Default true. */
  readonly corrected?: boolean | undefined;
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
  private readonly indexOptions: StoredIndexOptions;
  private encoder: { space: string; retriever: Promise<Retriever> } | undefined;
  private exact: OpenIndex | undefined;

  constructor(store: Store, options: SearcherOptions = {}) {
    const { memoryBytes: _, space: __, corrected: ___, ...compute } = options;
    this.store = store;
    this.options = options;
    this.compute = compute;
    this.indexOptions = { ...compute, memoryBytes: options.memoryBytes };
  }

  /**
   * Finds passages for a text.
   *
   * @throws UsageError for an empty text, a dense search of a store without vectors, and an approximate search without index
   */
  async search(text: string, options: StoreSearchOptions = {}): Promise<StoreHit[]> {
    const [found] = await this.searchAll([text], options);
    return found!;
  }

  /** Finds passages for several texts; see {@link StoreSearcher.search}. */
  async searchAll(texts: readonly string[], options: StoreSearchOptions = {}): Promise<StoreHit[][]> {
    if (texts.some((text) => text.trim() === '')) throw new UsageError('the text to search for is empty');
    const snapshot = await this.store.snapshot();
    const rankings = await this.rankAll(snapshot, texts, options);
    const pids = [...new Set(rankings.flatMap(({ rows }) => rows))];
    const passages = new Map((await snapshot.passages.read(pids)).map((passage) => [passage.pid, passage]));
    return rankings.map(({ rows, scores, parts }) =>
      rows.flatMap((pid, i) => {
        const passage = passages.get(pid);
        if (!passage) return [];
        return { ...passage, rank: i + 1, score: scores[i]!, ...(parts && { parts: parts(pid) }) };
      }),
    );
  }

  /**
   * Ranks passages for several texts, which takes less time than one search for each.
   *
   * @returns  numbers of passages and scores for each text, best first
   */
  async rank(texts: readonly string[], options: StoreSearchOptions = {}): Promise<FusedRows[]> {
    return await this.rankAll(await this.store.snapshot(), texts, options);
  }

  private async rankAll(
    snapshot: StoreSnapshot,
    texts: readonly string[],
    options: StoreSearchOptions,
  ): Promise<Ranking[]> {
    const { mode = 'hybrid', topK = 10 } = options;
    const depth = mode === 'hybrid' ? (options.candidates ?? Math.max(100, 10 * topK)) : topK;
    const dense = mode === 'bm25' ? undefined : await this.dense(snapshot, texts, depth, options);
    const bm25: RankedRows[] = [];
    if (mode !== 'dense') {
      for (const text of texts) bm25.push(await this.bm25(snapshot, text, depth, options));
    }
    return texts.map((_, i) => {
      const both = mode === 'hybrid';
      const found = both ? fused(dense![i]!, bm25[i]!, options.denseWeight) : (dense ?? bm25)[i]!;
      return {
        rows: Array.from(found.rows).slice(0, topK),
        scores: Array.from(found.scores).slice(0, topK),
        ...(both && { parts: partsOf(dense![i]!, bm25[i]!) }),
      };
    });
  }

  /** Embeds texts as queries in the current space: f32[texts, D]. */
  async embed(texts: readonly string[]): Promise<Float32Array> {
    const { retriever } = await this.model();
    return await retriever.encode('query', texts, this.compute);
  }

  /** Returns the model of the current space. It belongs to the searcher. */
  async model(): Promise<{ retriever: Retriever; space: string }> {
    const space = this.currentSpace();
    if (this.encoder?.space !== space) {
      const former = this.encoder;
      this.encoder = { space, retriever: loadEncoder(this.store, space) };
      if (former) await (await former.retriever).dispose();
    }
    return { retriever: await this.encoder.retriever, space };
  }

  /** Loads the model and the vectors, so that the next search need not. */
  async warm(): Promise<void> {
    await this.model();
    await this.exactIndex(await this.store.snapshot(), this.currentSpace());
  }

  /** Frees the model and the vectors. */
  async dispose(): Promise<void> {
    await (await this.encoder?.retriever)?.dispose();
    await free(this.exact);
  }

  private async dense(
    snapshot: StoreSnapshot,
    texts: readonly string[],
    k: number,
    { filter = [], approximate }: StoreSearchOptions,
  ): Promise<RankedRows[]> {
    const space = this.currentSpace();
    const queries = await this.embed(texts);
    const condition = filterSql(filter);
    if (approximate) {
      if (condition !== undefined) {
        throw new UsageError('an approximate search takes no filter', { help: 'search exactly' });
      }
      const table = snapshot.embeddings(space);
      if ((await table.approximate()) === undefined) {
        throw new UsageError('the store has no index for approximate search', {
          help: 'build one with undrift index --approximate ivf, or search exactly',
        });
      }
      const settings = approximate === true ? {} : approximate;
      const D = table.dimension;
      const found: RankedRows[] = [];
      for (let start = 0; start < queries.length; start += D) {
        const best = await table.searchApproximately(queries.subarray(start, start + D), k, settings);
        found.push({ rows: best.pids, scores: best.scores });
      }
      return found;
    }
    if (condition === undefined) {
      return splitRows(await (await this.exactIndex(snapshot, space)).search(queries, k), texts.length);
    }
    const among = new Set<number>();
    for await (const pids of snapshot.passages.pids(condition)) for (const pid of pids) among.add(pid);
    const { corrected } = this.options;
    const source = await openVectors(this.store, snapshot, space, { ...this.compute, among, corrected });
    const index = await openStoredIndex(source, this.indexOptions);
    const found = await index.search(queries, k);
    await index.dispose();
    await source.dispose();
    return splitRows(found, texts.length);
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
      const { corrected } = this.options;
      const source = openVectors(this.store, snapshot, space, { ...this.compute, corrected });
      const index = source.then((vectors) => openStoredIndex(vectors, this.indexOptions));
      this.exact = { snapshot, source, index };
      await free(former);
    }
    return await this.exact.index;
  }

  private currentSpace(): string {
    const current = this.options.space ?? this.store.head.current;
    if (current !== null) return current;
    throw new UsageError('the store has no vectors yet', {
      help: 'undrift index --model MODEL --store STORE',
    });
  }
}

/** Ranking of one text, with the parts of its scores where there are two. */
interface Ranking extends FusedRows {
  readonly parts?: (pid: number) => StoreHit['parts'] & {};
}

/** Splits the result of a search for several queries. */
const splitRows = ({ rows, scores, k }: SearchResult, queries: number): RankedRows[] =>
  Array.from({ length: queries }, (_, i) => ({
    rows: rows.subarray(i * k, (i + 1) * k),
    scores: scores.subarray(i * k, (i + 1) * k),
  }));

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
