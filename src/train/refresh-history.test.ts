import { expect, it } from 'vitest';
import type { LoggedEvent } from './event-log.ts';
import { describeRefreshes, refreshHistory } from './refresh-history.ts';

const event = (version: number, step: number, more: Record<string, number> = {}): LoggedEvent => ({
  step,
  epoch: 0,
  wallMs: 0,
  kind: 'refresh',
  values: {
    version,
    lagSteps: step - version,
    rows: 10,
    newerRows: 2,
    workerMs: 1500,
    workerFailures: 0,
    ...more,
  },
});

it('lists every refresh, including those that were given up', () => {
  const events = [
    { ...event(0, 1), kind: 'train' },
    event(500, 731),
    event(1000, 1500, { rows: 0, newerRows: 0, workerFailures: 3 }),
    event(1500, 1703, { workerFailures: 1 }),
  ];
  const history = refreshHistory(events);
  expect(history[0]).toEqual({
    version: 500,
    hereRows: 0,
    step: 731,
    rows: 10,
    newerRows: 2,
    workerMs: 1500,
    workerFailures: 0,
  });
  expect(history).toHaveLength(3);
  expect(describeRefreshes(history)).toBe(
    '2 refreshes beside training, each 217 steps later in use (at most 231): 500 → 731, 1,500 → 1,703; ' +
      '4 failures of the worker; 1 given up',
  );
});

it('shortens a long history, and gives no text for an empty one', () => {
  const history = refreshHistory(Array.from({ length: 9 }, (_, i) => event(10 * i, 10 * i + 1)));
  expect(describeRefreshes(history)).toBe(
    '9 refreshes beside training, each 1 step later in use (at most 1): 0 → 1, 10 → 11, 20 → 21, …, 60 → 61, 70 → 71, 80 → 81',
  );
  expect(describeRefreshes([])).toBeUndefined();
  expect(describeRefreshes(refreshHistory([event(5, 9, { rows: 0, newerRows: 0, workerFailures: 3 })]))).toBe(
    '0 refreshes beside training; 3 failures of the worker; 1 given up',
  );
});
