import { Graph } from '../graph/graph.ts';
import {
  abs,
  exp,
  logSumExp,
  matmul,
  max,
  min,
  mul,
  square,
  sub,
  sum,
  topK,
  unsqueeze,
  where,
} from '../graph/ops.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { float32, type HostTensor, hostTensor, scalarValue } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';
import { ShapeError } from '../util/errors.ts';
import { type Divergence, type DivergenceBounds, divergenceBounds } from './divergence.ts';
import { MASKED_SCORE, type MaskedSlots, maskedSlots } from './masks.ts';

/**
 * Squared distance of cached to fresh embeddings, relative to the fresh ones' squared norm:  mean ‖b − g‖² / ‖g‖².
 * @param cached  f32[M, D];  @param fresh  f32[M, D]
 */
export function staleness(cached: Float32Array, fresh: Float32Array, dimension: number): number {
  if (cached.length !== fresh.length || cached.length === 0 || cached.length % dimension !== 0) {
    throw new ShapeError(
      `${cached.length} cached and ${fresh.length} fresh numbers of dimension ${dimension}`,
    );
  }
  let total = 0;
  for (let start = 0; start < cached.length; start += dimension) {
    let [distance, norm] = [0, 0];
    for (let i = start; i < start + dimension; i++) {
      distance += (cached[i]! - fresh[i]!) ** 2;
      norm += fresh[i]! ** 2;
    }
    total += distance / norm;
  }
  return total / (cached.length / dimension);
}

/** Two gradients of one shape: what the table makes of it, and what is right. */
export interface GradientBias {
  /** ‖E∇L̂ − ∇L‖ / ‖∇L‖ */
  readonly relativeError: number;
  /** Cosine of the angle between E∇L̂ and ∇L. */
  readonly cosine: number;
  /** The largest relative error that the total variation allows. */
  readonly relativeErrorBound: number;
}

export interface TableDiagnosis {
  /** Means over the queries of what the table's distribution of negatives is off by; the two errors of scores are the largest. */
  readonly divergence: Divergence;
  /** Means over the queries of what their own errors of scores allow. */
  readonly bounds: DivergenceBounds;
  /** Share of queries whose error of scores is above 2, where the bounds say nothing. */
  readonly vacuousRatio: number;
  /** Share of queries whose best document is the same. */
  readonly topAgreement: number;
  /** Mean share of the `TOP_RANKS` best documents that fresh and stale scores agree on. */
  readonly topOverlap: number;
  /** Mean probability of the positive against the fresh and against the stale table. */
  readonly positiveProbability: { readonly fresh: number; readonly stale: number };
  /** Mean −log p⁺ against the fresh and against the stale table, in nats. */
  readonly risk: {
    readonly fresh: number;
    readonly stale: number;
    /** Most by which the two can differ for each unit of mean ‖b − g‖; see `diagnoseTable`. */
    readonly gapPerDistance: number;
  };
  /** Share of queries that learn next to nothing, fresh: 1 − p⁺ < 0.001. */
  readonly deadQueryRatio: number;
  /** Gradient of the loss with respect to the query embeddings, [B, D]. */
  readonly queryGradient: GradientBias;
  /** And with respect to the document embeddings, [N + B, D]: the table's and the positives. */
  readonly documentGradient: GradientBias;
}

export interface DiagnosisInput {
  /** f32[B, D] */
  readonly queries: Float32Array;
  /** f32[B, D]: embeddings of the queries' positives, fresh. */
  readonly positives: Float32Array;
  /** f32[N, D]: documents of the table, embedded with the current weights. */
  readonly fresh: Float32Array;
  /** f32[N, D]: as they are in the table. */
  readonly stale: Float32Array;
  readonly dimension: number;
  /** β = 1/τ, the factor from similarities to scores. */
  readonly inverseTemperature: number;
  /** Documents n that take no part, by query. */
  readonly masked?: MaskedSlots;
  /** Documents of the table that each of the N stands for, where they are a sample of them; default 1. */
  readonly documentsPerRow?: number;
}

/** Documents at once: with 128 queries, a few matrices of 4 MiB. */
const CHUNK_ROWS = 8_192;

/** Ranks that `topOverlap` looks at, at most. */
export const TOP_RANKS = 10;
/** Above it the bounds on the divergence are near the trivial ones: tanh(1) = 0.76, ε²/2 = 2 nats. */
const VACUOUS_SCORE_ERROR = 2;
const DEAD = 1e-3;

