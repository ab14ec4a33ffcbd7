import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { smallRetriever, TEXTS } from '../../../test/small-models.ts';
import { ROWS_INPUT } from '../../nn/parameters.ts';
import { CostLedger } from '../../objective/cost-ledger.ts';
import { Temperature } from '../../objective/temperature.ts';
import { adamw } from '../../optim/adamw.ts';
import { float32, hostTensor } from '../../runtime/host-tensor.ts';
import { Learner } from '../../runtime/learner.ts';
import { f32ToF16 } from '../../util/half.ts';
import type { MethodContext } from '../contract/method.ts';
import { candidateSoftmax } from './candidate-softmax.ts';
import { type Candidates, type ContrastiveResult, ContrastiveStep } from './contrastive-step.ts';
import { allowedCandidates } from './known-positives.ts';

const DOCUMENTS = [...TEXTS, 'an element', 'bytes of a string', 'number'].map((text, i) => `${i} ${text}`);
const QUERIES = TEXTS.slice(0, 3);
const [B, C] = [QUERIES.length, DOCUMENTS.length];
/** Documents that are embedded in the step; the embeddings of the others are fed. */
const EMBEDDED = 5;

const retriever = smallRetriever({ kind: 'static', towers: 'separate', projectionSize: 6 });
const D = retriever.dimension;
const rows = (count: number) => Int32Array.from({ length: count }, (_, i) => i);

let context: MethodContext;
let learner: Learner;
/** All documents embedded in the step. */
let whole: ContrastiveResult;

beforeAll(async () => {
  const temperature = new Temperature(0.1, { learned: true });
  const weights = { ...retriever.weights, ...temperature.weights };
  learner = await Learner.create([...retriever.specs, ...temperature.specs], weights, adamw(), {});
  context = {
    retriever,
    weights,
    // Each result of its own, so that results can be compared.
    gradientBuffers: {},
    queries: retriever.tokenize('query', B, (row) => QUERIES[row]!),
    documents: retriever.tokenize('document', C, (row) => DOCUMENTS[row]!),
    positives: (row) => Int32Array.of(row),
    copies: () => [],
    temperature,
    dropoutRatio: 0,
    chunkSize: 1,
    seed: 1,
    compute: { threads: 1 },
    options: {},
    ledger: new CostLedger(),
    texts: { query: (row) => QUERIES[row]!, document: (row) => DOCUMENTS[row]! },
    examples: {
      queryRows: new Int32Array(0),
      positives: { offsets: Uint32Array.of(0), rows: new Int32Array(0), grades: new Float32Array(0) },
    },
    folder: '',
  };
  whole = await run({}, C, {});
});
afterAll(async () => {
  await learner.dispose();
  await retriever.dispose();
});

async function run(
  candidates: Candidates,
  embedded: number,
  fed: Parameters<ContrastiveStep['run']>[0]['inputs'],
): Promise<ContrastiveResult> {
  const step = await ContrastiveStep.compile('test', context, candidateSoftmax, candidates);
  const allowed = allowedCandidates(rows(B), rows(C), context);
  const result = await step.run({
    queryRows: rows(B),
    ...(embedded > 0 && { documentRows: rows(embedded) }),
    inputs: { ...fed, allowed },
    draw: 0,
  });
  await step.dispose();
  return result;
}

const rowsOf = (from: number, to: number) =>
  hostTensor('f32', [to - from, D], whole.documentEmbeddings.slice(from * D, to * D));

const norm = (x: ArrayLike<number>) => Math.hypot(...Array.from(x));
/** Largest relative distance of the gradients of one side's parameters, whose tables may have other rows. */
function distance(
  a: ContrastiveResult,
  b: ContrastiveResult,
  side: 'query' | 'document' | 'log_inverse',
): number {
  const names = Object.keys(a.gradients.byName).filter((name) => name.startsWith(side));
  expect(names.length).toBeGreaterThan(0);
  return Math.max(
    ...names.map((name) => {
      const [x, y] = [wholeOf(a, name), wholeOf(b, name)];
      return norm(x.map((value, i) => value - y[i]!)) / Math.max(1e-6, norm(x));
    }),
  );
}

function wholeOf({ gradients }: ContrastiveResult, name: string): Float32Array {
  const gradient = gradients.byName[name]!;
  const spec = retriever.specs.find((candidate) => candidate.name === name);
  if (!spec?.lookup) return float32(gradient);
  const [V, width] = spec.shape as [number, number];
  const table = new Float32Array(V * width);
  for (const [i, row] of (gradients.rows[ROWS_INPUT]!.data as BigInt64Array).entries())
    table.set(float32(gradient).subarray(i * width, (i + 1) * width), Number(row) * width);
  return table;
}

describe('candidates whose embeddings are fed', () => {
  it('count as those that are embedded in the step, and give the queries the same gradient', async () => {
    const mixed = await run({ fed: { others: 'f32' } }, EMBEDDED, { others: rowsOf(EMBEDDED, C) });
    expect(whole.trainingLoss).toBeGreaterThan(0.1);
    expect(mixed.trainingLoss).toBeCloseTo(whole.trainingLoss, 5);
    expect(mixed.metrics.accuracy).toBe(whole.metrics.accuracy);
    expect(distance(whole, mixed, 'query')).toBeLessThan(1e-5);
    expect(distance(whole, mixed, 'log_inverse')).toBeLessThan(1e-5);
    // Fed embeddings are constants: the document encoder misses their part of the gradient, which is large.
    expect(distance(whole, mixed, 'document')).toBeGreaterThan(0.05);
    expect(mixed.documentEmbeddings).toHaveLength(EMBEDDED * D);
  });

  it('may be the only candidates, in several blocks, without a gradient for the document encoder', async () => {
    const fed = { keys: rowsOf(0, B), queue: rowsOf(B, C) };
    const constant = await run({ embedded: false, fed: { keys: 'f32', queue: 'f32' } }, 0, fed);
    expect(constant.trainingLoss).toBeCloseTo(whole.trainingLoss, 5);
    expect(distance(whole, constant, 'query')).toBeLessThan(1e-5);
    for (const { name } of retriever.specs) {
      const zero = norm(wholeOf(constant, name)) === 0;
      expect(zero, name).toBe(name.startsWith('document/'));
    }
    expect(constant.documentEmbeddings).toHaveLength(0);
  });

  it('may be empty', async () => {
    const none = await run({ fed: { others: 'f32' } }, C, {
      others: hostTensor('f32', [0, D], new Float32Array(0)),
    });
    expect(none.trainingLoss).toBe(whole.trainingLoss);
    for (const side of ['query', 'document', 'log_inverse'] as const)
      expect(distance(whole, none, side)).toBe(0);
  });

  it('may be half precision', async () => {
    const others = rowsOf(EMBEDDED, C);
    const halves = new Uint16Array(others.data.length);
    f32ToF16(float32(others), halves);
    const mixed = await run({ fed: { others: 'f16' } }, EMBEDDED, {
      others: hostTensor('f16', others.dims, halves),
    });
    expect(mixed.trainingLoss).not.toBe(whole.trainingLoss);
    expect(mixed.trainingLoss).toBeCloseTo(whole.trainingLoss, 2);
    expect(distance(whole, mixed, 'query')).toBeLessThan(0.02);
  });
});
