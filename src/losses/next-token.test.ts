import { expect, test } from 'vitest';
import { evaluate, f32, i64, numbers } from '../../test/evaluate.ts';
import { backward } from '../grad/backward.ts';
import { nextTokenLogProbabilities, nextTokenLoss } from './next-token.ts';

const [T, V] = [3, 4];
const scores = [1, 2, 0, -1, 0.5, 0, 3, 1, 9, 9, 9, 9, 0, 0, 1, 0, 7, 7, 7, 7, 7, 7, 7, 7];

async function loss(logits: readonly number[], ids: readonly number[], mask: readonly number[]) {
  const B = ids.length / T;
  const inputs = { logits: f32([B, T, V], logits), ids: i64([B, T], ids), mask: f32([B, T], mask) };
  const results = await evaluate(inputs, ({ logits, ids, mask }) => {
    const loss = nextTokenLoss(logits!, ids!, mask!);
    return {
      loss,
      logProbabilities: nextTokenLogProbabilities(logits!, ids!),
      d: backward(loss, [logits!])[0]!,
    };
  });
  return {
    loss: numbers(results.loss)[0]!,
    logProbabilities: numbers(results.logProbabilities),
    d: numbers(results.d),
  };
}

test('each place predicts the token after it; the mean is over tokens, not over texts', async () => {
  const found = await loss(scores, [0, 1, 2, 3, 2, 0], [1, 1, 1, 1, 1, 0]);
  const log = (row: number, id: number) => {
    const own = scores.slice(row * V, row * V + V);
    return own[id]! - Math.log(own.reduce((sum, s) => sum + Math.exp(s), 0));
  };
  const expected = [log(0, 1), log(1, 2), log(3, 2)];
  expect(found.logProbabilities).toHaveLength(4);
  for (const [i, value] of expected.entries()) expect(found.logProbabilities[i]).toBeCloseTo(value, 5);
  expect(found.loss).toBeCloseTo(-expected.reduce((a, b) => a + b) / 3, 5);
  // (softmax − one-hot) / 3 where a token is predicted, 0 at the last place of a text and at padding.
  for (const [row, target] of [[0, 1], [1, 2], [2], [3, 2], [4], [5]] as const) {
    for (let v = 0; v < V; v++) {
      const gradient = (Math.exp(log(row, v)) - (v === target ? 1 : 0)) / 3;
      expect(found.d[row * V + v]).toBeCloseTo(target === undefined ? 0 : gradient, 5);
    }
  }
});

test('is finite for extreme scores, and 0 where there is nothing to predict', async () => {
  const extreme = scores.map((s) => s * 1e30);
  const found = await loss(extreme, [0, 1, 3, 3, 2, 0], [1, 1, 1, 1, 1, 0]);
  expect(found.loss / 1e30).toBeCloseTo((0 + 2 + 0) / 3, 5);
  expect(found.d.every(Number.isFinite)).toBe(true);
  const none = await loss(scores, [0, 1, 2, 3, 2, 0], [1, 0, 0, 0, 0, 0]);
  expect(none.loss).toBe(0);
  expect(none.d.every((g) => g === 0)).toBe(true);
});
