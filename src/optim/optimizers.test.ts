import { describe, expect, it } from 'vitest';
import { type HostTensor, hostTensor, zeros } from '../runtime/host-tensor.ts';
import { ParameterUpdate } from '../runtime/parameter-update.ts';
import { adamw } from './adamw.ts';
import { lion } from './lion.ts';
import type { Optimizer, StepNumbers } from './optimizer.ts';
import { sgd } from './sgd.ts';

/** Ordinary, zero, tiny (where AdamW's ε dominates) and huge gradients, of both signs. */
const GRADIENTS = [
  [0.5, -0.25, 0, 1e-8, -3e-9, 1e6, -1e6, 0.125],
  [0.5, 0.75, 0, -1e-8, -3e-9, 1e5, -1e6, -8],
  [-2, -0.25, 0, 1e-7, 5e-9, -1e6, 1e4, 0.125],
];
const PARAMETER = [1, -2, 0.5, 0.25, -1, 4, 0, -0.5];
const NUMBERS = { learningRate: 0.01, gradientScale: 0.5, weightDecay: 0.1 };

const vector = (values: readonly number[]): HostTensor =>
  hostTensor('f32', [values.length], Float32Array.from(values));

/** The parameter after each step, computed by the compiled update. */
async function run(optimizer: Optimizer, numbers: Omit<StepNumbers, 'step'>): Promise<number[][]> {
  const update = await ParameterUpdate.compile(optimizer, { threads: 1 });
  const value = vector(PARAMETER);
  const slots = Object.fromEntries(optimizer.slots.map((slot) => [slot, zeros('f32', value.dims)]));
  const history: number[][] = [];
  for (const [i, gradient] of GRADIENTS.entries()) {
    await update.apply({ value, slots }, vector(gradient), { step: i + 1, ...numbers });
    history.push(Array.from(value.data as Float32Array));
  }
  await update.dispose();
  return history;
}

/** The parameter after each step, by the paper's formula for one element. */
function reference(
  formula: () => (theta: number, g: number, t: number) => number,
  scale: number,
): number[][] {
  const elements = PARAMETER.map((start, i) => {
    const next = formula();
    let theta = start;
    return GRADIENTS.map((gradient, t) => {
      theta = next(theta, scale * gradient[i]!, t + 1);
      return theta;
    });
  });
  return GRADIENTS.map((_, t) => elements.map((history) => history[t]!));
}

function expectEqual(ours: number[][], expected: number[][]): void {
  for (const [t, row] of expected.entries()) {
    for (const [i, value] of row.entries()) {
      // The change is compared to four digits, since f32 parameters of size 4 have no more precision.
      const tolerance = 1e-4 * Math.abs(value - PARAMETER[i]!) + 1e-7 * Math.abs(value);
      const difference = Math.abs(ours[t]![i]! - value);
      expect(difference, `step ${t + 1}, element ${i}: ${ours[t]![i]}, formula ${value}`).toBeLessThanOrEqual(
        tolerance,
      );
    }
  }
}

describe('optimizers follow their papers, step by step', () => {
  const { learningRate: lr, weightDecay: decay, gradientScale } = NUMBERS;

  it('AdamW, with bias correction, ε outside the root, decay apart from the gradient', async () => {
    const [b1, b2, epsilon] = [0.8, 0.9, 1e-8];
    const expected = reference(() => {
      let [m, v] = [0, 0];
      return (theta, g, t) => {
        m = b1 * m + (1 - b1) * g;
        v = b2 * v + (1 - b2) * g * g;
        const [mHat, vHat] = [m / (1 - b1 ** t), v / (1 - b2 ** t)];
        return theta - lr * decay * theta - (lr * mHat) / (Math.sqrt(vHat) + epsilon);
      };
    }, gradientScale);
    expectEqual(await run(adamw({ beta1: b1, beta2: b2, epsilon }), NUMBERS), expected);
    // The first step moves every element with a sizeable gradient by the learning rate.
    expect(expected[0]![0]! - PARAMETER[0]! * (1 - lr * decay)).toBeCloseTo(-lr, 6);
  });

  it('AdamW: decay 0 leaves an element without gradient where it is', async () => {
    const history = await run(adamw(), { ...NUMBERS, weightDecay: 0 });
    expect(history.map((row) => row[2])).toEqual([0.5, 0.5, 0.5]);
    expect(history[0]![0]).not.toBe(PARAMETER[0]);
  });

  it('SGD with momentum', async () => {
    const expected = reference(() => {
      let u = 0;
      return (theta, g) => {
        u = 0.7 * u + g;
        return theta - lr * decay * theta - lr * u;
      };
    }, gradientScale);
    expectEqual(await run(sgd({ momentum: 0.7 }), NUMBERS), expected);
  });

  it('SGD without momentum has no state', async () => {
    const plain = sgd({ momentum: 0 });
    expect(plain.slots).toEqual([]);
    const expected = reference(() => (theta, g) => theta - lr * decay * theta - lr * g, gradientScale);
    expectEqual(await run(plain, NUMBERS), expected);
  });

  it('Lion: the sign of the interpolated momentum', async () => {
    const expected = reference(() => {
      let m = 0;
      return (theta, g) => {
        const direction = Math.sign(0.9 * m + 0.1 * g);
        m = 0.99 * m + 0.01 * g;
        return theta - lr * decay * theta - lr * direction;
      };
    }, gradientScale);
    expectEqual(await run(lion(), NUMBERS), expected);
  });
});
