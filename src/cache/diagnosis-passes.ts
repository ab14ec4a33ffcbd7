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
import { float32, type HostTensor, hostTensor, scalarValue } from '../runtime/host-tensor.ts';
import { logAddExp } from '../util/log-sum-exp.ts';
import { type MaskedSlots, maskedSlots } from './masks.ts';

/** Input of `diagnoseTable`. */
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

/** Largest number of ranks that `topOverlap` compares. */
export const TOP_RANKS = 10;

/** Documents per chunk: with 128 queries, a few matrices of 4 MiB. */
const CHUNK_ROWS = 8_192;

/** Splits the documents of the input into chunks and makes the program inputs of each. */
export function* chunks({ queries, fresh, stale, dimension: D, masked }: DiagnosisInput) {
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
export function partitionGraph(D: number, ranks: number): Graph {
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
export function comparisonGraph(D: number): Graph {
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
export interface Ranked {
  readonly row: number;
  readonly score: number;
}

/** Results of the first pass, accumulated over the chunks. */
export class Partitions {
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
export function overlap(a: readonly Ranked[], b: readonly Ranked[]): number {
  const rows = new Set(b.map(({ row }) => row));
  return a.length === 0 ? 1 : a.filter(({ row }) => rows.has(row)).length / a.length;
}

/** Sums of the second pass over the chunks, in double precision. */
export class Comparison {
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
