import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { type FusedRows, fuseRanks, fuseScores, type RankedRows } from '../search/fusion.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { SharedResource } from '../util/shared-resource.ts';
import { searchDense } from './dense-search.ts';
import type { ApproximateOptions } from './embedding-table.ts';
import { filterSql, type MetadataFilter } from './filter.ts';
import { inGroups } from './in-groups.ts';
import { PassageRows } from './passage-input.ts';
import type { StoredPassage } from './passage-table.ts';
import type { EmbeddedQueries } from './query-adapter.ts';
import { type StoreRerank, searchReranked } from './rerank-search.ts';
import type { Store } from './store.ts';
import type { StoreHead } from './store-head.ts';
import { StoreView, type ViewOptions } from './store-view.ts';
import { searchTerms } from './term-search.ts';

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
  /**
   * Smallest score of a passage that is found, in dense and BM25 searches. The scores of a hybrid search depend on what else is found, so
   * that it has none. Default none.
   */
  readonly minScore?: number | undefined;
  /** Candidates that each part of a hybrid search gives. Default 10 · topK, at least 100. */
  readonly candidates?: number | undefined;
  /** Reranking of what was found by a cross-encoder, whose scores the hits then have. Default none. */
  readonly rerank?: StoreRerank | undefined;
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

/** Searches a store. It keeps the model of the current space and, if they fit, its vectors in memory. */
export class StoreSearcher {
  private readonly store: Store;
  private readonly space: string | undefined;
  private readonly options: ViewOptions;
  /** View of the commit that searches read. */
  private view: SharedResource<StoreView> | undefined;
  /** Head of that commit. */
  private head: StoreHead | undefined;
  private following: Promise<void> | undefined;
  private reloads = 0;

  constructor(store: Store, options: SearcherOptions = {}) {
    const { space, corrected, memoryBytes, ...compute } = options;
    this.store = store;
    this.space = space;
    // Who names a space wants to see what its own model finds.
    this.options = { corrected, adapted: space === undefined, memoryBytes, compute };
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
    const { rerank } = options;
    if (rerank)
      return await searchReranked((found) => this.searchAll(texts, found), texts, { ...options, rerank });
    return await this.withView(async (view) => {
      const rankings = await this.rankAll(view, texts, options);
      const pids = [...new Set(rankings.flatMap(({ rows }) => rows))];
      const passages = new Map((await view.passages.read(pids)).map((passage) => [passage.pid, passage]));
      return rankings.map(({ rows, scores, parts }) =>
        rows.flatMap((pid, i) => {
          const passage = passages.get(pid);
          if (!passage) return [];
          return { ...passage, rank: i + 1, score: scores[i]!, ...(parts && { parts: parts(pid) }) };
        }),
      );
    });
  }

  /**
   * Ranks passages for several texts, which takes less time than one search for each. Nothing is reranked.
   *
   * @returns  numbers of passages and scores for each text, best first
   */
  async rank(texts: readonly string[], options: StoreSearchOptions = {}): Promise<FusedRows[]> {
    return await this.withView((view) => this.rankAll(view, texts, options));
  }

  /** Embeds texts as queries in the current space: f32[texts, D]. */
  async embed(texts: readonly string[]): Promise<Float32Array> {
    return (await this.embedQueries(texts)).vectors;
  }

  /** Embeds texts as queries; see {@link StoreSearcher.embed}. */
  async embedQueries(
    texts: readonly string[],
  ): Promise<EmbeddedQueries & { readonly dimension: number; readonly space: string }> {
    return await this.withView(async (view) => {
      const space = spaceOfView(view);
      const { dimension } = view.snapshot.embeddings(space);
      return { ...(await view.embed(space, texts)), dimension, space };
    });
  }

  /**
   * Works with the model of the current space, which is not freed meanwhile.
   *
   * @throws UsageError if the store has no vectors
   */
  async useModel<T>(work: (retriever: Retriever, space: string) => Promise<T>): Promise<T> {
    // The view is let go of at once, so that long work does not hold up a move to the next commit.
    const { space, model } = await this.withView(async (view) => {
      const space = spaceOfView(view);
      return { space, model: await (await view.model(space)).acquire() };
    });
    try {
      return await work(model.value, space);
    } finally {
      model.release();
    }
  }

  /** Loads the model and the vectors, so that the next search need not. */
  async warm(): Promise<void> {
    await this.withView(async (view) => {
      if (view.space === null) return;
      await view.loadQueryModel(view.space);
      await view.index(view.space);
    });
  }

  /**
   * Reads what other processes have committed, and loads what has changed. Searches read the former commit until this is done; they
   * do not wait.
   */
  async reload(): Promise<void> {
    this.reloads += 1;
    try {
      await this.store.reload();
      await this.follow();
    } finally {
      this.reloads -= 1;
    }
    await this.warm();
  }

  /** Frees the model and the vectors, after the searches that have begun. */
  async dispose(): Promise<void> {
    await this.following?.catch(() => {});
    const { view } = this;
    this.view = undefined;
    this.head = undefined;
    await view?.free();
  }

