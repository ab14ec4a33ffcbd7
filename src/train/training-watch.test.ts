import { expect, it } from 'vitest';
import { TrainingWatch } from './training-watch.ts';

const watch = (totalSteps: number, losses: readonly number[], gradientNorm = 1): string[] => {
  const notes: string[] = [];
  const watched = new TrainingWatch(totalSteps, (note) => notes.push(note));
  for (const [i, trainingLoss] of losses.entries()) watched.step({ step: i + 1, gradientNorm, trainingLoss });
  return notes;
};
const times = (n: number, loss: (i: number) => number): number[] =>
  Array.from({ length: n }, (_, i) => loss(i));

it('is silent while a loss moves, up or down', () => {
  expect(
    watch(
      1000,
      times(1000, (i) => 4 - i / 300),
    ),
  ).toEqual([]);
  expect(
    watch(
      1000,
      times(1000, (i) => 2 + Math.sin(i) / 100),
    ),
  ).toEqual([]);
});

it('notes once a loss that does not move for a tenth of the run', () => {
  expect(
    watch(
      1000,
      times(99, () => 3.4657),
    ),
  ).toEqual([]);
  const notes = watch(
    1000,
    times(1000, () => 3.4657),
  );
  expect(notes).toHaveLength(1);
  expect(notes[0]).toMatch(/^step 100: the loss has not moved from 3\.466 for 100 updates: look at lr/);
});

it('notes once a loss at its floor', () => {
  const notes = watch(
    1000,
    times(1000, (i) => 1e-7 * (i % 3)),
  );
  expect(notes).toHaveLength(1);
  expect(notes[0]).toMatch(/^step 100: the loss has been at its floor/);
});

it('watches at least 20 updates of a short run', () => {
  expect(
    watch(
      10,
      times(10, () => 1),
    ),
  ).toEqual([]);
  expect(
    watch(
      30,
      times(30, () => 1),
    ),
  ).toHaveLength(1);
});

it('notes once gradients that are all zero in three updates running', () => {
  const moving = times(50, (i) => i);
  expect(watch(50, moving.slice(0, 2), 0)).toEqual([]);
  const notes = watch(50, moving, 0);
  expect(notes).toHaveLength(1);
  expect(notes[0]).toMatch(/^step 3: all gradients of the last 3 updates are zero/);
  // A step whose loss scale was too large has no norm, and moves nothing by intention.
  expect(watch(50, moving, Number.NaN)).toEqual([]);
});

it('needs no listener', () => {
  expect(() =>
    new TrainingWatch(1, undefined).step({ step: 1, gradientNorm: 0, trainingLoss: 0 }),
  ).not.toThrow();
});
