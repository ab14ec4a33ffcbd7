import { describe, expect, it } from 'vitest';
import { evaluate, f32, numbers } from '../../test/evaluate.ts';
import { backward } from '../grad/backward.ts';
import { Graph } from '../graph/graph.ts';
import { square, sum } from '../graph/ops.ts';
import { float32, type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { normal, randomInts, rngKey } from '../util/rng.ts';
import { dropout, linear, normalize, POOLINGS, pool, rmsNorm } from './layers.ts';
import { declareParameters, type embeddingParameters, initialValue, linearParameters } from './parameters.ts';

function random(name: string, dims: readonly number[]): HostTensor {
  const data = new Float32Array(dims.reduce((a, b) => a * b, 1));
  normal(rngKey(9, 0, name), data);
  return hostTensor('f32', dims, data);
}
/** Random words, one per text. */
function keys(seed: number, texts: number): HostTensor {
  const words = new Uint32Array(texts);
  randomInts(rngKey(seed, 0, 'keys'), 2 ** 32, words);
  return hostTensor('u32', [texts], words);
}

describe('dropout', () => {
  const [B, T, D] = [50, 40, 100];
  const N = B * T * D;
  const ones = f32([B * T, D], new Float32Array(N).fill(1));

  /** Dropout of texts whose elements are all 1. */
  const drop = async (
    rateRatio: number,
    words: HostTensor,
    options: { site?: string; tokens?: number } = {},
  ) => {
    const { site = 'site', tokens = T } = options;
    const count = words.data.length * tokens;
    const x = count === B * T ? ones : f32([count, D], new Float32Array(count * D).fill(1));
    const shape = { site, perText: [tokens, D] };
    const { y } = await evaluate({ x, words }, ({ x, words }) => ({
      y: dropout(x!, { rateRatio, keys: words! }, shape),
    }));
    return numbers(y);
  };
  const droppedAt = (y: readonly number[]) => y.flatMap((value, i) => (value === 0 ? [i] : []));
  const agreement = (a: readonly number[], b: readonly number[]) =>
    a.filter((value, i) => (value === 0) === (b[i] === 0)).length / a.length;

  it.each([0.1, 0.5, 0.9])('drops a share of %d and keeps the mean', async (rate) => {
    const y = await drop(rate, keys(42, B));
    const sigma = Math.sqrt((rate * (1 - rate)) / N);
    expect(Math.abs(droppedAt(y).length / N - rate)).toBeLessThan(4 * sigma);
    expect(Math.abs(y.reduce((a, b) => a + b) / N - 1)).toBeLessThan((4 * sigma) / (1 - rate));
    for (const value of new Set(y)) if (value !== 0) expect(value).toBeCloseTo(1 / (1 - rate), 5);
  });

  it('draws units, tokens, texts, seeds and sites independently of each other', async () => {
    const base = await drop(0.5, keys(1, B));
    const shifted = (by: number) => [...base.slice(by), ...base.slice(0, by)];
    const neighbours = hostTensor(
      'u32',
      [B],
      (keys(1, B).data as Uint32Array).map((word) => word + 1),
    );
    const others = [
      shifted(1),
      shifted(D),
      shifted(T * D),
      await drop(0.5, keys(2, B)),
      await drop(0.5, neighbours),
      await drop(0.5, keys(1, B), { site: 'other site' }),
    ];
    // Half of all pairs agree by chance; four standard deviations of that are 0.0045.
    for (const other of others) expect(Math.abs(agreement(base, other) - 0.5)).toBeLessThan(0.0045);
  });

  it("a text's mask depends on its key alone, not on the texts beside it or their padding", async () => {
    const whole = await drop(0.3, keys(7, B));
    expect(await drop(0.3, keys(7, B))).toEqual(whole);
    const words = (keys(7, B).data as Uint32Array).slice(3, 5);
    const part = await drop(0.3, hostTensor('u32', [2], words), { tokens: 17 });
    const expected = [3, 4].flatMap((text) => whole.slice(text * T * D, text * T * D + 17 * D));
    expect(part).toEqual(expected);
  });

  it('the gradient passes through the mask of the forward pass', async () => {
    const x = random('x', [B, 40]);
    const { y, dx } = await evaluate({ x, words: keys(3, B) }, ({ x, words }) => {
      const y = dropout(x!, { rateRatio: 0.4, keys: words! }, { site: 'site', perText: [40] });
      return { y, dx: backward(sum(y), [x!])[0]! };
    });
    const values = numbers(x);
    const gradient = numbers(dx);
    expect(droppedAt(gradient)).toEqual(droppedAt(numbers(y)));
    for (const [i, value] of numbers(y).entries()) expect(value).toBeCloseTo(values[i]! * gradient[i]!, 5);
    expect(Math.max(...gradient)).toBeCloseTo(1 / 0.6, 5);
  });

  it('a rate of 0 adds nothing to the graph', async () => {
    await evaluate({ x: f32([1], [2]), words: keys(1, 1) }, ({ x, words }) => {
      const place = { site: 'site', perText: [1] };
      expect(dropout(x!, { rateRatio: 0, keys: words! }, place)).toBe(x);
      expect(dropout(x!, undefined, place)).toBe(x);
      return { y: square(x!) };
    });
  });
});

describe('norms', () => {
  it('rmsNorm divides by the root of the mean square', async () => {
    const x = random('x', [3, 4]);
    const scale = f32([4], [1, 2, 0.5, -1]);
    const { y } = await evaluate({ x, scale }, ({ x, scale }) => ({ y: rmsNorm(x!, scale!, 1e-6) }));
    const values = numbers(x);
    for (let row = 0; row < 3; row++) {
      const own = values.slice(row * 4, row * 4 + 4);
      const root = Math.sqrt(own.reduce((a, b) => a + b * b, 0) / 4 + 1e-6);
      for (const [i, value] of own.entries()) {
        expect(numbers(y)[row * 4 + i]).toBeCloseTo((value / root) * numbers(scale)[i]!, 5);
      }
    }
  });

  it('rmsNorm of zeros is zero, and its gradient finite', async () => {
    const inputs = { x: f32([1, 2], [0, 0]), scale: f32([2], [1, 1]) };
    const { y, dx } = await evaluate(inputs, ({ x, scale }) => {
      const y = rmsNorm(x!, scale!, 1e-6);
      return { y, dx: backward(sum(y), [x!])[0]! };
    });
    expect(numbers(y)).toEqual([0, 0]);
    expect(numbers(dx)[0]).toBeCloseTo(1000, 1);
  });

  it('normalize gives rows of length one; a zero row stays zero and gets a finite gradient', async () => {
    const { y, dx } = await evaluate({ x: f32([2, 2], [3, -4, 0, 0]) }, ({ x }) => {
      const y = normalize(x!);
      return { y, dx: backward(sum(y), [x!])[0]! };
    });
    expect(numbers(y)[0]).toBeCloseTo(0.6, 6);
    expect(numbers(y)[1]).toBeCloseTo(-0.8, 6);
    expect(numbers(y).slice(2)).toEqual([0, 0]);
    expect(numbers(dx).every(Number.isFinite)).toBe(true);
    // (I − y yᵀ) 1 / ‖x‖ for y = (0.6, −0.8)
    expect(numbers(dx)[0]).toBeCloseTo((1 - 0.6 * (0.6 - 0.8)) / 5, 5);
  });
});

describe('pool', () => {
  const hidden = f32([2, 3, 2], [1, 2, 3, 4, 100, 200, 5, 6, 70, 80, 90, 100]);
  const mask = f32([2, 3], [1, 1, 0, 1, 0, 0]);

  it('mean: the average of the tokens, padding left out', async () => {
    const { y, dx } = await evaluate({ hidden, mask }, ({ hidden, mask }) => {
      const y = pool(hidden!, mask!, 'mean');
      return { y, dx: backward(sum(y), [hidden!])[0]! };
    });
    expect(y!.dims).toEqual([2, 2]);
    expect(numbers(y)).toEqual([2, 3, 5, 6]);
    expect(numbers(dx)).toEqual([0.5, 0.5, 0.5, 0.5, 0, 0, 1, 1, 0, 0, 0, 0]);
  });

  it.each([
    ['cls', [1, 2, 5, 6], [1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0]],
    ['lasttoken', [3, 4, 5, 6], [0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0]],
    ['max', [3, 4, 5, 6], [0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0]],
    ['weightedmean', [7 / 3, 10 / 3, 5, 6], [1 / 3, 1 / 3, 2 / 3, 2 / 3, 0, 0, 1, 1, 0, 0, 0, 0]],
    [
      'mean_sqrt_len_tokens',
      [2 * Math.SQRT2, 3 * Math.SQRT2, 5, 6],
      [...Array(4).fill(Math.SQRT1_2), 0, 0, 1, 1, 0, 0, 0, 0],
    ],
  ] as const)('%s: values and gradient', async (pooling, values, gradient) => {
    const { y, dx } = await evaluate({ hidden, mask }, ({ hidden, mask }) => {
      const y = pool(hidden!, mask!, pooling);
      return { y, dx: backward(sum(y), [hidden!])[0]! };
    });
    expect(y!.dims).toEqual([2, 2]);
    for (const [i, value] of values.entries()) expect(numbers(y)[i], `y[${i}]`).toBeCloseTo(value, 5);
    for (const [i, value] of gradient.entries()) expect(numbers(dx)[i], `dx[${i}]`).toBeCloseTo(value, 5);
  });

  it.each(POOLINGS)(
    '%s: more padding changes nothing, and what stands there has no gradient',
    async (pooling) => {
      const [short, long] = [random('hidden', [2, 3, 4]), random('other', [2, 5, 4])];
      for (const text of [0, 1]) {
        (long.data as Float32Array).set(float32(short).subarray(text * 12, text * 12 + 12), text * 20);
      }
      const masks = [f32([2, 3], [1, 1, 0, 1, 1, 1]), f32([2, 5], [1, 1, 0, 0, 0, 1, 1, 1, 0, 0])];
      const [a, b] = await Promise.all(
        [short, long].map((hidden, i) =>
          evaluate({ hidden, mask: masks[i]! }, ({ hidden, mask }) => {
            const y = pool(hidden!, mask!, pooling);
            return { y, dx: backward(sum(square(y)), [hidden!])[0]! };
          }),
        ),
      );
      for (const [i, value] of numbers(a!.y).entries()) expect(numbers(b!.y)[i]).toBeCloseTo(value, 5);
      const tokens = (dx: HostTensor, length: number) =>
        [numbers(dx).slice(0, 8), numbers(dx).slice(length * 4, length * 4 + 12)].flat();
      expect(Math.max(...tokens(a!.dx!, 3).map(Math.abs))).toBeGreaterThan(0.1);
      for (const [i, value] of tokens(a!.dx!, 3).entries()) {
        expect(tokens(b!.dx!, 5)[i]).toBeCloseTo(value, 5);
      }
      expect(numbers(b!.dx).slice(8, 20)).toEqual(Array(12).fill(0));
      expect(numbers(b!.dx).slice(32)).toEqual(Array(8).fill(0));
    },
  );

  it.each(POOLINGS.filter((pooling) => pooling !== 'cls'))(
    '%s of a text without tokens is zero, and so is its gradient',
    async (pooling) => {
      const none = f32([2, 3], [0, 0, 0, 1, 1, 1]);
      const { y, dx } = await evaluate({ hidden, mask: none }, ({ hidden, mask }) => {
        const y = pool(hidden!, mask!, pooling);
        return { y, dx: backward(sum(y), [hidden!])[0]! };
      });
      expect(numbers(y).slice(0, 2)).toEqual([0, 0]);
      expect(numbers(dx).slice(0, 6)).toEqual(Array(6).fill(0));
      expect(Math.min(...numbers(y).slice(2))).toBeGreaterThan(1);
    },
  );
});

describe('linear and parameters', () => {
  it('multiplies the last axis of a tensor of any rank', async () => {
    const inputs = {
      x: f32([2, 1, 2], [1, 2, 3, 4]),
      'l.weight': f32([3, 2], [1, 0, 0, 1, 1, -1]),
      'l.bias': f32([3], [0, 10, 0]),
    };
    const { y } = await evaluate(inputs, ({ x, ...own }) => ({ y: linear(x!, (name) => own[name]!, 'l') }));
    expect(y!.dims).toEqual([2, 1, 3]);
    expect(numbers(y)).toEqual([1, 12, -1, 3, 14, -1]);
  });

  it('initial values depend on seed and name only', () => {
    const [spec] = linearParameters('layer', 300, 200) as [ReturnType<typeof embeddingParameters>];
    const values = initialValue(spec, 1);
    expect(initialValue(spec, 1)).toEqual(values);
    expect(initialValue(spec, 2)).not.toEqual(values);
    expect(initialValue({ ...spec, name: 'other' }, 1)).not.toEqual(values);
    const deviation = Math.sqrt(values.reduce((s, v) => s + v * v, 0) / values.length);
    expect(deviation).toBeCloseTo(0.02, 3);
  });

  it('asking for a parameter that does not exist lists those that do', () => {
    const { get } = declareParameters(new Graph('g'), linearParameters('l', 1, 1));
    expect(() => get('l.wieght')).toThrow('no parameter "l.wieght"; there are l.weight, l.bias');
  });
});