/**
 * What staleness does to training: the distribution that negatives are drawn from, and the expected gradient of the Negative
 * Cache loss (`expectation`), against what they would be if every document were embedded now.
 *
 *   ∇L       = (β/B) Σ_i [ −(1 − p⁺_i) ∇s⁺_i + Σ_n p_in ∇s_in ],     p over {positive} ∪ documents, from fresh scores
 *   E∇L̂      = the same with p̃ from the table's scores: draws have probability p̃_in / (1 − p̃⁺_i) and weight 1 − p̃⁺_i
 *
 *   ‖E∇L̂ − ∇L‖ ≤ 2 β M TV(P, P̃) for each query, ‖q‖, ‖d‖ ≤ M
 *
 *   |R − R̃| ≤ W · (1/B) Σ_i β ‖q_i‖ N e^{s*_i} / min(Z_i, Z̃_i),     W = mean ‖b − g‖, s*_i the largest of both kinds of scores
 *
 * The last is the bound of the risk by a Wasserstein distance of Monath et al. (ICML 2024, lemma 4.0) with the constant that the data
 * gives, from |e^a − e^b| ≤ max(e^a, e^b) |a − b|.
 *
 * Where the documents are a sample of the table's, each counts w = `documentsPerRow` times in partition functions and gradients.
 *
 * Costs four matrix products of B × N × D and three more for the gradients, N in chunks; meant for N up to about 100,000.
 *
 * Bounds: Monath et al., "Improving Dual-Encoder Training through Dynamic Indexes for Negative Mining", AISTATS 2023,
 * proposition 5.
 */
export async function diagnoseTable(
  input: DiagnosisInput,
  compute: ComputeOptions = {},
): Promise<TableDiagnosis> {
  const { queries, positives, fresh, stale, dimension: D, inverseTemperature: beta } = input;
  const weight = input.documentsPerRow ?? 1;
  if (queries.length === 0 || queries.length % D !== 0 || positives.length !== queries.length) {
    throw new ShapeError(
      `${queries.length} numbers of queries and ${positives.length} of positives, D = ${D}`,
    );
  }
  if (fresh.length === 0 || fresh.length % D !== 0 || stale.length !== fresh.length) {
    throw new ShapeError(`${fresh.length} fresh and ${stale.length} stale numbers of dimension ${D}`);
  }
  const B = queries.length / D;
  const scaled = queries.map((x) => beta * x);
  const q = hostTensor('f32', [B, D], scaled);
  const perQuery = (values: ArrayLike<number>) => hostTensor('f32', [B], Float32Array.from(values));

  const ranks = Math.min(TOP_RANKS, fresh.length / D);
  const partitions = await Program.compile(partitionGraph(D, ranks), compute);
  const first = new Partitions(B);
  for (const chunk of chunks(input))
    first.add(chunk.start, await partitions.run({ queries: q, ...chunk.feeds }));
  await partitions.dispose();

  const positiveScores = Float64Array.from({ length: B }, (_, i) => rowProduct(scaled, positives, i, D));
  const withPositive = (logZ: Float64Array) =>
    logZ.map((z, i) => logAddExp(z + Math.log(weight), positiveScores[i]!));
  const [logAll, staleLogAll] = [withPositive(first.logZ), withPositive(first.staleLogZ)];
  const comparisons = await Program.compile(comparisonGraph(D), compute);
  const second = new Comparison(B, D, weight);
  const feeds = {
    queries: q,
    logZ: perQuery(first.logZ),
    staleLogZ: perQuery(first.staleLogZ),
    logAll: perQuery(logAll.map((value) => value - Math.log(weight))),
    staleLogAll: perQuery(staleLogAll.map((value) => value - Math.log(weight))),
  };
  for (const chunk of chunks(input)) second.add(await comparisons.run({ ...feeds, ...chunk.feeds }));
  await comparisons.dispose();

  const divergences = Array.from({ length: B }, (_, i) => ({
    kl: second.crossScore[i]! - first.logZ[i]! + first.staleLogZ[i]!,
    totalVariation: second.distance[i]! / 2,
    // Nothing is off where all documents are masked.
    maxScoreError: Math.max(0, first.most[i]!, -first.least[i]!),
    scoreErrorRange: Math.max(0, first.most[i]! - first.least[i]!),
  }));
  const bounds = divergences.map(divergenceBounds);
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / B;
  // Of all scores: what the positive gets from the stale table against what it should get.
  const p = positiveScores.map((s, i) => Math.exp(s - logAll[i]!));
  const staleP = positiveScores.map((s, i) => Math.exp(s - staleLogAll[i]!));
  const variations = p.map((value, i) => second.distanceWithPositive[i]! + Math.abs(value - staleP[i]!));
  return {
    divergence: {
      kl: Math.max(0, mean(divergences.map(({ kl }) => kl))),
      totalVariation: mean(divergences.map(({ totalVariation }) => totalVariation)),
      maxScoreError: Math.max(...divergences.map(({ maxScoreError }) => maxScoreError)),
      scoreErrorRange: Math.max(...divergences.map(({ scoreErrorRange }) => scoreErrorRange)),
    },
    bounds: {
      kl: mean(bounds.map(({ kl }) => kl)),
      klByRange: mean(bounds.map(({ klByRange }) => klByRange)),
      totalVariation: mean(bounds.map(({ totalVariation }) => totalVariation)),
    },
    vacuousRatio: mean(divergences.map(({ maxScoreError }) => Number(maxScoreError > VACUOUS_SCORE_ERROR))),
    topAgreement: mean(first.best.map((list, i) => Number(list[0]?.row === first.staleBest[i]![0]?.row))),
    topOverlap: mean(first.best.map((list, i) => overlap(list, first.staleBest[i]!))),
    positiveProbability: { fresh: mean([...p]), stale: mean([...staleP]) },
    risk: {
      fresh: mean([...positiveScores].map((s, i) => logAll[i]! - s)),
      stale: mean([...positiveScores].map((s, i) => staleLogAll[i]! - s)),
      gapPerDistance: mean(
        first.best.map((list, i) => {
          const best = Math.max(
            list[0]?.score ?? MASKED_SCORE,
            first.staleBest[i]![0]?.score ?? MASKED_SCORE,
          );
          const logZ = Math.min(first.logZ[i]!, first.staleLogZ[i]!);
          const norm = Math.sqrt(rowProduct(scaled, scaled, i, D));
          return list.length === 0 ? 0 : (norm * Math.exp(best - logZ) * fresh.length) / D;
        }),
      ),
    },
    deadQueryRatio: mean([...p].map((value) => Number(1 - value < DEAD))),
    queryGradient: queryBias(input, { p, staleP, variations }, second),
    documentGradient: documentBias(scaled, { p, staleP, variations }, second, D),
  };
}

