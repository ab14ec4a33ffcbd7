import { UndriftError } from '../util/errors.ts';
import { type MetricFamily, parseMetrics } from './metric-spec.ts';
import { type Run, rankDocuments, type ScoredDocument } from './ranking.ts';

/**
 * Relevance grades by query id and document id.
 *
 * A grade of at least 1 is relevant and 0 is judged not relevant. A negative grade means "in the pool, not
 * judged" and counts as if the document had no grade.
 */
export type Qrels = ReadonlyMap<string, ReadonlyMap<string, number>>;

/** Settings of {@link evaluate}. */
export interface EvaluateOptions {
  /** Metrics to compute, such as `ndcg@10`; see `parseMetric`. */
  readonly metrics: readonly string[];
  /**
   * Treatment of queries that have judgements but no results. `zero` (default): each of their metrics is 0,
   * as in `trec_eval -c` and pyserini. `skip`: the mean runs over the queries with results, as in plain
   * trec_eval and BEIR.
   */
  readonly missingQueries?: 'zero' | 'skip';
}

/** Result of {@link evaluate}. */
export interface Evaluation {
  /** Mean over the queries, by canonical metric name. */
  metrics: Record<string, number>;
  /** Values of each query in the mean, in qrels order. */
  perQuery: Map<string, Record<string, number>>;
  /** Number of queries in the mean. */
  queries: number;
  /**
   * Number of queries in the qrels without results. They count as zeros or are left out, as `missingQueries`
   * of the options says.
   */
  missingQueries: number;
  /**
   * Number of queries in the mean without a relevant document; each of their metrics except `judged` is 0.
   */
  queriesWithoutRelevant: number;
  /** Number of queries of the run that have no judgements; they are ignored. */
  unknownQueries: number;
}

/** Ranking of one query with the grades that its metrics need. */
interface JudgedRanking {
  /** Grade of the document at each rank; `UNJUDGED` where there is no grade, or a negative one. */
  readonly grades: Int32Array;
  /** Grades of all relevant documents of the query, retrieved or not, descending. */
  readonly relevantGrades: Int32Array;
}

const UNJUDGED = -1;

/**
 * Largest grade accepted, far beyond any real scale. It catches a rank or an id read as a grade, and 2^1000
 * is still finite.
 */
const GRADE_LIMIT = 1000;

/**
 * Computes retrieval metrics per query and their means, with the values of trec_eval 9.
 *
 * With grades g_r at rank r, R relevant documents (grade ≥ 1) and the ideal grades ĝ (all positive grades,
 * descending):
 *
 *     ndcg@k       Σ_{r≤k} max(g_r, 0) / log2(r + 1), divided by the same sum over ĝ   (linear gain; ndcg_cut)
 *     ndcg_exp@k   the same with gain 2^g − 1   (Burges et al. 2005; not in trec_eval; equal to ndcg@k for 0/1 grades)
 *     mrr@k        1 / rank of the first relevant document in the top k, else 0   (recip_rank -M k)
 *     map@k        (1/R) Σ_{r≤k, g_r≥1} precision@r; R is not capped at k   (map, map_cut)
 *     recall@k     relevant documents in the top k / R
 *     precision@k  relevant documents in the top k / k, also where fewer than k were retrieved
 *     success@k    1 if a relevant document is in the top k, else 0
 *     judged@k     documents with a grade ≥ 0 in the top k / documents in the top k
 *
 * A low `judged@k` says that the qrels do not cover this run and that the other figures mean little.
 *
 * A query whose qrels hold no relevant document stays in the mean with zeros, as in trec_eval;
 * `queriesWithoutRelevant` counts such queries. Documents are ranked by `rankDocuments`.
 *
 * @throws UsageError for an unknown metric
 * @throws UndriftError for a document listed twice in one query, a NaN score, a grade that is not a whole
 *   number, or when no query has both results and judgements
 * @verified trec_eval 9 through pytrec-eval-terrier, every query and metric to 1e-12.
 */
export function evaluate(qrels: Qrels, run: Run, options: EvaluateOptions): Evaluation {
  const specs = parseMetrics(options.metrics);
  const skipMissing = options.missingQueries === 'skip';
  const perQuery = new Map<string, Record<string, number>>();
  const sums = new Float64Array(specs.length);
  let missingQueries = 0;
  let queriesWithoutRelevant = 0;

  for (const [queryId, grades] of qrels) {
    // An empty map is ignored: a qrels file cannot hold a query without a judgement, so trec_eval would not
    // know the query.
    if (grades.size === 0) continue;
    const documents = run.get(queryId) ?? [];
    if (documents.length === 0) {
      missingQueries++;
      if (skipMissing) continue;
    }
    const ranking = judge(queryId, documents, grades);
    if (ranking.relevantGrades.length === 0) queriesWithoutRelevant++;
    const values: Record<string, number> = {};
    for (const [i, { name, family, cutoff }] of specs.entries()) {
      const value = METRICS[family](ranking, cutoff);
      values[name] = value;
      sums[i]! += value;
    }
    perQuery.set(queryId, values);
  }

  const unknownQueries = countUnknown(qrels, run);
  requireOverlap(qrels, run, perQuery.size, unknownQueries);
  const metrics: Record<string, number> = {};
  for (const [i, { name }] of specs.entries()) metrics[name] = sums[i]! / perQuery.size;
  return {
    metrics,
    perQuery,
    queries: perQuery.size,
    missingQueries,
    queriesWithoutRelevant,
    unknownQueries,
  };
}