  /**
   * Works on one commit: the newest, or the one before it while `reload` loads the newest. If another process has removed tables of
   * this commit meanwhile, the work is repeated on its successor.
   */
  private async withView<T>(work: (view: StoreView) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      let head: StoreHead | undefined;
      try {
        await this.followUnlessReloading();
        head = this.head;
        return await this.view!.use(work);
      } catch (error) {
        if (error instanceof UsageError || attempt === ATTEMPTS) throw error;
        await this.store.reload();
        if (this.store.head === head) throw error;
        await this.follow();
      }
    }
  }

  private async followUnlessReloading(): Promise<void> {
    const isLate = () => this.view === undefined || (this.reloads === 0 && this.head !== this.store.head);
    // The first may be on the way to an earlier commit.
    if (isLate()) await this.follow();
    if (isLate()) await this.follow();
  }

  /** Moves to the newest commit. Calls at one time share the work. */
  private follow(): Promise<void> {
    this.following ??= this.followNow().finally(() => {
      this.following = undefined;
    });
    return this.following;
  }

  private async followNow(): Promise<void> {
    const snapshot = await this.store.snapshot();
    if (snapshot.head === this.head) return;
    const space = this.space ?? snapshot.head.current;
    const { view } = this;
    const next = view
      ? await view.use((present) => present.next(snapshot, space))
      : { view: new StoreView(this.store, snapshot, space, this.options) };
    if ('move' in next) await view!.change(next.move);
    else {
      this.view = new SharedResource(next.view, async (unused) => unused.dispose());
      // Searches that have begun go on with the former one.
      void view?.free();
    }
    this.head = snapshot.head;
  }

  private async rankAll(
    view: StoreView,
    texts: readonly string[],
    options: StoreSearchOptions,
  ): Promise<Ranking[]> {
    const { mode = 'hybrid', topK = 10, filter = [], approximate = false, minScore } = options;
    checkMinScore(mode, minScore);
    const depth = mode === 'hybrid' ? (options.candidates ?? candidatesFor(topK)) : topK;
    const condition = filterSql(filter);
    const byVectors = async (): Promise<RankedRows[]> => {
      const space = spaceOfView(view);
      const { vectors: queries } = await view.embed(space, texts);
      return await searchDense(view, space, {
        queries,
        k: depth,
        condition,
        approximate: approximate === true ? {} : approximate || undefined,
      });
    };
    const byTerms = async (): Promise<RankedRows[]> => {
      const rows = new PassageRows(view.snapshot.head.terms);
      return await inGroups(texts, TERM_SEARCHES, (text) =>
        searchTerms(view, rows.queryTerms(text), depth, condition),
      );
    };
    const [dense, bm25] = await both(
      mode === 'bm25' ? undefined : byVectors,
      mode === 'dense' ? undefined : byTerms,
    );
    return texts.map((_, i) => {
      const found = dense && bm25 ? fused(dense[i]!, bm25[i]!, options.denseWeight) : (dense ?? bm25)![i]!;
      const scores = Array.from(found.scores).slice(0, topK);
      const passing =
        minScore === undefined ? scores.length : scores.filter((score) => score >= minScore).length;
      return {
        rows: Array.from(found.rows).slice(0, passing),
        scores: scores.slice(0, passing),
        ...(dense && bm25 && { parts: partsOf(dense[i]!, bm25[i]!) }),
      };
    });
  }
}

/** Passages of each ranking that a hybrid search fuses, unless it is told. */
export const candidatesFor = (topK: number): number => Math.max(100, 10 * topK);

/** @throws UsageError for a smallest score of a hybrid search */
export function checkMinScore(mode: SearchMode, minScore: number | undefined): void {
  if (minScore === undefined || mode !== 'hybrid') return;
  throw new UsageError(
    `${option('minScore')} has no meaning for a hybrid search, whose scores depend on what else is found`,
    { help: `search with ${option('mode')} dense or bm25` },
  );
}

/** Searches by terms that run at once. */
const TERM_SEARCHES = 8;
/** Commits that a search is tried on, if other processes remove what it reads. */
const ATTEMPTS = 4;

/** Space of a view. @throws UsageError if the store has no vectors */
function spaceOfView({ space }: StoreView): string {
  if (space !== null) return space;
  throw new UsageError('the store has no vectors yet', { help: 'undrift index --model MODEL --store STORE' });
}

/** Does two works at once, and waits for both also if one of them fails: neither may go on with what is freed afterwards. */
async function both<A, B>(
  first: (() => Promise<A>) | undefined,
  second: (() => Promise<B>) | undefined,
): Promise<[A | undefined, B | undefined]> {
  const [a, b] = await Promise.allSettled([first?.(), second?.()]);
  if (a.status === 'rejected') throw a.reason;
  if (b.status === 'rejected') throw b.reason;
  return [a.value, b.value];
}

/** Ranking of one text, with the parts of its scores where there are two. */
interface Ranking extends FusedRows {
  readonly parts?: (pid: number) => StoreHit['parts'] & {};
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
