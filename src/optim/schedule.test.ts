import { describe, expect, it } from 'vitest';
import { SCHEDULES, type ScheduleOptions, scheduleRatio } from './schedule.ts';

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

  it('linear falls by equal amounts to the floor at the last step', () => {
    const falling = ratios({ name: 'linear', warmupSteps: 2, totalSteps: 6, floorRatio: 0.2 });
    for (const [i, value] of [0.5, 1, 0.8, 0.6, 0.4, 0.2].entries())
      expect(falling[i]).toBeCloseTo(value, 12);
  });

  it('cosine is half-way in the middle, flat at both ends', () => {
    const falling = ratios({ name: 'cosine', warmupSteps: 0, totalSteps: 100, floorRatio: 0.1 });
    expect(falling[49]).toBeCloseTo(0.55, 12);
    expect(falling[99]).toBeCloseTo(0.1, 12);
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
