import { describe, expect, it } from 'vitest';
import { Graph } from '../graph/graph.ts';
import type { ParameterSpec } from '../nn/parameters.ts';
import { adamw } from '../optim/adamw.ts';
import { lion } from '../optim/lion.ts';
import type { Optimizer } from '../optim/optimizer.ts';
import { sgd } from '../optim/sgd.ts';
import { weightAverage } from '../optim/weight-average.ts';
import { normal, rngKey, uniform } from '../util/rng.ts';
import type { Gradients } from './gradients.ts';
import { float32, type HostTensor, hostTensor, scalarTensor } from './host-tensor.ts';
import { Learner } from './learner.ts';
import { type ParameterState, ParameterUpdate } from './parameter-update.ts';
import { Program } from './program.ts';

const OPTIMIZERS: readonly Optimizer[] = [adamw(), sgd(), sgd({ momentum: 0 }), lion(), weightAverage(0.9)];
const COMPUTE = { threads: 2 };
const STEP = { step: 3, learningRate: 0.01, gradientScale: 0.5, weightDecay: 0.1 };
const UPDATE = { learningRate: 0.01, weightDecay: 0.1, maxGradientNorm: 1 };

function random(name: string, dims: readonly number[], kind = normal): HostTensor {
  const data = new Float32Array(dims.reduce((a, b) => a * b, 1));
  kind(rngKey(5, 0, name), data);
  return hostTensor('f32', dims, data);
}
const copy = ({ dtype, dims, data }: HostTensor): HostTensor => ({ dtype, dims, data: data.slice() });
/** How many elements differ: vitest's own comparison takes seconds for large arrays. */
const differing = (a: HostTensor, b: HostTensor): number =>
  float32(a).reduce((count, value, i) => count + (Object.is(value, float32(b)[i]) ? 0 : 1), 0);
const i64 = (...values: number[]) => hostTensor('i64', [values.length], BigInt64Array.from(values, BigInt));
const spec = (name: string, shape: number[], extra: Partial<ParameterSpec> = {}): ParameterSpec => ({
  name,
  shape,
  init: { kind: 'constant', value: 0 },
  decay: true,
  ...extra,
});

/** Parameter with a state like that after some steps: second moments are not negative. */
const stateOf = (optimizer: Optimizer, dims: readonly number[]): ParameterState => ({
  value: random('value', dims),
  slots: Object.fromEntries(optimizer.slots.map((slot) => [slot, random(slot, dims, uniform)])),
});
const copyState = ({ value, slots }: ParameterState): ParameterState => ({
  value: copy(value),
  slots: Object.fromEntries(Object.entries(slots).map(([slot, tensor]) => [slot, copy(tensor)])),
});