/** Documents of the input in chunks, as feeds. */
function* chunks({ queries, fresh, stale, dimension: D, masked }: DiagnosisInput) {
  const [B, N] = [queries.length / D, fresh.length / D];
  // Of like size, so that none has fewer rows than are ranked.
  const chunkRows = Math.ceil(N / Math.ceil(N / CHUNK_ROWS));
  for (let start = 0; start < N; start += chunkRows) {
    const rows = Math.min(chunkRows, N - start);
    const flags = new Uint8Array(B * rows);
    for (let i = 0; masked && i < B; i++) {
      for (const n of maskedSlots(masked, i))
        if (n >= start && n < start + rows) flags[i * rows + n - start] = 1;
    }
    const part = (values: Float32Array) =>
      hostTensor(
        'f32',
        [rows, D],
        values.subarray(start * D, (start + rows) * D) as Float32Array<ArrayBuffer>,
      );
    const feeds = { fresh: part(fresh), stale: part(stale), masked: hostTensor('bool', [B, rows], flags) };
    yield { start, feeds };
  }
}

/** Fresh and stale scores f32[queries, rows] of a chunk; masked ones are `MASKED_SCORE`. */
function declareScores(graph: Graph, D: number) {
  const queries = graph.input('queries', 'f32', ['queries', D]);
  const fresh = graph.input('fresh', 'f32', ['rows', D]);
  const stale = graph.input('stale', 'f32', ['rows', D]);
  const masked = graph.input('masked', 'bool', ['queries', 'rows']);
  const score = (documents: typeof fresh) =>
    where(masked, MASKED_SCORE, matmul(queries, documents, { transB: true }));
  return { queries, fresh, masked, scores: score(fresh), staleScores: score(stale) };
}

