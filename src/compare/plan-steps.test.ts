import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { type FakeTrainer, fakeTrainer } from '../../test/fake-comparison.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { InterruptedError } from '../train/callbacks.ts';
import type { Comparison } from './comparison.ts';
import { stepsFor } from './plan-steps.ts';
import { runComparison } from './run-comparison.ts';

const upTo = (steps: number, spent: (step: number) => number) =>
  Array.from({ length: steps + 1 }, (_, i) => (i === 0 ? 0 : spent(i)));

describe('stepsFor', () => {
  it('goes on at the rate of the steps, whatever the first one cost', () => {
    const spent = upTo(20, (step) => 1000 + 8 * step);
    expect(stepsFor(1000 + 8 * 500, spent, 1)).toBe(500);
    expect(stepsFor(1000 + 8 * 500 - 1, spent, 1)).toBe(499);
  });

  it('counts what happens every so many steps: whole periods', () => {
    const spent = (step: number) => 8 * step + 300 * Math.floor((step - 1) / 10);
    const found = stepsFor(spent(991), upTo(25, spent), 10);
    // The last period is paid for at its end or at its beginning: by less than a period the plan may be off.
    expect(Math.abs(found - 991)).toBeLessThan(10);
  });

  it('ends before the step that spends too much', () => {
    expect(
      stepsFor(
        50,
        upTo(10, (step) => 10 * step),
        1,
      ),
    ).toBe(5);
    expect(
      stepsFor(
        5,
        upTo(3, (step) => 10 * step),
        1,
      ),
    ).toBe(1);
  });
});

describe('a budget', () => {
  let trainer: FakeTrainer;
  let out: string;
  beforeEach(() => {
    trainer = fakeTrainer();
    out = join(tempFiles(), 'out');
  });
  const arm = (name: string, temperature: number) => ({
    name,
    method: 'in-batch',
    written: { temperature },
    options: { temperature },
  });
  const comparison = (more: Partial<Comparison> = {}): Comparison => ({
    name: 'budget',
    data: 'toy',
    out,
    budget: { kind: 'encodes', amount: 1000 },
    seeds: [1, 2],
    arms: [arm('a', 0.1)],
    evaluate: { split: 'test', metrics: ['map'], queries: null },
    ...more,
  });

  it('of encodes becomes the steps that spend it, measured once', async () => {
    const { arms } = await runComparison(comparison(), { trainer });
    // 100 + 8 · 112 = 996
    expect(arms[0]!.cost).toMatchObject({ steps: { values: [112, 112] }, documentEncodes: { mean: 996 } });
    expect(trainer.calls.filter((call) => call.startsWith('train'))).toEqual([
      'train a from 0',
      'train a-1 from 0',
      'train a-2 from 0',
    ]);
    expect(existsSync(join(out, 'plans/a'))).toBe(false);
    trainer.calls.length = 0;
    await runComparison(comparison({ seeds: [1, 2, 3] }), { trainer });
    expect(trainer.calls).toEqual(['train a-3 from 0', 'evaluate a-3']);
  });

  it('is measured anew when it or the arm changes', async () => {
    await runComparison(comparison({ seeds: [1] }), { trainer });
    const budget = { kind: 'encodes', amount: 500 } as const;
    const options = { trainer, overwrite: true };
    const { arms } = await runComparison(comparison({ seeds: [1], budget }), options);
    expect(arms[0]!.cost.steps!.mean).toBe(50);
    trainer.calls.length = 0;
    await runComparison(comparison({ seeds: [1], budget, arms: [arm('a', 0.2)] }), options);
    expect(trainer.calls).toEqual(['train a from 0', 'train a-1 from 0', 'evaluate a-1']);
  });

  it('of minutes becomes steps by the clock', async () => {
    const amount = 0.2 / 60;
    const { arms } = await runComparison(comparison({ seeds: [1], budget: { kind: 'minutes', amount } }), {
      trainer,
    });
    const { steps, measuredSteps } = JSON.parse(await readFile(join(out, 'plans/a.json'), 'utf8'));
    expect(measuredSteps).toBeGreaterThanOrEqual(20);
    expect(steps).toBeGreaterThanOrEqual(measuredSteps);
    expect(arms[0]!.cost.steps!.mean).toBe(steps);
  });

  it('of minutes pays for what comes before the first step', async () => {
    const { train } = trainer;
    trainer.train = (options, { onStep, ...callbacks }) =>
      train(options, { ...callbacks, onStep: (report) => onStep?.({ ...report, prepareMs: 60_000 }) });
    const run = (amount: number) =>
      runComparison(comparison({ seeds: [1], budget: { kind: 'minutes', amount } }), { trainer });
    await expect(run(0.9)).rejects.toThrow(
      /a has spent 1 minutes after its first step, more than the budget of 0\.9\n.*smaller cache/,
    );
    // A minute to prepare, and a tenth of a second for steps.
    const { arms } = await run(1 + 0.1 / 60);
    expect(arms[0]!.cost.steps!.mean).toBeGreaterThan(1);
  });

  it('that does not last for what a cache is filled with is refused', async () => {
    // 100 before the first step, 8 with it.
    const budget = { kind: 'encodes', amount: 107 } as const;
    await expect(runComparison(comparison({ budget }), { trainer })).rejects.toThrow(
      /a has spent 108 encodes after its first step, more than the budget of 107/,
    );
    const { arms } = await runComparison(comparison({ budget: { kind: 'encodes', amount: 108 } }), {
      trainer,
    });
    expect(arms[0]!.cost.steps!.mean).toBe(1);
  });

  it('of encodes needs a method that counts them', async () => {
    await expect(runComparison(comparison({ arms: [arm('a', 2)] }), { trainer })).rejects.toThrow(
      /in-batch does not count its document encodes.*\n.*steps or minutes/,
    );
  });

  it('is not measured to the end after Ctrl-C', async () => {
    const controller = new AbortController();
    const { train } = trainer;
    trainer.train = (options, callbacks) => {
      controller.abort();
      return train(options, callbacks);
    };
    const stopped = runComparison(comparison(), { trainer }, { signal: controller.signal });
    await expect(stopped).rejects.toThrow(InterruptedError);
    await expect(stopped).rejects.toThrow(/pilot of a was stopped\n.*the same command/);
    expect(existsSync(join(out, 'plans/a.json'))).toBe(false);
  });
});
