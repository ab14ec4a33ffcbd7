import { describe, expect, test } from 'vitest';
import { evaluate, f32, i64, numbers } from '../../test/evaluate.ts';
import { largestDifference } from '../../test/small-models.ts';
import { backward } from '../grad/backward.ts';
import type { Dim } from '../graph/dims.ts';
import { Graph } from '../graph/graph.ts';
import { add, fill, gather, matmul, reshape, sum, tokenLogLikelihood } from '../graph/ops.ts';
import { toOnnx } from '../graph/to-onnx.ts';
import { encodeModel } from '../onnx/encode.ts';
import { float32, type HostTensor } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';
import { ShapeError } from '../util/errors.ts';
import { normal, rngKey } from '../util/rng.ts';
import {
  hiddenNextTokenLoss,
  hiddenTokenLogProbabilities,
  nextTokenLogProbabilities,
  nextTokenLoss,
  tokenLogProbabilities,
} from './next-token.ts';

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

describe('from hidden states', () => {
  const [B, T, D, V] = [3, 5, 4, 7];
  const random = (name: string, dims: number[], scale = 1) => {
    const data = new Float32Array(dims.reduce((a, b) => a * b));
    normal(rngKey(7, 0, name), data);
    return f32(
      dims,
      data.map((x) => scale * x),
    );
  };
  const ids = i64(
    [B, T],
    Array.from({ length: B * T }, (_, i) => (i * 5 + (i % 3)) % V),
  );
  const mask = f32([B, T], [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0]);
  const documents = i64([B, T], [1, 1, 1, 2, 2, 4, 4, 3, 9, 9, 1, 1, 1, 1, 1]);

  /** Loss and gradients by both forms. The matrix also makes the hidden states, as a tied table does. */
  async function both(
    options: { scale?: number; tied?: boolean; documents?: boolean; mask?: HostTensor } = {},
  ) {
    const { scale, tied } = options;
    const inputs = {
      h: random('h', [B, T, D], scale),
      w: random('w', [V, D]),
      ids,
      mask: options.mask ?? mask,
      documents,
    };
    const forms: Record<string, Record<string, Float32Array>> = {};
    for (const form of ['plain', 'hidden']) {
      const results = await evaluate(inputs, (t) => {
        const [h, w] = [tied ? add(t.h!, gather(t.w!, t.ids!)) : t.h!, t.w!];
        const more = options.documents ? { documents: t.documents! } : {};
        const logits = () => reshape(matmul(reshape(h, [B * T, D]), w, { transB: true }), [B, T, V]);
        const loss =
          form === 'plain'
            ? nextTokenLoss(logits(), t.ids!, t.mask!, more)
            : hiddenNextTokenLoss(h, w, t.ids!, t.mask!, more);
        const [dh, dw] = backward(loss, [t.h!, t.w!]);
        return { loss, dh: dh!, dw: dw! };
      });
      forms[form] = Object.fromEntries(Object.entries(results).map(([k, v]) => [k, float32(v)]));
    }
    return forms as Record<'plain' | 'hidden', Record<string, Float32Array>>;
  }

  test.each([
    ['masked', {}],
    ['a tied matrix', { tied: true }],
    ['documents in one row', { documents: true }],
    ['large scores', { scale: 300 }],
    ['nothing to predict', { mask: f32([B, T], new Array(B * T).fill(0)) }],
  ])('loss and gradients equal those of all logits: %s', async (name, options) => {
    const { plain, hidden } = await both(options);
    const scale = name === 'large scores' ? 300 : 1;
    for (const [key, expected] of Object.entries(plain)) {
      expect(hidden[key]!.every(Number.isFinite)).toBe(true);
      expect(largestDifference(hidden[key]!, expected), key).toBeLessThan(2e-6 * scale);
      expect(Math.hypot(...hidden[key]!) > 0, key).toBe(name !== 'nothing to predict');
    }
  });

  test.each(['h', 'w'])('the gradient of %s alone, the other being frozen', async (target) => {
    const inputs = { h: random('h', [B, T, D]), w: random('w', [V, D]), ids, mask };
    const { d } = await evaluate(inputs, (t) => ({
      d: backward(hiddenNextTokenLoss(t.h!, t.w!, t.ids!, t.mask!), [t[target]!])[0]!,
    }));
    expect(float32(d)).toEqual((await both()).hidden[`d${target}`]);
  });

  test.each([
    ['without Scan, as on devices other than the CPU', { scan: false }, 2e-6],
    ['with products in f16', { products: 'f16' }, 2e-2],
  ] as const)('%s, loss and gradients are the same', async (_, lowering, tolerance) => {
    const inputs = { h: random('h', [B, T, D]), w: random('w', [V, D]), ids, mask };
    const graph = new Graph('lowered');
    const t = Object.fromEntries(
      Object.entries(inputs).map(([name, { dtype, dims }]) => [name, graph.input(name, dtype, dims)]),
    );
    const loss = hiddenNextTokenLoss(t.h!, t.w!, t.ids!, t.mask!);
    graph.output('loss', loss);
    for (const [i, d] of backward(loss, [t.h!, t.w!]).entries()) graph.output(i === 0 ? 'dh' : 'dw', d);
    const model = toOnnx(graph, {}, lowering);
    expect(model.graph.nodes.some(({ opType }) => opType === 'Scan')).toBe(false);
    const program = await Program.load(graph, { bytes: encodeModel(model), hostNodes: [] }, { threads: 1 });
    const found = await program.run(inputs);
    await program.dispose();
    for (const [name, expected] of Object.entries((await both()).hidden)) {
      expect(largestDifference(float32(found[name]), expected), name).toBeLessThan(tolerance);
    }
  });

  test.each([1, V, 3 * V, 1000])('single log-probabilities, %i scores in memory', async (scoresPerPiece) => {
    const rows = {
      h: random('h', [10, D]),
      w: random('w', [V, D]),
      ids: i64([10], [0, 6, 3, 3, 1, 5, 2, 2, 4, 0]),
    };
    const results = await evaluate(rows, ({ h, w, ids }, graph) => {
      const weights = fill(graph, 0, [10]);
      return {
        y: tokenLogLikelihood(h!, w!, ids!, weights, { scoresPerPiece }).logProbabilities,
        same: hiddenTokenLogProbabilities(h!, w!, ids!),
        expected: tokenLogProbabilities(matmul(h!, w!, { transB: true }), ids!),
      };
    });
    expect(largestDifference(float32(results.y), float32(results.expected))).toBeLessThan(1e-6);
    expect(largestDifference(float32(results.same), float32(results.expected))).toBeLessThan(1e-6);
  });

  test('refuses shapes that do not fit, and gradients of its gradients', () => {
    const graph = new Graph('bad');
    const input = (name: string, shape: Dim[], dtype: 'f32' | 'i64' = 'f32') =>
      graph.input(name, dtype, shape);
    const [h, w] = [input('h', ['R', D]), input('w', [V, D])];
    const [rows, weights] = [input('ids', ['R'], 'i64'), input('weights', ['R'])];
    expect(() => tokenLogLikelihood(h, input('w2', [V, D + 1]), rows, weights)).toThrow(/must be \[R, D\]/);
    expect(() => tokenLogLikelihood(h, input('w3', ['V', D]), rows, weights)).toThrow(/with V known/);
    expect(() => tokenLogLikelihood(h, w, rows, input('other', ['Q']))).toThrow(ShapeError);
    const [dh] = backward(tokenLogLikelihood(h, w, rows, weights).total, [h]);
    expect(() => backward(sum(dh!), [w])).toThrow(/its gradients have no gradient/);
  });
});