/** Partition functions, the best documents, and the errors of the scores, for one chunk. */
function partitionGraph(D: number, ranks: number): Graph {
  const graph = new Graph('diagnose-partition');
  const { masked, scores, staleScores } = declareScores(graph, D);
  const error = sub(staleScores, scores);
  graph.output('logZ', logSumExp(scores, { axes: 1 }));
  graph.output('staleLogZ', logSumExp(staleScores, { axes: 1 }));
  for (const [name, values] of [
    ['best', scores],
    ['staleBest', staleScores],
  ] as const) {
    const found = topK(values, { k: ranks });
    graph.output(`${name}Scores`, found.values);
    graph.output(name, found.indices);
  }
  graph.output('most', max(where(masked, MASKED_SCORE, error), { axes: 1 }));
  graph.output('least', min(where(masked, -MASKED_SCORE, error), { axes: 1 }));
  return graph;
}

/** Distances of the two softmaxes, and their gradients, for one chunk. */
function comparisonGraph(D: number): Graph {
  const graph = new Graph('diagnose-comparison');
  const { queries, fresh, scores, staleScores } = declareScores(graph, D);
  const probabilities = (values: typeof scores, logPartition: string) =>
    exp(sub(values, unsqueeze(graph.input(logPartition, 'f32', ['queries']), 1)));
  const perQuery = (x: typeof scores) => sum(x, { axes: 1 });
  const p = probabilities(scores, 'logZ');
  graph.output('crossScore', perQuery(mul(p, sub(scores, staleScores))));
  graph.output('distance', perQuery(abs(sub(probabilities(staleScores, 'staleLogZ'), p))));

  const weights = probabilities(scores, 'logAll');
  const errors = sub(probabilities(staleScores, 'staleLogAll'), weights);
  graph.output('distanceWithPositive', perQuery(abs(errors)));
  graph.output('queryGradient', matmul(weights, fresh));
  graph.output('queryError', matmul(errors, fresh));
  const gradient = matmul(weights, queries, { transA: true });
  const error = matmul(errors, queries, { transA: true });
  graph.output('gradientSquares', sum(square(gradient)));
  graph.output('errorSquares', sum(square(error)));
  graph.output('product', sum(mul(gradient, error)));
  return graph;
}

type Outputs = Readonly<Record<string, HostTensor>>;

/** A document of the input, and its score. */
interface Ranked {
  readonly row: number;
  readonly score: number;
}

/** Results of the first pass, chunk by chunk. */
class Partitions {
  readonly logZ: Float64Array;
  readonly staleLogZ: Float64Array;
  /** Best documents of each query, the best one first. */
  readonly best: Ranked[][];
  readonly staleBest: Ranked[][];
  readonly most: Float64Array;
  readonly least: Float64Array;

  constructor(B: number) {
    const filled = (value: number) => new Float64Array(B).fill(value);
    this.logZ = filled(MASKED_SCORE);
    this.staleLogZ = filled(MASKED_SCORE);
    this.best = Array.from({ length: B }, () => []);
    this.staleBest = Array.from({ length: B }, () => []);
    this.most = filled(MASKED_SCORE);
    this.least = filled(-MASKED_SCORE);
  }

  add(start: number, outputs: Outputs): void {
    const value = (name: string, i: number) => Number(outputs[name]!.data[i]);
    for (let i = 0; i < this.logZ.length; i++) {
      this.logZ[i] = logAddExp(this.logZ[i]!, value('logZ', i));
      this.staleLogZ[i] = logAddExp(this.staleLogZ[i]!, value('staleLogZ', i));
      this.most[i] = Math.max(this.most[i]!, value('most', i));
      this.least[i] = Math.min(this.least[i]!, value('least', i));
      for (const name of ['best', 'staleBest'] as const) {
        const k = outputs[name]!.dims[1]!;
        const list = this[name][i]!;
        for (let rank = i * k; rank < (i + 1) * k; rank++) {
          const score = value(`${name}Scores`, rank);
          if (score > MASKED_SCORE / 2) list.push({ row: start + value(name, rank), score });
        }
        list.sort((a, b) => b.score - a.score || a.row - b.row).splice(TOP_RANKS);
      }
    }
  }
}

/** Share of a list that is in another one of the same length; nothing to agree on counts as agreement. */
function overlap(a: readonly Ranked[], b: readonly Ranked[]): number {
  const rows = new Set(b.map(({ row }) => row));
  return a.length === 0 ? 1 : a.filter(({ row }) => rows.has(row)).length / a.length;
}

