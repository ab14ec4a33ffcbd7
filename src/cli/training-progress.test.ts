import { expect, it } from 'vitest';
import type { ReportedStep } from '../train/callbacks.ts';
import type { Io, StageOptions } from './io.ts';
import { TrainingProgress } from './training-progress.ts';

const report = (step: number, documents: number, metrics: Record<string, number> = {}): ReportedStep => ({
  step,
  totalSteps: 100,
  epoch: step / 10,
  learningRate: 0.01,
  gradientNorm: 1,
  spent: { queryEncodes: 32, documentEncodes: documents },
  trainingLoss: -0.5,
  interpretableLoss: 1.2345,
  metrics,
  ledger: {},
  throughput: { unit: 'texts', perSecond: 1234 },
  prepareMs: 0,
});

function setup() {
  const shown: { stage: string; done: number; options: StageOptions }[] = [];
  const io: Io = {
    signal: new AbortController().signal,
    async stream() {},
    log: () => {},
    progress: (stage, done, options = {}) => shown.push({ stage, done, options }),
    finishProgress: () => {},
  };
  const clock = { ms: 0 };
  return { progress: new TrainingProgress(io, { now: () => clock.ms }), shown, clock };
}

it('shows the loss, staleness where there is one, and mean encodes of a step', () => {
  const { progress, shown } = setup();
  const fields = () => shown.at(-1)!.options.fields;
  progress.step(report(1, 30));
  expect(fields()).toEqual({ loss: '1.23', 'encodes/step': '30', 'texts/s': '1.23k' });
  progress.step(report(2, 32, { staleness: 0.01234 }));
  expect(fields()).toEqual({ loss: '1.23', staleness: '0.012', 'encodes/step': '31', 'texts/s': '1.23k' });
  expect(shown.at(-1)).toMatchObject({ stage: 'train', done: 2, options: { total: 100, initial: 1 } });
  progress.begin('exhaustive, seed 2');
  progress.step(report(1, 10));
  expect(fields()).toMatchObject({ 'encodes/step': '10' });
  expect(shown.at(-1)!.stage).toBe('exhaustive, seed 2');
});

it('shows how far a refresh beside the steps has come, and how old its predecessor is', () => {
  const { progress, shown } = setup();
  const fields = () => shown.at(-1)!.options.fields;
  progress.step(report(1, 30, { refreshLagSteps: 12 }));
  expect(fields()).toMatchObject({ lag: 12 });
  expect(fields()).not.toHaveProperty('refresh');
  progress.background({ stage: 'refresh', done: 199, total: 200, unit: 'texts' });
  progress.step(report(2, 30, { refreshLagSteps: 13 }));
  expect(fields()).toMatchObject({ lag: 13, refresh: '99%' });
  progress.background({ stage: 'refresh', done: 200, total: 200, unit: 'texts' });
  progress.step(report(3, 30, { refreshLagSteps: 0 }));
  expect(fields()).toMatchObject({ lag: 0, refresh: '100%' });
});

it('shows what comes before the first step, and between steps only what takes long', () => {
  const { progress, shown, clock } = setup();
  const stages = () => shown.splice(0).map(({ stage }) => stage);
  progress.stage({ stage: 'fill the cache', done: 10, total: 100, unit: 'texts' });
  progress.step(report(1, 30));
  expect(stages()).toEqual(['fill the cache', 'train']);
  for (let step = 2; step < 5; step++) {
    for (clock.ms = 0; clock.ms < 1500; clock.ms += 500)
      progress.stage({ stage: 'refresh the cache', done: clock.ms / 15, total: 100, unit: 'texts' });
    progress.step(report(step, 30));
  }
  expect(stages()).toEqual(['train', 'train', 'train']);
  for (clock.ms = 0; clock.ms < 4000; clock.ms += 1000)
    progress.stage({ stage: 'refresh the cache', done: clock.ms / 40, total: 100, unit: 'texts' });
  expect(stages()).toEqual(['refresh the cache', 'refresh the cache']);
});

it('says of a stage what is counted', () => {
  const { progress, shown } = setup();
  progress.stage({ stage: 'mine', done: 10, total: 100, unit: 'queries' });
  expect(shown).toEqual([{ stage: 'mine', done: 10, options: { total: 100, unit: 'queries' } }]);
});
