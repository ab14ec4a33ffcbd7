import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Comparison } from '../src/compare/comparison.ts';
import { curvesOf } from '../src/compare/curves.ts';
import { thisMachine } from '../src/compare/machine.ts';
import type { RunEvaluation, RunResult } from '../src/compare/run-result.ts';
import type { Trainer } from '../src/compare/trainer.ts';
import { InterruptedError } from '../src/train/callbacks.ts';
import { EventLog, type LoggedEvent } from '../src/train/event-log.ts';
import { resolveSettings, type TrainSettings } from '../src/train/settings.ts';
import { UndriftError } from '../src/util/errors.ts';
import { rngKey, uniform } from '../src/util/rng.ts';

/** Trainer of a fake comparison. `calls` lists its actions in order: `train a-1 from 0`, `evaluate a-1`; `baselines` counts the measurements of BM25,
 * `starts` those of given models. */
export type FakeTrainer = Trainer & {
  calls: string[];
  baselines: number;
  starts: number;
  fingerprint: string;
};

const QUERIES = 40;

/**
 * Makes a trainer that writes the files of a training run without training. The quality of a model is a
 * function of its settings: temperature 0.05 is the best, and the seed adds a little noise. A temperature
 * above 100 fails, like training that diverges.
 */
export function fakeTrainer(): FakeTrainer {
  const trainer: FakeTrainer = {
    calls: [],
    baselines: 0,
    starts: 0,
    fingerprint: 'f1',
    async describeData(path) {
      return {
        name: path.split('/').at(-1)!,
        fingerprint: trainer.fingerprint,
        documents: 123,
        splits: ['train', 'dev', 'test'],
      };
    },
    async train({ resume = false, overwrite = false, ...options }, callbacks) {
      const settings = resolveSettings(options);
      const { out } = settings;
      const checkpoint = join(out, 'checkpoint', 'state.json');
      const totalSteps = settings.steps ?? 10;
      let step = 0;
      if (resume) step = JSON.parse(await readFile(checkpoint, 'utf8')).step;
      else if (existsSync(out) && !overwrite) throw new UndriftError(`${out} already holds a run`);
      else await rm(out, { recursive: true, force: true });
      trainer.calls.push(`train ${out.split('/').at(-1)} from ${step}`);
      await mkdir(join(out, 'model'), { recursive: true });
      await writeFile(
        join(out, 'settings.json'),
        JSON.stringify({ fingerprint: trainer.fingerprint, settings }),
      );
      await writeFile(join(out, 'model', 'settings.json'), JSON.stringify(settings));
      const log = await EventLog.open(out, resume ? { resumeStep: step } : {});
      const save = async () => {
        await mkdir(join(out, 'checkpoint'), { recursive: true });
        await writeFile(checkpoint, JSON.stringify({ step }));
      };
      try {
        while (step < totalSteps) {
          step++;
          if (settings.temperature > 100) throw new UndriftError(`step ${step}: the loss is NaN`);
          const values = { trainingLoss: 3 / step, interpretableLoss: 3 / step, staleness: 0.01 * step };
          log.write({ step, epoch: step / 10, kind: 'train', values });
          callbacks.onStep?.({
            step,
            totalSteps,
            epoch: step / 10,
            learningRate: 0.1,
            gradientNorm: 1,
            spent: { queryEncodes: 8, documentEncodes: 8 },
            throughput: { unit: 'texts', perSecond: 100 },
            prepareMs: 0,
            trainingLoss: 3 / step,
            interpretableLoss: 3 / step,
            metrics: {},
            ledger: settings.temperature < 1 ? { documentEncodes: encodes(step) } : {},
          });
          if (callbacks.signal?.aborted && step < totalSteps) {
            await save();
            throw new InterruptedError(`stopped after step ${step} of ${totalSteps}; everything is saved`);
          }
        }
        const dev = { 'ndcg@10': quality(settings) };
        log.write({ step, epoch: step / 10, kind: 'eval', values: dev });
        await save();
      } finally {
        log.close();
      }
      return {
        model: join(out, 'model'),
        steps: step,
        stoppedEarly: false,
        best: { step, value: quality(settings) },
        baseline: null,
        embeddingSpace: 'e1',
        seconds: 1,
        settings,
        ledger: { documentEncodes: encodes(step), cacheBytes: 1024 },
        refreshes: [],
        splits: ['dev', 'test'],
      };
    },
    async baseline(_data, { metrics }) {
      trainer.baselines++;
      return Object.fromEntries(metrics.map((metric) => [metric, 0.5]));
    },
    async zeroShot({ model = 'static' }, { metrics }) {
      if (model === 'static') return undefined;
      trainer.starts++;
      return Object.fromEntries(metrics.map((metric) => [metric, 0.25]));
    },
    async evaluate(model, _data, { metrics, queries }) {
      trainer.calls.push(`evaluate ${model.split('/').at(-2)}`);
      const settings: TrainSettings = JSON.parse(await readFile(join(model, 'settings.json'), 'utf8'));
      return fakeEvaluation(quality(settings), settings.seed, metrics, queries ?? QUERIES);
    },
  };
  return trainer;
}

