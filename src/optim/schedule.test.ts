import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { SCHEDULES, type ScheduleName, type ScheduleOptions, scheduleRatio } from './schedule.ts';

// Factors of transformers' schedulers, made by tools/reference/schedule_golden.py.
interface Golden {
  readonly cases: readonly {
    readonly name: string;
    readonly warmupSteps: number;
    readonly totalSteps: number;
    readonly factors: readonly number[];
  }[];
}
const golden = JSON.parse(
  readFileSync(new URL('./fixtures/schedules.json', import.meta.url), 'utf8'),
) as Golden;

const ratios = (options: ScheduleOptions) =>
  Array.from({ length: options.totalSteps }, (_, i) => scheduleRatio(i + 1, options));

describe('learning rate schedules', () => {
  it('rise linearly over the warm-up, whatever comes after', () => {
    for (const name of SCHEDULES) {
      const rising = ratios({ name, warmupSteps: 4, totalSteps: 12 }).slice(0, 4);
      expect(rising, name).toEqual([0.25, 0.5, 0.75, 1]);
    }
  });

  it('constant stays at the peak', () => {
    expect(ratios({ name: 'constant', warmupSteps: 0, totalSteps: 5 })).toEqual([1, 1, 1, 1, 1]);
  });

  it('linear falls by equal amounts, and would reach the floor in the update after the last one', () => {
    const falling = ratios({ name: 'linear', warmupSteps: 2, totalSteps: 6, floorRatio: 0.2 });
    for (const [i, value] of [0.5, 1, 1, 0.8, 0.6, 0.4].entries()) expect(falling[i]).toBeCloseTo(value, 12);
  });

  it('cosine is half-way in the middle, flat at both ends', () => {
    const falling = ratios({ name: 'cosine', warmupSteps: 0, totalSteps: 100, floorRatio: 0.1 });
    expect(falling[0]).toBe(1);
    expect(falling[50]).toBeCloseTo(0.55, 12);
    const beyond = { name: 'cosine', warmupSteps: 0, totalSteps: 100, floorRatio: 0.1 } as const;
    expect(scheduleRatio(101, beyond)).toBeCloseTo(0.1, 12);
    const drops = falling.slice(1).map((value, i) => falling[i]! - value);
    expect(Math.min(...drops)).toBeGreaterThan(0);
    expect(drops[0]!).toBeLessThan(0.1 * Math.max(...drops));
    expect(drops.at(-1)!).toBeLessThan(0.1 * Math.max(...drops));
  });

  it('keeps the floor when training goes on past its end', () => {
    expect(
      scheduleRatio(50, { name: 'linear', warmupSteps: 1, totalSteps: 10, floorRatio: 0.3 }),
    ).toBeCloseTo(0.3);
  });

  it('a run that is all warm-up never divides by zero', () => {
    expect(ratios({ name: 'cosine', warmupSteps: 3, totalSteps: 3 })).toEqual([1 / 3, 2 / 3, 1]);
  });

  it('are those of transformers, but that a warm-up begins above 0', () => {
    expect(golden.cases.length).toBeGreaterThan(20);
    for (const { name, warmupSteps, totalSteps, factors } of golden.cases) {
      const ours = ratios({ name: name as ScheduleName, warmupSteps, totalSteps });
      const theirs = factors.map((factor, i) => (i < warmupSteps ? (factors[i + 1] ?? 1) : factor));
      const label = `${name} ${warmupSteps}/${totalSteps}`;
      expect(ours, label).toHaveLength(theirs.length);
      for (const [i, value] of theirs.entries())
        expect(ours[i], `${label}, update ${i + 1}`).toBeCloseTo(value, 14);
    }
  });

  it('never have a rate of 0, with however few steps', () => {
    for (const name of SCHEDULES) {
      for (let totalSteps = 1; totalSteps < 12; totalSteps++) {
        for (let warmupSteps = 0; warmupSteps < 14; warmupSteps++)
          expect(Math.min(...ratios({ name, warmupSteps, totalSteps }))).toBeGreaterThan(0);
      }
    }
  });

  it('refuses numbers that make no schedule', () => {
    for (const [step, warmupSteps, totalSteps] of [
      [0, 0, 10],
      [1, -1, 10],
      [1, 0, 0],
      [1, 0, Number.NaN],
    ] as const) {
      expect(() => scheduleRatio(step, { name: 'linear', warmupSteps, totalSteps })).toThrow(
        /no schedule for step/,
      );
    }
  });
});
