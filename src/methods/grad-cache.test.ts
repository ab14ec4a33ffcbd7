import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { smallRetriever, TEXTS } from '../../test/small-models.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { ROWS_INPUT } from '../nn/parameters.ts';
import { CostLedger } from '../objective/cost-ledger.ts';
import type { StepResult } from '../objective/objective.ts';
import { Temperature } from '../objective/temperature.ts';
import { adamw } from '../optim/adamw.ts';
import { Learner } from '../runtime/learner.ts';
import type { Method, MethodContext } from './contract/method.ts';
import { gradCache } from './grad-cache.ts';
import { inBatch } from './in-batch.ts';

/** Queries 0–5 and documents 0–7 of different lengths; query 4 has a second positive, document 1, in the batch. */
const QUERIES = [...TEXTS, 'the file'].map((text, i) => `${text} ${i}`);
const DOCUMENTS = [...TEXTS, 'an element', 'bytes of a string', 'number'].map((text, i) => `${i} ${text}`);
const BATCH = {
  queryRows: Int32Array.of(0, 1, 2, 3, 4, 5),
  positiveRows: Int32Array.of(0, 1, 2, 3, 4, 5),
  negativeRows: Int32Array.of(6, 7),
};

/** One step of a method from the same weights, as plain arrays (buffers are used again by the next step). */
async function gradientsOf(
  method: Method,
  retriever: Retriever,
  options: Partial<MethodContext>,
): Promise<StepResult> {
  const temperature = new Temperature(0.1, { learned: true });
  const weights = { ...retriever.weights, ...temperature.weights };
  const learner = await Learner.create([...retriever.specs, ...temperature.specs], weights, adamw(), {
    threads: 1,
  });
  const running = await method.start({
    retriever,
    weights,
    gradientBuffers: learner.gradientBuffers,
    queries: retriever.tokenize('query', QUERIES.length, (row) => QUERIES[row]!),
    documents: retriever.tokenize('document', DOCUMENTS.length, (row) => DOCUMENTS[row]!),
    copies: () => [],
    positives: (row) => (row === 4 ? Int32Array.of(1, 4) : Int32Array.of(row)),
    temperature,
    dropoutRatio: 0.3,
    chunkSize: 1,
    seed: 11,
    compute: { threads: 1 },
    options: {},
    ledger: new CostLedger(),
    texts: { query: (row) => QUERIES[row]!, document: (row) => DOCUMENTS[row]! },
    examples: {
      queryRows: new Int32Array(0),
      positives: { offsets: Uint32Array.of(0), rows: new Int32Array(0), grades: new Float32Array(0) },
    },
    folder: '',
    ...options,
  });
  const result = await running.step(BATCH, 5);
  await running.dispose();
  await learner.dispose();
  return result;
}

/** Dense gradient of a lookup table: rows outside of the step (padding, in chunks that need none) are zero. */
function wholeTable({ gradients }: StepResult, name: string, tableRows: number): number[] {
  const { data, dims } = gradients.byName[name]!;
  const whole = new Float32Array(tableRows * dims[1]!);
  for (const [i, row] of (gradients.rows[ROWS_INPUT]!.data as BigInt64Array).entries()) {
    whole.set((data as Float32Array).subarray(i * dims[1]!, (i + 1) * dims[1]!), Number(row) * dims[1]!);
  }
  return [...whole];
}

describe.each([
  ['static', smallRetriever({ kind: 'static' })],
  ['transformer', smallRetriever({ kind: 'transformer' })],
  [
    'separate towers with a projection',
    smallRetriever({ kind: 'transformer', towers: 'separate', projectionSize: 8 }),
  ],
])('grad-cache, %s', (_, retriever) => {
  let plain: StepResult;
  beforeAll(async () => {
    plain = await gradientsOf(inBatch, retriever, {});
  });
  afterAll(() => retriever.dispose());

  // 1; a divisor of 6 and 8; a divisor of neither; the batch; more than the batch.
  it.each([1, 2, 5, 8, 100])(
    'gives the plain gradient in chunks of %d, dropout included',
    async (chunkSize) => {
      const cached = await gradientsOf(gradCache, retriever, { chunkSize });
      expect(cached.trainingLoss).toBeCloseTo(plain.trainingLoss, 5);
      for (const { name, shape, lookup } of [
        ...retriever.specs,
        { name: 'log_inverse_temperature', shape: [], lookup: false },
      ]) {
        const [a, b] = [plain, cached].map((result) =>
          lookup
            ? wholeTable(result, name, shape[0]!)
            : Array.from(result.gradients.byName[name]!.data as Float32Array),
        );
        const norm = Math.hypot(...a!);
        // A key's bias shifts all scores of a query by the same amount, which the softmax cancels.
        if (!name.endsWith('key.bias'))
          expect(norm, `the gradient of ${name} must not vanish`).toBeGreaterThan(1e-6);
        const difference = Math.hypot(...a!.map((value, i) => value - b![i]!));
        expect(difference, name).toBeLessThan(1e-5 * (1 + norm));
      }
    },
  );
});