describe('ParameterUpdate', () => {
  // onnxruntime does not promise that a result may overwrite an input. This test checks that it may.
  it.each(OPTIMIZERS)('$id $slots: writing in place gives what separate buffers give', async (optimizer) => {
    const graph = new Graph('separate');
    const vector = (name: string) => graph.input(name, 'f32', ['n']);
    const numbers = Object.entries(optimizer.numbers(STEP));
    const next = optimizer.update(
      {
        parameter: vector('parameter'),
        gradient: vector('gradient'),
        slots: Object.fromEntries(optimizer.slots.map((slot) => [slot, vector(slot)])),
      },
      Object.fromEntries(numbers.map(([name]) => [name, graph.input(name, 'f32', [])])),
    );
    graph.output('next', next.parameter);
    for (const [slot, tensor] of Object.entries(next.slots)) graph.output(`next/${slot}`, tensor);
    const separate = await Program.compile(graph, COMPUTE);
    const update = await ParameterUpdate.compile(optimizer, COMPUTE);
    for (const n of [1, 7, 300_001]) {
      const state = stateOf(optimizer, [n]);
      const gradient = random('gradient', [n]);
      const expected = await separate.run({
        parameter: state.value,
        gradient,
        ...state.slots,
        ...Object.fromEntries(numbers.map(([name, value]) => [name, scalarTensor(value)])),
      });
      const before = copy(state.value);
      await update.apply(state, gradient, STEP);
      expect(state.value.data[0]).not.toBe(before.data[0]);
      expect(differing(state.value, expected.next!), `parameter of ${n}`).toBe(0);
      for (const slot of optimizer.slots) {
        expect(differing(state.slots[slot]!, expected[`next/${slot}`]!), `${slot} of ${n}`).toBe(0);
      }
    }
    await separate.dispose();
    await update.dispose();
  });

  it.each(OPTIMIZERS)(
    '$id $slots: touched rows of a table move as in a whole update, others not at all',
    async (optimizer) => {
      const update = await ParameterUpdate.compile(optimizer, COMPUTE);
      // A few short rows; rows of one number, like the static encoder's token weights; more rows than one run takes.
      for (const [V, D, rows] of [
        [9, 5, [7, 0, 4]],
        [6, 1, [5, 2]],
        [450, 1000, Array.from({ length: 400 }, (_, i) => (i * 7) % 450)],
      ] as const) {
        const lazy = stateOf(optimizer, [V, D]);
        const [dense, before] = [copyState(lazy), copyState(lazy)];
        const gradient = random('gradient', [rows.length, D]);
        const whole = hostTensor('f32', [V, D], new Float32Array(V * D));
        for (const [i, row] of rows.entries()) {
          (whole.data as Float32Array).set(float32(gradient).subarray(i * D, (i + 1) * D), row * D);
        }
        await update.applyRows(lazy, i64(...rows), gradient, STEP);
        await update.apply(dense, whole, STEP);
        const tensors = (state: ParameterState) => [state.value, ...Object.values(state.slots)];
        for (const [k, tensor] of tensors(lazy).entries()) {
          const expected = tensors(before)[k]!;
          for (const row of rows) {
            const moved = float32(tensors(dense)[k]).subarray(row * D, (row + 1) * D);
            (expected.data as Float32Array).set(moved, row * D);
          }
          expect(differing(tensor, expected), `tensor ${k} of [${V}, ${D}]`).toBe(0);
        }
        expect(differing(lazy.value, stateOf(optimizer, [V, D]).value)).toBeGreaterThan(0);
      }
      await update.dispose();
    },
  );

  it.each(OPTIMIZERS)('$id $slots: parameters move together as they move alone', async (optimizer) => {
    const update = await ParameterUpdate.compile(optimizer, COMPUTE);
    // Long vectors among short ones; more short vectors than one run takes; no vectors.
    for (const lengths of [[3, 5000, 1, 4096, 300_001, 7], Array(70).fill(4000), [5000], []]) {
      const one = (n: number, i: number) => ({
        state: copyState(stateOf(optimizer, [n])),
        gradient: random(`gradient ${i}`, [n]),
      });
      const [together, alone] = [lengths.map(one), lengths.map(one)];
      await update.applyAll(together, STEP);
      for (const { state, gradient } of alone) await update.apply(state, gradient, STEP);
      for (const [i, { state, gradient }] of alone.entries()) {
        const moved = together[i]!;
        expect(differing(moved.state.value, state.value), `parameter ${i} of ${lengths}`).toBe(0);
        for (const slot of optimizer.slots) {
          expect(differing(moved.state.slots[slot]!, state.slots[slot]!), `${slot} ${i} of ${lengths}`).toBe(
            0,
          );
        }
        expect(differing(moved.gradient, gradient)).toBe(0);
      }
    }
    await update.dispose();
  });

  it('the sum of squares has every element in it, whatever the length', async () => {
    const update = await ParameterUpdate.compile(sgd(), COMPUTE);
    for (const n of [0, 1, 4096, 4097, 300_001]) {
      const gradient = random('gradient', [n]);
      const values = float32(gradient);
      const expected = values.reduce((sum, value) => sum + value * value, 0);
      expect(Math.abs((await update.squaredSum(gradient)) - expected), `${n}`).toBeLessThanOrEqual(
        1e-6 * expected,
      );
      for (const [place, bad] of [
        [0, Number.NaN],
        [n >> 1, Number.POSITIVE_INFINITY],
        [n - 1, 1e30],
      ] as const) {
        if (n === 0) continue;
        const before = values[place]!;
        values[place] = bad;
        expect(await update.squaredSum(gradient), `${bad} at ${place} of ${n}`).not.toSatisfy(
          Number.isFinite,
        );
        values[place] = before;
      }
    }
    await update.dispose();
  });

  it('a batch without rows changes nothing', async () => {
    const state = stateOf(adamw(), [4, 3]);
    const before = copyState(state);
    const update = await ParameterUpdate.compile(adamw(), COMPUTE);
    await update.applyRows(state, i64(), hostTensor('f32', [0, 3], new Float32Array(0)), STEP);
    expect(state).toEqual(before);
    await update.dispose();
  });
});

