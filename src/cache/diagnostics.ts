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
import { MASKED_SCORE } from '../nn/masked-score.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { float32, type HostTensor, hostTensor, scalarValue } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';
import { ShapeError } from '../util/errors.ts';
import { type Divergence, type DivergenceBounds, divergenceBounds } from './divergence.ts';
import { type MaskedSlots, maskedSlots } from './masks.ts';

/**
 * Computes the relative squared distance of cached embeddings b from fresh embeddings g:  mean ‖b − g‖² /
 * ‖g‖².
 *
 * @param cached  f32[M, D]
 * @param fresh  f32[M, D]
 * @throws ShapeError when the lengths differ, are 0 or are no multiple of `dimension`
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

/** Bias of the expected gradient E∇L̂ under stale scores, against the gradient ∇L under fresh scores. */
export interface GradientBias {
  /** ‖E∇L̂ − ∇L‖ / ‖∇L‖ */
  readonly relativeError: number;
  /** Cosine of the angle between E∇L̂ and ∇L. */
  readonly cosine: number;
  /** Largest relative error that the total variation of the distributions allows. */
  readonly relativeErrorBound: number;
}

/** Result of {@link diagnoseTable}. */
export interface TableDiagnosis {
  /**
   * Divergence of the table's distribution of negatives from the fresh one. `kl` and `totalVariation` are
   * means over the queries; the two score errors are maxima.
   */
  readonly divergence: Divergence;
  /** Means over the queries of the bounds given by each query's own score errors. */
  readonly bounds: DivergenceBounds;
  /** Share of queries with a score error above 2, for which the bounds are vacuous. */
  readonly vacuousRatio: number;
  /** Share of queries for which fresh and stale scores have the same best document. */
  readonly topAgreement: number;
  /** Mean share of the `TOP_RANKS` best documents that are common to fresh and stale scores. */
  readonly topOverlap: number;
  /** Mean probability p⁺ of the positive against the fresh and against the stale table. */
  readonly positiveProbability: { readonly fresh: number; readonly stale: number };
  /** Mean −log p⁺ against the fresh and against the stale table, in nats. */
  readonly risk: {
    readonly fresh: number;
    readonly stale: number;
    /** Bound on the difference of the two risks, per unit of mean ‖b − g‖; see `diagnoseTable`. */
    readonly gapPerDistance: number;
  };
  /** Share of queries that learn next to nothing under fresh scores: 1 − p⁺ < 0.001. */
  readonly deadQueryRatio: number;
  /** Bias of the loss gradient with respect to the query embeddings, [B, D]. */
  readonly queryGradient: GradientBias;
  /**
   * Bias of the loss gradient with respect to the document embeddings, [N + B, D]: those of the table, then
   * the positives.
   */
  readonly documentGradient: GradientBias;
}

/** Embeddings of {@link diagnoseTable}. */
export interface DiagnosisInput {
  /** Query embeddings, f32[B, D]. */
  readonly queries: Float32Array;
  /** Fresh embeddings of the queries' positives, f32[B, D]. */
  readonly positives: Float32Array;
  /** Documents of the table embedded with the current weights, f32[N, D]. */
  readonly fresh: Float32Array;
  /** Embeddings of the same documents as stored in the table, f32[N, D]. */
  readonly stale: Float32Array;
  /** Embedding size D. */
  readonly dimension: number;
  /** Inverse temperature β = 1/τ: the factor from similarities to scores. */
  readonly inverseTemperature: number;
  /** Documents n to leave out, by query. Default none. */
  readonly masked?: MaskedSlots;
  /** Number of table documents that each of the N documents represents, if the N are a sample. Default 1. */
  readonly documentsPerRow?: number;
}

/** Documents per chunk: with 128 queries, a few matrices of 4 MiB. */
const CHUNK_ROWS = 8_192;

/** Largest number of ranks that `topOverlap` compares. */
export const TOP_RANKS = 10;
/** Score error above which the bounds on the divergence are near the trivial ones: tanh(1) = 0.76, ε²/2 = 2 nats. */
const VACUOUS_SCORE_ERROR = 2;
const DEAD = 1e-3;