/** Returns the number of document encodes so far: 100 before the first step, 8 with each step. */
const encodes = (step: number): number => 100 + 8 * step;

const quality = ({ temperature, seed }: TrainSettings): number =>
  0.7 - Math.abs(temperature - 0.05) + 0.01 * (seed % 3);

/** Makes values of single queries around a mean. */
export function fakeEvaluation(
  mean: number,
  seed: number,
  metrics: readonly string[],
  queries: number,
): RunEvaluation {
  const noise = new Float32Array(queries);
  uniform(rngKey(seed, 0, 'test/fake-evaluation'), noise);
  const values = [...noise].map((u) => mean + 0.2 * (u - 0.5));
  const average = values.reduce((a, b) => a + b, 0) / queries;
  return {
    metrics: Object.fromEntries(metrics.map((metric) => [metric, average])),
    queryIds: values.map((_, i) => `q${i}`),
    perQuery: Object.fromEntries(metrics.map((metric) => [metric, values])),
  };
}

/**
 * Makes a comparison of nine methods with three seeds, or of the first ones, and plausible results of its runs, for inspecting
 * reports. Tests of significance between all of them take four seconds.
 */
export function sampleComparison(methods = 9): { comparison: Comparison; runs: RunResult[] } {
  const names = [
    'in-batch',
    'grad-cache',
    'bm25-negatives',
    'hard-negatives',
    'momentum-queue',
    'snapshot',
    'async-index',
    'negative-cache',
    'exhaustive',
  ].slice(0, methods);
  const evaluate = { split: 'test', metrics: ['ndcg@10', 'mrr@10', 'recall@100'], queries: null };
  const arms = names.map((name) => ({ name, method: name, written: {}, options: {} }));
  const comparison: Comparison = {
    name: 'Ways to get <negatives>',
    data: 'data/api-docs',
    out: 'runs/sample',
    budget: { kind: 'steps', amount: 1000 },
    seeds: [1, 2, 3],
    arms,
    evaluate,
  };
  const runs = comparison.seeds.flatMap((seed) =>
    names.map((name, i): RunResult => {
      const best = 0.62 + 0.012 * i - (i === 8 ? 0.008 : 0) + 0.006 * (seed - 2) * (i % 2 ? 1 : -1);
      const {
        data: _,
        out: __,
        ...settings
      } = resolveSettings({ data: '', out: '', method: name, steps: 1000, seed });
      const pace = (1 + 0.15 * i) * (i === 8 ? 12 : 1);
      return {
        arm: name,
        seed,
        settings,
        dataFingerprint: 'f1',
        plan: evaluate,
        training: {
          steps: 1000,
          stoppedEarly: false,
          best: { step: 1000, value: best },
          embeddingSpace: `space-${i}-${seed}`,
          wallMs: 61_000 * pace,
          ledger: {
            documentEncodes: Math.round(16_000 * pace * (1 + 0.01 * seed)),
            positiveEncodes: 16_000,
            refreshEncodes: Math.round(16_000 * (pace - 1)),
            scoringFlops: 2e9 * i,
            cacheBytes: 1_000_000 * i,
            ...(i > 4 && { refreshMs: 3000 * i }),
          },
          curves: curvesOf(sampleEvents(i, seed, best, pace)),
          machine: thisMachine(),
          finished: '2026-01-02T03:04:05.678Z',
        },
        evaluation: fakeEvaluation(best, seed * 100 + i, evaluate.metrics, 300),
      };
    }),
  );
  return { comparison, runs };
}

function sampleEvents(arm: number, seed: number, best: number, pace: number): LoggedEvent[] {
  const noise = new Float32Array(1000);
  uniform(rngKey(seed, arm, 'test/sample-events'), noise);
  const events: LoggedEvent[] = [];
  for (let step = 10; step <= 1000; step += 10) {
    const at = { step, epoch: step / 500, wallMs: Math.round(61 * step * pace) };
    const grown = 1 - Math.exp(-step / 250);
    const loss = 2.6 - 1.9 * grown + 0.3 * noise[step - 1]!;
    const values = {
      trainingLoss: loss * (1 + 0.1 * arm),
      interpretableLoss: loss,
      learningRate: 0.01 * (1 - step / 1000),
      gradientNorm: 1 + noise[step - 1]!,
      ...(arm >= 4 && { staleness: (0.05 * arm * noise[step - 2]! + 0.1 * arm) * Math.exp(-step / 500) }),
      ...(arm >= 4 && { filledRatio: 1, 'ageRatio/0': grown, 'ageRatio/1': 1 - grown }),
      documentEncodes: 16,
      ...(arm === 7 && { maskedRatio: 0.02 * noise[step - 3]! }),
    };
    events.push({ ...at, kind: 'train', values });
    const documentEncodes = Math.round(16 * step * pace * (1 + 0.01 * seed));
    events.push({ ...at, kind: 'ledger', values: { documentEncodes, stepMs: at.wallMs } });
    if (step % 100 === 0) {
      events.push({
        ...at,
        kind: 'eval',
        values: { 'ndcg@10': best * (0.6 + 0.4 * grown) + 0.01 * noise[step - 4]! },
      });
    }
  }
  return events;
}
