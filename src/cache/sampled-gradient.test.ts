import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { backward } from '../grad/backward.ts';
import { Graph } from '../graph/graph.ts';
import { concat, div, matmul, mul, reshape, sqrt, square, sum, unsqueeze } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { expectation } from '../losses/expectation.ts';
import { importanceCorrected } from '../losses/importance-corrected.ts';
import { softmaxCrossEntropy } from '../losses/softmax-cross-entropy.ts';
import { float32, type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';
import { normal, rngKey } from '../util/rng.ts';
import { ScoreTable } from './score-table.ts';
import { TableDistribution } from './table-distribution.ts';
import { TableScores } from './table-scores.ts';

/*
 * What the Negative Cache loss promises, from embeddings to the weights of two towers: queries X W / ‖·‖, documents Y V / ‖·‖.
 */
const [B, N, FEATURES, D, BETA] = [4, 48, 8, 5, 10];

const tensor = (dims: readonly number[], purpose: string, scale = 1): HostTensor => {
  const data = new Float32Array(dims.reduce((a, b) => a * b));
  normal(rngKey(11, 0, purpose), data);
  return hostTensor(
    'f32',
    dims,
    data.map((x) => scale * x),
  );
};
const weights = { W: tensor([FEATURES, D], 'W', 0.4), V: tensor([FEATURES, D], 'V', 0.4) };
const features = {
  queries: tensor([B, FEATURES], 'queries'),
  positives: tensor([B, FEATURES], 'positives'),
  documents: tensor([N, FEATURES], 'documents'),
};

const unit = (x: Tensor) => div(x, sqrt(sum(square(x), { axes: 1, keepDims: true })));

/** Towers of a graph: scores of the positives f32[b], and of documents f32[b, n], times β. */
function towers(graph: Graph) {
  const [W, V] = [graph.input('W', 'f32', [FEATURES, D]), graph.input('V', 'f32', [FEATURES, D])];
  const input = (name: string, rows: string) => graph.input(name, 'f32', [rows, FEATURES]);
  const q = unit(matmul(input('queries', 'b'), W));
  const positives = unit(matmul(input('positives', 'b'), V));
  const documents = unit(matmul(input('documents', 'n'), V));
  return {
    targets: [W, V],
    q,
    documents,
    positive: mul(sum(mul(q, positives), { axes: 1 }), BETA),
    scores: matmul(q, documents, { transB: true, alpha: BETA }),
  };
}

/** The gradient with respect to W and V, as one vector. */
function gradientOutput(graph: Graph, loss: Tensor, targets: Tensor[]): void {
  const gradients = backward(loss, targets);
  graph.output(
    'gradient',
    concat(
      gradients.map((g) => reshape(g, [FEATURES * D])),
      0,
    ),
  );
}

const programs: Program[] = [];
async function compile(build: (graph: Graph) => void): Promise<Program> {
  const graph = new Graph('towers');
  build(graph);
  const program = await Program.compile(graph, { threads: 1 });
  programs.push(program);
  return program;
}

let sampled: Program;
let source: TableScores | undefined;
let distribution: TableDistribution;
/** f32[2 · FEATURES · D]: gradient of the cross-entropy over the positive and all N documents. */
let exact: Float32Array;
/** Scores f32[B, N] of the documents. */
let scores: Float32Array;
/** [B][N]: gradient of query b's loss with document n drawn for it. */
const single: Float32Array[][] = [];

beforeAll(async () => {
  const full = await compile((graph) => {
    const { targets, q, documents, positive, scores } = towers(graph);
    const target = graph.input('target', 'i64', ['b']);
    const loss = softmaxCrossEntropy(concat([unsqueeze(positive, 1), scores], 1), target);
    gradientOutput(graph, loss, targets);
    graph.output('q', q);
    graph.output('embeddings', documents);
    graph.output('allScores', scores);
  });
  const target = hostTensor('i64', [B], new BigInt64Array(B));
  const outputs = await full.run({ ...weights, ...features, target });
  exact = float32(outputs.gradient);
  scores = float32(outputs.allScores);

  const table = new ScoreTable({ rows: N, dimension: D, documents: N });
  table.fill([...Array(N).keys()], float32(outputs.embeddings));
  source = new TableScores(table, { threads: 1 });
  distribution = await TableDistribution.create(
    source,
    float32(outputs.q).map((x) => BETA * x),
  );

  sampled = await compile((graph) => {
    const { targets, positive, scores } = towers(graph);
    const logPartition = graph.input('logPartition', 'f32', ['b']);
    // All queries see the one document that is fed.
    gradientOutput(graph, expectation({ positive, negatives: scores }, logPartition).trainingLoss, targets);
  });
  const row = ({ data }: HostTensor, i: number) =>
    hostTensor(
      'f32',
      [1, FEATURES],
      (data as Float32Array<ArrayBuffer>).subarray(i * FEATURES, (i + 1) * FEATURES),
    );
  for (let b = 0; b < B; b++) {
    single[b] = [];
    for (let n = 0; n < N; n++) {
      const { gradient } = await sampled.run({
        ...weights,
        queries: row(features.queries, b),
        positives: row(features.positives, b),
        documents: row(features.documents, n),
        logPartition: hostTensor('f32', [1], distribution.logPartition.slice(b, b + 1)),
      });
      single[b]!.push(float32(gradient));
    }
  }
});

afterAll(async () => {
  await source?.dispose();
  for (const program of programs) await program.dispose();
});

const norm = (x: ArrayLike<number>) => Math.hypot(...Array.from(x));

/** ‖gradient − exact‖ / ‖exact‖ */
const relativeError = (gradient: ArrayLike<number>) =>
  norm(exact.map((x, i) => gradient[i]! - x)) / norm(exact);

/** P(n | b) over the documents, without the positive: what is drawn from. */
function probability(b: number, n: number): number {
  return Math.exp(scores[b * N + n]! - distribution.logPartition[b]!);
}

describe('the gradient from samples of a fresh table', () => {
  it('equals that of the full softmax in expectation (U2)', () => {
    expect(norm(exact)).toBeGreaterThan(0.1);
    const mean = new Float64Array(exact.length);
    for (let b = 0; b < B; b++) {
      for (let n = 0; n < N; n++) {
        for (const [i, g] of single[b]![n]!.entries()) mean[i]! += (probability(b, n) * g) / B;
      }
    }
    expect(relativeError(mean)).toBeLessThan(1e-5);
    // One draw is far from it.
    const one = new Float64Array(exact.length);
    for (let b = 0; b < B; b++) for (const [i, g] of single[b]![b]!.entries()) one[i]! += g / B;
    expect(relativeError(one)).toBeGreaterThan(0.05);
  });

  it('has an error that falls as 1/√draws (U3)', async () => {
    const counts = [10, 40, 160, 640, 2560];
    const repeats = 24;
    const errors: number[] = [];
    for (const [step, draws] of counts.entries()) {
      let squares = 0;
      for (let repeat = 0; repeat < repeats; repeat++) {
        const key = rngKey(repeat, step, 'draw');
        const { slots } = await distribution.draw(draws, key, { replacement: true });
        const mean = new Float64Array(exact.length);
        for (const [at, slot] of slots.entries()) {
          const gradient = single[Math.floor(at / draws)]![slot]!;
          for (let i = 0; i < mean.length; i++) mean[i]! += gradient[i]! / (B * draws);
        }
        squares += relativeError(mean) ** 2;
      }
      errors.push(Math.sqrt(squares / repeats));
    }
    // Slope of log error over log draws by least squares.
    const [x, y] = [counts.map(Math.log), errors.map(Math.log)];
    const average = (values: number[]) => values.reduce((a, b) => a + b) / values.length;
    const [mx, my] = [average(x), average(y)];
    const slope =
      x.reduce((total, value, i) => total + (value - mx) * (y[i]! - my), 0) /
      x.reduce((total, value) => total + (value - mx) ** 2, 0);
    expect(slope).toBeGreaterThan(-0.6);
    expect(slope).toBeLessThan(-0.4);
  });
});

describe('the partition function from samples of a stale table', () => {
  it('equals that of the fresh table on average, however stale the table (U6)', async () => {
    const program = await compile((graph) => {
      const fresh = graph.input('fresh', 'f32', ['b', 'n']);
      const stale = graph.input('stale', 'f32', ['b', 'n']);
      const partition = graph.input('logPartition', 'f32', ['b']);
      const positive = graph.input('positive', 'f32', ['b']);
      const { logPartition } = importanceCorrected(
        { positive, negatives: fresh },
        { scores: stale, logPartition: partition },
      );
      graph.output('estimate', logPartition);
    });
    for (const [which, drift] of [0, 0.1, 0.5, 1].entries()) {
      const rows = 40;
      const draws = 50_000;
      const fresh = new Float32Array(rows * D);
      const noise = new Float32Array(rows * D);
      normal(rngKey(20, which, 'fresh'), fresh);
      normal(rngKey(21, which, 'noise'), noise);
      const table = new ScoreTable({ rows, dimension: D, documents: rows });
      table.fill(
        [...Array(rows).keys()],
        fresh.map((x, i) => x + drift * noise[i]!),
      );
      const query = new Float32Array(D);
      normal(rngKey(22, 0, 'query'), query);
      const scoresOf = new TableScores(table, { threads: 1 });
      const staleTable = await TableDistribution.create(scoresOf, query);
      for (const k of [1, 4]) {
        const sample = await staleTable.draw(draws, rngKey(23, which, 'draw'), { replacement: true });
        const freshScore = (slot: number) =>
          query.reduce((total, x, d) => total + x * fresh[slot * D + d]!, 0);
        const groups = draws / k;
        const { estimate } = await program.run({
          fresh: hostTensor('f32', [groups, k], Float32Array.from(sample.slots, freshScore)),
          stale: hostTensor('f32', [groups, k], sample.scores as Float32Array<ArrayBuffer>),
          logPartition: hostTensor(
            'f32',
            [groups],
            new Float32Array(groups).fill(staleTable.logPartition[0]!),
          ),
          positive: hostTensor('f32', [groups], new Float32Array(groups)),
        });
        const estimates = Array.from(float32(estimate), Math.exp);
        const mean = estimates.reduce((a, b) => a + b) / groups;
        const variance = estimates.reduce((total, z) => total + (z - mean) ** 2, 0) / (groups - 1);
        let Z = 0;
        for (let slot = 0; slot < rows; slot++) Z += Math.exp(freshScore(slot));
        const error = Math.abs(mean - Z);
        expect(error, `drift ${drift}, k ${k}: ${mean} for ${Z}`).toBeLessThan(
          3 * Math.sqrt(variance / groups) + 1e-5 * Z,
        );
        if (drift > 0) expect(Math.sqrt(variance)).toBeGreaterThan(0.01 * Z);
      }
      await scoresOf.dispose();
    }
  });
});