describe('Learner', () => {
  const specs = [
    spec('w', [2, 3]),
    spec('b', [3], { decay: false }),
    spec('table', [6, 2], { lookup: 'rows' }),
  ];
  const weights = () => Object.fromEntries(specs.map((s) => [s.name, random(s.name, s.shape)]));
  const gradients = (factor = 1) => ({
    byName: {
      w: hostTensor(
        'f32',
        [2, 3],
        Float32Array.of(1, -2, 0, 2, 0, 0).map((x) => x * factor),
      ),
      b: hostTensor(
        'f32',
        [3],
        Float32Array.of(0, 3, 0).map((x) => x * factor),
      ),
      table: hostTensor(
        'f32',
        [2, 2],
        Float32Array.of(1, 1, -1, 2).map((x) => x * factor),
      ),
    },
    rows: { rows: i64(5, 1) },
  });
  const NORM = Math.sqrt(1 + 4 + 4 + 9 + 1 + 1 + 1 + 4);

  it('updates and clips each group as a learner of its own, with its own rate', async () => {
    const ratio = 3;
    const trained = async (
      names: readonly string[],
      groups: { prefix: string; learningRateRatio: number }[],
      rate: number,
    ) => {
      const values = weights();
      const own = specs.filter(({ name }) => names.includes(name));
      const learner = await Learner.create(own, values, adamw(), { ...COMPUTE, groups });
      for (const factor of [1, 0.01, 2]) {
        const { byName, rows } = gradients(factor);
        const given = Object.entries(byName).filter(([name]) => names.includes(name));
        await learner.apply({ byName: Object.fromEntries(given), rows }, { ...UPDATE, learningRate: rate });
      }
      await learner.dispose();
      return values;
    };
    const joint = await trained(['w', 'b', 'table'], [{ prefix: 'b', learningRateRatio: ratio }], 0.01);
    const [others, b] = [await trained(['w', 'table'], [], 0.01), await trained(['b'], [], 0.01 * ratio)];
    const one = await trained(['w', 'b', 'table'], [], 0.01);
    expect(differing(joint.w!, others.w!) + differing(joint.table!, others.table!)).toBe(0);
    expect(differing(joint.b!, b.b!)).toBe(0);
    expect(differing(joint.w!, one.w!)).toBeGreaterThan(0);
    expect(differing(joint.b!, one.b!)).toBeGreaterThan(0);
  });

  it('returns the global norm, and scales gradients only when it is above the limit', async () => {
    const plain = sgd({ momentum: 0 });
    for (const [maxGradientNorm, scale] of [
      [1, 1 / NORM],
      [NORM + 0.01, 1],
      [0, 1],
    ] as const) {
      const values = weights();
      const before = weights();
      const learner = await Learner.create(specs, values, plain, COMPUTE);
      const norm = await learner.apply(gradients(), { learningRate: 0.5, weightDecay: 0, maxGradientNorm });
      expect(norm).toBeCloseTo(NORM, 5);
      const b = float32(values.b);
      expect(b[1]! - float32(before.b)[1]!).toBeCloseTo(-0.5 * 3 * scale, 5);
      expect(float32(values.table)[11]! - float32(before.table)[11]!).toBeCloseTo(-0.5 * scale, 5);
      await learner.dispose();
    }
  });

  it('decays only what its spec says', async () => {
    const values = weights();
    const before = weights();
    const learner = await Learner.create(specs, values, sgd(), COMPUTE);
    await learner.apply(gradients(0), { learningRate: 0.5, weightDecay: 0.1, maxGradientNorm: 1 });
    expect(values.b!.data).toEqual(before.b!.data);
    for (const [i, value] of float32(values.w).entries()) {
      expect(value).toBeCloseTo(float32(before.w)[i]! * 0.95, 6);
    }
    await learner.dispose();
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, 1e30])(
    'a gradient of %d stops the step, names step and parameter, and changes nothing',
    async (bad) => {
      const values = weights();
      const learner = await Learner.create(specs, values, adamw(), COMPUTE);
      await learner.apply(gradients(), UPDATE);
      const state = structuredClone(learner.state());
      const before = structuredClone(values);
      const broken = gradients();
      broken.byName.table.data[3] = bad;
      await expect(learner.apply(broken, UPDATE)).rejects.toThrow(
        /^step 2: the gradient of table is not finite\n.*learning rate/,
      );
      expect(learner.step).toBe(1);
      expect(learner.state()).toEqual(state);
      expect(values).toEqual(before);
      await learner.dispose();
    },
  );

  it('restored state continues to the same bytes', async () => {
    const values = weights();
    const learner = await Learner.create(specs, values, adamw(), COMPUTE);
    await learner.apply(gradients(), UPDATE);
    const saved = structuredClone(learner.state());
    const parameters = structuredClone(learner.parameters);
    await learner.apply(gradients(2), UPDATE);

    const resumedValues = weights();
    const resumed = await Learner.create(specs, resumedValues, adamw(), COMPUTE);
    resumed.restore(saved.step, parameters, saved.tensors);
    await resumed.apply(gradients(2), UPDATE);
    expect(resumedValues).toEqual(values);
    expect(resumed.state()).toEqual(learner.state());
    await learner.dispose();
    await resumed.dispose();
  });

  it('adds up gradients of batches that touch different rows', async () => {
    const dense = [1, 2, 4].map((factor) => gradients(factor));
    dense[1]!.rows = { rows: i64(1, 3) };
    dense[2]!.rows = { rows: i64(0, 5) };
    const learner = await Learner.create(specs, weights(), adamw(), COMPUTE);
    for (const [i, batch] of dense.entries()) await learner.accumulate(batch, { first: i === 0 });
    const { byName, rows } = learner.accumulated;
    expect(Array.from(byName.w!.data, Number)).toEqual([7, -14, 0, 14, 0, 0]);
    expect(Array.from(rows.rows!.data, Number)).toEqual([5, 1, 3, 0]);
    // Row 5 got (1, 1) and 4·(−1, 2), row 1 got (−1, 2) and 2·(1, 1).
    expect(Array.from(byName.table!.data, Number)).toEqual([-3, 9, 1, 4, -2, 4, 4, 4]);
    expect(Array.from(dense[0]!.byName.w.data, Number), 'a batch of its own is left alone').toEqual([
      1, -2, 0, 2, 0, 0,
    ]);
    await learner.accumulate(gradients(), { first: true });
    expect(Array.from(learner.accumulated.byName.b!.data, Number)).toEqual([0, 3, 0]);
    await learner.accumulate(dense[1]!, { first: false, weight: 0.5 });
    expect(Array.from(learner.accumulated.byName.b!.data, Number)).toEqual([0, 6, 0]);
    // Half of 2·(−1, 2) and 2·(1, 1) is added at the rows 1 and 3.
    const sum = learner.accumulated;
    const at = (row: bigint) => [...sum.rows.rows!.data].indexOf(row as never);
    const table = Array.from(sum.byName.table!.data, Number);
    expect(table.slice(2 * at(3n), 2 * at(3n) + 2)).toEqual([-1, 2]);
    expect(table.slice(2 * at(1n), 2 * at(1n) + 2)).toEqual([0, 3]);
    await learner.dispose();
  });

  it('lookup tables of two vocabularies move and add up, each at rows of its own', async () => {
    const tables = [
      spec('a/table', [6, 2], { lookup: 'a/rows' }),
      spec('b/table', [4, 1], { lookup: 'b/rows' }),
      spec('b/weights', [4, 1], { lookup: 'b/rows' }),
    ];
    const values = () => Object.fromEntries(tables.map((s) => [s.name, random(s.name, s.shape)]));
    const batch = (a: number[], b: number[]): Gradients => ({
      byName: {
        'a/table': hostTensor('f32', [a.length, 2], Float32Array.from(a.flatMap((row) => [row, 1]))),
        'b/table': hostTensor('f32', [b.length, 1], Float32Array.from(b)),
        'b/weights': hostTensor(
          'f32',
          [b.length, 1],
          Float32Array.from(b, (row) => -row),
        ),
      },
      rows: { 'a/rows': i64(...a), 'b/rows': i64(...b) },
    });
    const numbers = (tensor: HostTensor | undefined) => Array.from(tensor!.data, Number);
    const weights = values();
    const learner = await Learner.create(tables, weights, sgd({ momentum: 0 }), COMPUTE);
    await learner.accumulate(batch([5, 1], [3]), { first: true });
    await learner.accumulate(batch([1, 2, 4], [2, 3]), { first: false });
    const { byName, rows } = learner.accumulated;
    expect([numbers(rows['a/rows']), numbers(rows['b/rows'])]).toEqual([
      [5, 1, 2, 4],
      [3, 2],
    ]);
    expect(numbers(byName['a/table'])).toEqual([5, 1, 2, 2, 2, 1, 4, 1]);
    expect([numbers(byName['b/table']), numbers(byName['b/weights'])]).toEqual([
      [6, 2],
      [-6, -2],
    ]);
    await learner.apply(learner.accumulated, { learningRate: 1, weightDecay: 0, maxGradientNorm: 0 });
    const moved = (name: string) =>
      numbers(values()[name]).map((before, i) => Math.round(before - numbers(weights[name])[i]!));
    expect(moved('a/table')).toEqual([0, 0, 2, 2, 2, 1, 0, 0, 4, 1, 5, 1]);
    expect(moved('b/table')).toEqual([0, 0, 2, 6]);
    expect(moved('b/weights').map((x) => x + 0)).toEqual([0, 0, -2, -6]);

    const { 'b/weights': _, ...fewer } = batch([1], [1]).byName;
    await expect(learner.accumulate({ ...batch([1], [1]), byName: fewer }, { first: false })).rejects.toThrow(
      'only some batches of a sum have a gradient of b/weights',
    );
    const unknown = { byName: { table: byName['a/table']! }, rows };
    await expect(learner.apply(unknown, UPDATE)).rejects.toThrow(
      'a gradient of table, which the learner does not train',
    );
    const wrong = { ...batch([1], [1]), rows: { rows: i64(1) } };
    await expect(learner.apply(wrong, UPDATE)).rejects.toThrow(
      /lookup table a\/table came without its rows\n.*"a\/rows"/,
    );
    await learner.dispose();
  });

  it('a mean of gradients is clipped by its own norm', async () => {
    const run = async (factor: number, gradientFactor: number) => {
      const values = weights();
      const learner = await Learner.create(specs, values, sgd(), COMPUTE);
      const norm = await learner.apply(gradients(factor), { ...UPDATE, gradientFactor });
      await learner.dispose();
      return { values, norm };
    };
    expect(await run(4, 0.25)).toEqual(await run(1, 1));
  });

  it('says which weight or state is missing', async () => {
    const { w, table } = weights();
    await expect(Learner.create(specs, { w: w!, table: table! }, adamw(), COMPUTE)).rejects.toThrow(
      'the model has no weight "b"',
    );
    const learner = await Learner.create(specs, weights(), adamw(), COMPUTE);
    expect(() => learner.restore(1, weights(), {})).toThrow(
      'the checkpoint has no tensor "u/w" of 6 elements',
    );
    await expect(learner.apply({ ...gradients(), rows: {} }, UPDATE)).rejects.toThrow(
      'lookup table table came without its rows',
    );
    await learner.dispose();
  });
});