/** Sums of the second pass over the chunks, in double precision. */
class Comparison {
  /** f64[B] */
  readonly crossScore: Float64Array;
  readonly distance: Float64Array;
  readonly distanceWithPositive: Float64Array;
  /** f64[B, D]: Σ_n p_in d_n, and what the stale p̃ adds to it. */
  readonly queryGradient: Float64Array;
  readonly queryError: Float64Array;
  /** Of the gradient with respect to the documents, and what p̃ adds to it. */
  readonly documents = { squares: 0, errorSquares: 0, product: 0 };
  private readonly weight: number;

  constructor(B: number, D: number, weight: number) {
    this.weight = weight;
    this.crossScore = new Float64Array(B);
    this.distance = new Float64Array(B);
    this.distanceWithPositive = new Float64Array(B);
    this.queryGradient = new Float64Array(B * D);
    this.queryError = new Float64Array(B * D);
  }

  add(outputs: Outputs): void {
    for (const name of [
      'crossScore',
      'distance',
      'distanceWithPositive',
      'queryGradient',
      'queryError',
    ] as const) {
      const values = float32(outputs[name], name);
      for (let i = 0; i < values.length; i++) this[name][i]! += values[i]!;
    }
    // Each row's gradient is w times that of a single document: w rows of p q have the squares of one of w p q, divided by w.
    this.documents.squares += scalarValue(outputs.gradientSquares) / this.weight;
    this.documents.errorSquares += scalarValue(outputs.errorSquares) / this.weight;
    this.documents.product += scalarValue(outputs.product) / this.weight;
  }
}

/** What the positive is given, fresh and stale, and Σ |p̃ − p| with the positive, for each query. */
interface PositiveShares {
  readonly p: Float64Array;
  readonly staleP: Float64Array;
  readonly variations: Float64Array;
}

function queryBias(
  { positives, fresh, dimension: D }: DiagnosisInput,
  { p, staleP, variations }: PositiveShares,
  { queryGradient, queryError }: Comparison,
): GradientBias {
  let [squares, errorSquares, product] = [0, 0, 0];
  for (let at = 0; at < positives.length; at++) {
    const i = Math.floor(at / D);
    const gradient = queryGradient[at]! - (1 - p[i]!) * positives[at]!;
    const error = queryError[at]! - (p[i]! - staleP[i]!) * positives[at]!;
    squares += gradient ** 2;
    errorSquares += error ** 2;
    product += gradient * error;
  }
  const longest = Math.max(longestRow(fresh, D), longestRow(positives, D));
  return bias({ squares, errorSquares, product }, longest * Math.hypot(...variations));
}

function documentBias(
  queries: Float32Array,
  { p, staleP, variations }: PositiveShares,
  { documents }: Comparison,
  D: number,
): GradientBias {
  let { squares, errorSquares, product } = documents;
  let bound = 0;
  for (const [i, probability] of p.entries()) {
    const norm = rowProduct(queries, queries, i, D);
    // The positive's gradient is −(1 − p⁺) q, its error (p̃⁺ − p⁺) q.
    const [weight, error] = [probability - 1, staleP[i]! - probability];
    squares += weight ** 2 * norm;
    errorSquares += error ** 2 * norm;
    product += weight * error * norm;
    bound += Math.sqrt(norm) * variations[i]!;
  }
  return bias({ squares, errorSquares, product }, bound);
}

/** From ‖∇‖², ‖error‖² and ∇·error; nothing to be wrong about counts as right. */
function bias(
  { squares, errorSquares, product }: { squares: number; errorSquares: number; product: number },
  bound: number,
): GradientBias {
  const ratio = (value: number) => (value === 0 ? 0 : value / Math.sqrt(squares));
  const other = squares + 2 * product + errorSquares;
  return {
    relativeError: ratio(Math.sqrt(errorSquares)),
    cosine: squares === 0 && errorSquares === 0 ? 1 : (squares + product) / Math.sqrt(squares * other),
    relativeErrorBound: ratio(bound),
  };
}

function rowProduct(a: Float32Array, b: Float32Array, row: number, D: number): number {
  let total = 0;
  for (let i = row * D; i < (row + 1) * D; i++) total += a[i]! * b[i]!;
  return total;
}

function longestRow(rows: Float32Array, D: number): number {
  let longest = 0;
  for (let row = 0; row * D < rows.length; row++) longest = Math.max(longest, rowProduct(rows, rows, row, D));
  return Math.sqrt(longest);
}

/** log(eᵃ + eᵇ) */
const logAddExp = (a: number, b: number): number => Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)));