/**
 * Measures the effect of stale embeddings on training.
 *
 * Compares the distribution from which negatives are drawn, and the expected gradient of the Negative Cache
 * loss (`expectation`), with their values if every document were embedded with the current weights:
 *
 *     ∇L       = (β/B) Σ_i [ −(1 − p⁺_i) ∇s⁺_i + Σ_n p_in ∇s_in ],     p over {positive} ∪ documents, from fresh scores
 *     E∇L̂      = the same with p̃ from the table's scores: draws have probability p̃_in / (1 − p̃⁺_i) and weight 1 − p̃⁺_i
 *
 *     ‖E∇L̂ − ∇L‖ ≤ 2 β M TV(P, P̃) for each query, ‖q‖, ‖d‖ ≤ M
 *
 *     |R − R̃| ≤ W · (1/B) Σ_i β ‖q_i‖ N e^{s*_i} / min(Z_i, Z̃_i),     W = mean ‖b − g‖, s*_i the largest of both kinds of scores
 *
 * The last line bounds the risk by a Wasserstein distance (Monath et al., ICML 2024, lemma 4.0). Its constant
 * is computed from the data, by |e^a − e^b| ≤ max(e^a, e^b) |a − b|.
 *
 * If the documents are a sample of the table, each counts w = `documentsPerRow` times in partition functions
 * and gradients.
 *
 * The cost is four matrix products of B × N × D and three more for the gradients, with N in chunks. Meant for
 * N up to about 100,000.
 *
 * Bounds: Monath et al., "Improving Dual-Encoder Training through Dynamic Indexes for Negative Mining",
 * AISTATS 2023, proposition 5.
 *
 * @throws ShapeError when the lengths of the embeddings do not fit together
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
    // The errors are 0 if all documents are masked.
    maxScoreError: Math.max(0, first.most[i]!, -first.least[i]!),
    scoreErrorRange: Math.max(0, first.most[i]! - first.least[i]!),
  }));
  const bounds = divergences.map(divergenceBounds);
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / B;
  // Probability of the positive among all scores, under fresh and under stale scores.
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

/** Splits the documents of the input into chunks and makes the program inputs of each. */
function* chunks({ queries, fresh, stale, dimension: D, masked }: DiagnosisInput) {
  const [B, N] = [queries.length / D, fresh.length / D];
  // Chunks have similar sizes, so that none has fewer rows than are ranked.
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

/** Declares fresh and stale scores f32[queries, rows] of a chunk; masked scores are `MASKED_SCORE`. */
function declareScores(graph: Graph, D: number) {
  const queries = graph.input('queries', 'f32', ['queries', D]);
  const fresh = graph.input('fresh', 'f32', ['rows', D]);
  const stale = graph.input('stale', 'f32', ['rows', D]);
  const masked = graph.input('masked', 'bool', ['queries', 'rows']);
  const score = (documents: typeof fresh) =>
    where(masked, MASKED_SCORE, matmul(queries, documents, { transB: true }));
  return { queries, fresh, masked, scores: score(fresh), staleScores: score(stale) };
}

/** Builds the graph of the first pass: partition functions, best documents and score errors of one chunk. */
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

/** Builds the graph of the second pass: distances of the two softmaxes and their gradients, for one chunk. */
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

/** Document of the input with its score. */
interface Ranked {
  readonly row: number;
  readonly score: number;
}

/** Results of the first pass, accumulated over the chunks. */
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

/** Share of list `a` that is also in list `b`, of the same length; 1 for empty lists. */
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
  /** f64[B, D]: Σ_n p_in d_n; `queryError` is the change of this sum under the stale p̃. */
  readonly queryGradient: Float64Array;
  readonly queryError: Float64Array;
  /** Sums over the gradient with respect to the documents, and over its change under p̃. */
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
    // A row stands for w documents with gradient p q each. The row's gradient w p q has w times the squared
    // norm of those w gradients together, so the sums are divided by w.
    this.documents.squares += scalarValue(outputs.gradientSquares) / this.weight;
    this.documents.errorSquares += scalarValue(outputs.errorSquares) / this.weight;
    this.documents.product += scalarValue(outputs.product) / this.weight;
  }
}

/** Probability of the positive under fresh and stale scores, and Σ |p̃ − p| with the positive, for each query. */
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
    // The positive's gradient is −(1 − p⁺) q and its error is (p̃⁺ − p⁺) q.
    const [weight, error] = [probability - 1, staleP[i]! - probability];
    squares += weight ** 2 * norm;
    errorSquares += error ** 2 * norm;
    product += weight * error * norm;
    bound += Math.sqrt(norm) * variations[i]!;
  }
  return bias({ squares, errorSquares, product }, bound);
}

/** Computes the bias from ‖∇‖², ‖error‖² and ∇·error. Gradient and error of zero give error 0 and cosine 1. */
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