/**
 * One function per family. With no relevant document each gives 0, except `judged`. Ranks beyond the
 * retrieved documents count for nothing.
 */
const METRICS: Record<MetricFamily, (ranking: JudgedRanking, cutoff: number) => number> = {
  ndcg: (ranking, cutoff) => ndcg(ranking, cutoff, (grade) => grade),
  ndcg_exp: (ranking, cutoff) => ndcg(ranking, cutoff, (grade) => 2 ** grade - 1),
  mrr: ({ grades }, cutoff) => {
    const index = grades.findIndex(isRelevant);
    return index >= 0 && index < cutoff ? 1 / (index + 1) : 0;
  },
  map: ({ grades, relevantGrades }, cutoff) => {
    let found = 0;
    let sum = 0;
    const depth = Math.min(cutoff, grades.length);
    for (let i = 0; i < depth; i++) {
      if (isRelevant(grades[i]!)) sum += ++found / (i + 1);
    }
    return found === 0 ? 0 : sum / relevantGrades.length;
  },
  recall: ({ grades, relevantGrades }, cutoff) => {
    const found = count(grades, cutoff, isRelevant);
    return found === 0 ? 0 : found / relevantGrades.length;
  },
  precision: ({ grades }, cutoff) => count(grades, cutoff, isRelevant) / cutoff,
  success: ({ grades }, cutoff) => (count(grades, cutoff, isRelevant) > 0 ? 1 : 0),
  judged: ({ grades }, cutoff) => {
    const depth = Math.min(cutoff, grades.length);
    return depth === 0 ? 0 : count(grades, depth, (grade) => grade !== UNJUDGED) / depth;
  },
};

function ndcg(ranking: JudgedRanking, cutoff: number, gain: (grade: number) => number): number {
  const ideal = discountedGain(ranking.relevantGrades, cutoff, gain);
  return ideal === 0 ? 0 : discountedGain(ranking.grades, cutoff, gain) / ideal;
}

function discountedGain(grades: Int32Array, cutoff: number, gain: (grade: number) => number): number {
  const depth = Math.min(cutoff, grades.length);
  let sum = 0;
  for (let i = 0; i < depth; i++) {
    if (grades[i]! > 0) sum += gain(grades[i]!) / Math.log2(i + 2);
  }
  return sum;
}

function count(grades: Int32Array, cutoff: number, test: (grade: number) => boolean): number {
  const depth = Math.min(cutoff, grades.length);
  let found = 0;
  for (let i = 0; i < depth; i++) if (test(grades[i]!)) found++;
  return found;
}

function isRelevant(grade: number): boolean {
  return grade >= 1;
}

function judge(
  queryId: string,
  documents: readonly ScoredDocument[],
  judgements: ReadonlyMap<string, number>,
): JudgedRanking {
  const relevant: number[] = [];
  for (const [docId, grade] of judgements) {
    if (!Number.isInteger(grade) || Math.abs(grade) > GRADE_LIMIT) {
      throw new UndriftError(
        `query "${queryId}": the grade ${grade} of document "${docId}" is not a whole number`,
        {
          help: `qrels hold grades such as 0, 1, 2 (at most ±${GRADE_LIMIT}); is a score or an id in their place?`,
        },
      );
    }
    if (isRelevant(grade)) relevant.push(grade);
  }
  let ranked: readonly ScoredDocument[];
  try {
    ranked = rankDocuments(documents);
  } catch (error) {
    if (error instanceof UndriftError)
      throw new UndriftError(`query "${queryId}": ${error.message}`, { cause: error });
    throw error;
  }
  const grades = new Int32Array(ranked.length);
  const seen = new Set<string>();
  for (const [i, { docId }] of ranked.entries()) {
    if (seen.has(docId)) {
      throw new UndriftError(`query "${queryId}" lists document "${docId}" twice`, {
        help: 'a ranking holds each document once; merge passages of one document before evaluating',
      });
    }
    seen.add(docId);
    grades[i] = Math.max(judgements.get(docId) ?? UNJUDGED, UNJUDGED);
  }
  return { grades, relevantGrades: Int32Array.from(relevant).sort().reverse() };
}

function countUnknown(qrels: Qrels, run: Run): number {
  let unknown = 0;
  for (const queryId of run.keys()) if ((qrels.get(queryId)?.size ?? 0) === 0) unknown++;
  return unknown;
}

/**
 * Throws when there is nothing to average, or when the run is of another query set: zeros would look like a
 * bad model.
 */
function requireOverlap(qrels: Qrels, run: Run, queries: number, unknownQueries: number): void {
  const foreign = run.size > 0 && unknownQueries === run.size;
  if (queries > 0 && !foreign) return;
  const example = (ids: Iterable<string>) => [...ids].slice(0, 1).map((id) => ` (such as "${id}")`)[0] ?? '';
  throw new UndriftError(
    `no query has both results and judgements: the run has ${run.size} queries${example(run.keys())}, ` +
      `the qrels ${qrels.size}${example(qrels.keys())}`,
    { help: 'check that the run and the qrels are of the same split and use the same ids' },
  );
}
