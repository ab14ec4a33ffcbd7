import { describe, expect, it } from 'vitest';
import { EventQueue } from '../bench/cluster/event-queue.ts';
import { simulate } from '../bench/cluster/simulation.ts';
import { CALM, DEFAULTS, type SimulationSettings } from '../bench/cluster/simulation-settings.ts';

/** A small cluster with resources to spare. */
const small = (changes: Partial<SimulationSettings> = {}): SimulationSettings => ({
  ...DEFAULTS,
  ...CALM,
  rows: 4e6,
  shards: 8,
  workers: 40,
  workerSpread: 0,
  ...changes,
});
/** Much happens in the three minutes that this cluster works. */
const wild: Partial<SimulationSettings> = {
  workerCrash: { perHour: 20, seconds: 20 },
  workerFreeze: { perHour: 20, seconds: 60 },
  ownerCrash: { perHour: 30, seconds: 10 },
  coordinatorCrash: { perHour: 60, seconds: 15 },
  serverLoss: { perHour: 30, seconds: 12 },
  lostTasks: 0.01,
  lostResults: 0.01,
};

describe('a simulated cluster', () => {
  it('without failures takes the time of work by throughput, and does nothing twice', () => {
    const settings = small({ modelBytes: 0, ownerTokenRate: 1e9, networkRate: 1e12, streamRate: 1e12 });
    const { seconds, idealSeconds, tasks, results, failures, blocks } = simulate(settings);
    expect(idealSeconds).toBeCloseTo((blocks * 1024) / (40 * 195), 6);
    // A worker may get a block more than others: 5.3 s.
    expect(seconds).toBeGreaterThanOrEqual(idealSeconds);
    expect(seconds).toBeLessThan(idealSeconds + 2 * (1024 / 195) + 1);
    expect(tasks).toEqual({ published: blocks, redelivered: 0, dead: 0, lost: 0 });
    expect(results).toMatchObject({ published: blocks, applied: blocks, dropped: 0, lost: 0, refused: 0 });
    expect(failures).toBe(0);
  });

  it.each([1, 2, 3])('brings every row to the version whatever happens: seed %i', (seed) => {
    const settings = small({ ...wild, seed });
    const { blocks, seconds, idealSeconds, tasks, results, failures } = simulate(settings);
    expect(blocks).toBe(Math.ceil(4e6 / 8 / 1024) * 8);
    expect(results.applied).toBe(blocks);
    // Every result that the server took was applied, dropped or lost.
    expect(results.published).toBe(results.applied + results.dropped + results.lost);
    expect(Math.min(failures, tasks.redelivered, tasks.lost, results.lost, results.dropped)).toBeGreaterThan(
      0,
    );
    expect(seconds).toBeGreaterThan(idealSeconds);
  });

  it('is the same for the same seed, and another for another', () => {
    const [a, b, c] = [1, 1, 2].map((seed) => simulate(small({ ...wild, seed })));
    expect(a).toEqual(b);
    expect(a).not.toEqual(c);
  });

  it('is as fast as the stream of results where that is slowest, and never keeps more than it may', () => {
    const settings = small({ streamRate: 4e6, resultBytes: 40e6 });
    const { seconds, blocks, results, busy } = simulate(settings);
    const bytes = blocks * 1024 * (384 * 4 + 16);
    expect(seconds).toBeGreaterThan(bytes / 4e6);
    expect(seconds).toBeLessThan(1.1 * (bytes / 4e6));
    expect(results.refused).toBeGreaterThan(0);
    expect(results.mostBytes).toBeLessThanOrEqual(40e6);
    expect(busy.streams).toBeGreaterThan(0.9);
  });

  it('waits for a slow owner in the same way', () => {
    const { seconds, blocks, results, busy } = simulate(
      small({ ownerPutRate: 400, resultBytes: 40e6, boundResults: true, shardTasks: 16 }),
    );
    const least = (blocks * 1024) / (8 * 400);
    expect(seconds).toBeGreaterThan(least);
    expect(seconds).toBeLessThan(1.5 * least);
    expect(results.mostBytes).toBeLessThanOrEqual(40e6);
    expect(busy.storing).toBeGreaterThan(0.7);
  });

  it('gives up what no worker finishes, and brings all else to the version', () => {
    const freezes = { perHour: 60, seconds: 200 };
    const { tasks, results, blocks } = simulate(small({ rows: 1e6, workerFreeze: freezes, deliveries: 1 }));
    expect(tasks.dead).toBeGreaterThan(0);
    // A worker that wakes publishes what was given up.
    expect(results.applied).toBeGreaterThanOrEqual(blocks - tasks.dead);
    expect(results.published).toBe(results.applied + results.dropped);
  });
});

it('events come in the order of their times, and of equal times in the order of their coming', () => {
  const queue = new EventQueue<number>();
  const times = Array.from({ length: 500 }, (_, i) => (i * 7919) % 50);
  times.forEach((time, i) => void queue.add(time, i));
  const sorted = times.map((time, i) => [time, i] as const).sort(([a, i], [b, j]) => a - b || i - j);
  for (const [time, event] of sorted) expect(queue.next()).toMatchObject({ time, event });
  expect(queue.next()).toBeUndefined();
});
