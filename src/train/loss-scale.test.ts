import { afterEach, describe, expect, it } from 'vitest';
import { ToyRun } from '../../test/toy-training.ts';
import { gradCache } from '../methods/grad-cache.ts';
import { inBatch } from '../methods/in-batch.ts';
import { LossScale } from '../runtime/loss-scale.ts';

const runs: ToyRun[] = [];
afterEach(async () => {
  for (const run of runs.splice(0)) await run.dispose();
});
const begin = async (...given: Parameters<typeof ToyRun.begin>): Promise<ToyRun> => {
  const run = await ToyRun.begin(...given);
  runs.push(run);
  return run;
};
const MODEL = { kind: 'transformer', hidden: 16 } as const;

describe('training with a loss scale', () => {
  // The CPU gives f32 products for f16 ones, and a power of two changes no bit: only the scale can make a difference.
  it.each([
    ['in-batch', inBatch],
    ['grad-cache', gradCache],
  ])('%s: gives what it gives without', async (_, method) => {
    const plain = await begin(method, { model: MODEL });
    const scaled = await begin(method, { model: MODEL, lossScale: new LossScale() });
    const [expected, found] = [await plain.train(4), await scaled.train(4)];
    expect(found.map((step) => step.trainingLoss)).toEqual(expected.map((step) => step.trainingLoss));
    expect(found[3]!.gradientNorm).toBeCloseTo(expected[3]!.gradientNorm, 5);
    expect(found[3]!.metrics).toMatchObject({ lossScale: 2 ** 12, skippedSteps: 0 });
  });

  it('skips steps whose gradients overflow until the scale fits, and then learns', async () => {
    const run = await begin(inBatch, { model: MODEL, lossScale: new LossScale({ initial: 2 ** 67 }) });
    const before = run.bytes();
    const first = (await run.train(1))[0]!;
    expect(first.gradientNorm).toBeNaN();
    expect(first.metrics).toMatchObject({ lossScale: 2 ** 66, skippedSteps: 1 });
    const { 'loss-scale': _, ...weights } = run.bytes();
    for (const [name, hex] of Object.entries(weights)) expect(hex, name).toBe(before[name]);
    const steps = await run.train(12);
    const skipped = steps.at(-1)!.metrics.skippedSteps!;
    expect(skipped).toBeGreaterThan(1);
    expect(skipped).toBeLessThan(10);
    expect(steps.at(-1)!.metrics.lossScale).toBe(2 ** (67 - skipped));
    expect(steps.at(-1)!.trainingLoss).toBeLessThan(first.trainingLoss);
  });

  it('grows after good steps, and a resumed run continues with it to the same bytes', async () => {
    const lossScale = () => new LossScale({ initial: 2, growAfter: 3 });
    const whole = await begin(inBatch, { model: MODEL, lossScale: lossScale() });
    expect((await whole.train(4)).map(({ metrics }) => metrics.lossScale)).toEqual([2, 2, 4, 4]);
    const folder = await whole.save();
    expect((await whole.train(2)).map(({ metrics }) => metrics.lossScale)).toEqual([4, 8]);
    const resumed = await ToyRun.resume(inBatch, { model: MODEL, lossScale: lossScale() }, folder);
    runs.push(resumed);
    expect((await resumed.train(2)).map(({ metrics }) => metrics.lossScale)).toEqual([4, 8]);
    expect(resumed.bytes()).toEqual(whole.bytes());
  });

  it('ends the run where gradients overflow at every scale', async () => {
    const scale = new LossScale({ initial: 4 });
    expect([scale.failed(), scale.failed(), scale.failed()]).toEqual([true, true, false]);
  });
});
