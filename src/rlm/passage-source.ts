import type { Retriever } from '../models/retriever/retriever.ts';
import type { CostLedger } from '../objective/cost-ledger.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { ExactIndex } from '../search/exact-search.ts';
import { Bm25, type Bm25Options } from '../text/bm25.ts';
import { ShapeError, UsageError } from '../util/errors.ts';
import type { Progress } from '../util/progress.ts';
import { randomInts, rngKey } from '../util/rng.ts';
import type { LeakFilter, PassageQuery } from './leak-filter.ts';
import type { Passages } from './passages.ts';

/** Passages found for one query, best first: at most k, fewer where the leak filter or the collection leaves fewer. */
export interface FoundPassages {
  /** i32[≤ k]: rows of the collection. */
  readonly rows: Int32Array;
  /** f32[≤ k]: scores of the source, descending. */
  readonly scores: Float32Array;
}

/** Source of candidate passages. Results are rows, through which no gradient flows. */
export interface PassageSource {
  /** Name in tables: `bm25`, `dense`, `random`. */
  readonly name: string;
  /** Passages that are searched. */
  readonly passages: Passages;
  /**
   * Finds the k best passages of each query that its leak filter allows.
   *
   * @param k  passages for each query, ≥ 1
   * @param ledger  ledger to which the cost is added, such as query encodes
   */
  find(queries: readonly PassageQuery[], k: number, ledger?: CostLedger): Promise<FoundPassages[]>;
  /** Frees memory outside of JavaScript's heap. */
  dispose(): Promise<void>;
}

/** Number of rows drawn at once. */
const DRAWS = 256;

/** Source that ranks passages by BM25. */
export function bm25Source(passages: Passages, filter: LeakFilter, options: Bm25Options = {}): PassageSource {
  const index = Bm25.build(passages.size, (row) => passages.text(row), options);
  return {
    name: 'bm25',
    passages,
    find: async (queries, k) =>
      await allowedBest(queries, k, { passages, filter }, async (texts, depth) =>
        texts.map((text) => index.search(text, depth)),
      ),
    async dispose() {},
  };
}

/**
 * Source that ranks passages by the inner product of their embeddings with the query's.
 *
 * @param options.embeddings  f32[N, D] of the passages; default computed, which the ledger of the first search does not count
 */
export async function denseSource(
  retriever: Retriever,
  passages: Passages,
  filter: LeakFilter,
  options: {
    readonly embeddings?: Float32Array | undefined;
    readonly onProgress?: ((progress: Progress) => void) | undefined;
  } & ComputeOptions = {},
): Promise<PassageSource> {
  const { embeddings: given, onProgress, ...compute } = options;
  const D = retriever.dimension;
  if (given && given.length !== passages.size * D) {
    throw new ShapeError(
      `${passages.size} passages of dimension ${D} need ${passages.size * D} numbers, got ${given.length}`,
      { help: 'the embeddings come from another model or another collection' },
    );
  }
  const encode = async (side: 'query' | 'document', count: number, textOf: (row: number) => string) =>
    await retriever.encodeTokens(side, retriever.tokenize(side, count, textOf), {
      ...compute,
      ...(side === 'document' && onProgress && { onProgress }),
    });
  const embeddings = given ?? (await encode('document', passages.size, (row) => passages.text(row)));
  const index = ExactIndex.create(embeddings, D, compute);
  return {
    name: 'dense',
    passages,
    async find(queries, k, ledger) {
      if (queries.length === 0) return [];
      const vectors = await encode('query', queries.length, (i) => queries[i]!.text);
      ledger?.queries(queries.length);
      return await allowedBest(queries, k, { passages, filter }, async (_, depth, picked) => {
        const some = picked.length === queries.length ? vectors : rowsOf(vectors, picked, D);
        const { rows, scores, k: found } = await index.search(some, depth);
        return picked.map((_, i) => ({
          rows: rows.subarray(i * found, (i + 1) * found),
          scores: scores.subarray(i * found, (i + 1) * found),
        }));
      });
    },
    dispose: () => index.dispose(),
  };
}

/** Source of passages drawn at random, all with the score 0: a control. The draw depends on the seed and on the query's text only. */
export function randomSource(passages: Passages, filter: LeakFilter, { seed = 0 } = {}): PassageSource {
  return {
    name: 'random',
    passages,
    async find(queries, k) {
      checkDepth(k);
      return queries.map((query) => {
        const key = rngKey(seed, 0, `passages/${query.text}`);
        const rows: number[] = [];
        const seen = new Set<number>();
        const draws = new Int32Array(DRAWS);
        for (let drawn = 0; rows.length < k && seen.size < passages.size; drawn += DRAWS) {
          randomInts(key, passages.size, draws, drawn);
          for (const row of draws) {
            if (rows.length === k || seen.has(row)) continue;
            seen.add(row);
            if (filter.allows(query, row)) rows.push(row);
          }
        }
        return { rows: Int32Array.from(rows), scores: new Float32Array(rows.length) };
      });
    },
    async dispose() {},
  };
}

/**
 * Source that finds the passage with the answer, which the query names, with the score 0: an upper bound. No leak filter applies. A query
 * without a known passage finds none.
 */
export const goldSource = (passages: Passages): PassageSource => ({
  name: 'gold',
  passages,
  find: async (queries) =>
    queries.map(({ gold }) => ({
      rows: Int32Array.from(gold === undefined ? [] : [gold]),
      scores: new Float32Array(gold === undefined ? 0 : 1),
    })),
  async dispose() {},
});

export type PassageSearch = (
  texts: readonly string[],
  depth: number,
  picked: readonly number[],
) => Promise<{ readonly rows: Int32Array; readonly scores: Float32Array }[]>;

/** Searches deeper for those queries of which the filter has left fewer than k, until k are found or nothing is left to find. */
export async function allowedBest(
  queries: readonly PassageQuery[],
  k: number,
  { passages, filter }: { readonly passages: Passages; readonly filter: LeakFilter },
  search: PassageSearch,
): Promise<FoundPassages[]> {
  checkDepth(k);
  const found: FoundPassages[] = new Array(queries.length);
  let open = queries.map((_, i) => i);
  for (let depth = k; open.length > 0; depth *= 4) {
    const most = Math.min(depth, passages.size);
    const results = await search(
      open.map((i) => queries[i]!.text),
      most,
      open,
    );
    open = open.filter((i, place) => {
      const { rows, scores } = results[place]!;
      const kept = [...rows.keys()].filter((at) => filter.allows(queries[i]!, rows[at]!)).slice(0, k);
      found[i] = {
        rows: Int32Array.from(kept, (at) => rows[at]!),
        scores: Float32Array.from(kept, (at) => scores[at]!),
      };
      return kept.length < k && rows.length === most && most < passages.size;
    });
  }
  return found;
}

function checkDepth(k: number): void {
  if (!(Number.isSafeInteger(k) && k >= 1)) {
    throw new UsageError(`the number of passages must be a whole number of at least 1, found ${k}`);
  }
}

const rowsOf = (vectors: Float32Array, rows: readonly number[], D: number): Float32Array => {
  const picked = new Float32Array(rows.length * D);
  for (const [i, row] of rows.entries()) picked.set(vectors.subarray(row * D, (row + 1) * D), i * D);
  return picked;
};
