import { afterEach, describe, expect, it } from 'vitest';
import { type ToyOptions, ToyRun } from '../../../test/toy-training.ts';
import { corrector } from '../corrector.ts';
import { negativeCache } from '../negative-cache.ts';

const runs: ToyRun[] = [];
afterEach(async () => {
  for (const run of runs.splice(0)) await run.dispose();
});
const kept = (run: ToyRun): ToyRun => {
  runs.push(run);
  return run;
};

/** A table just large enough to be indexed. */
const settings = (options: ToyOptions['options'] = {}): ToyOptions => ({
  documents: 4100,
  options: { cacheSize: 0, refresh: 'write-back,fraction:0.01', search: 'index', ...options },
});

/** State of a run, without what diagnoses compare with, and the names of that. */
function parts(run: ToyRun): { trained: Record<string, string>; diagnosis: string[] } {
  const all = Object.entries(run.bytes());
  const isDiagnosis = ([name]: [string, string]) => name.startsWith('diagnosis/');
  return {
    trained: Object.fromEntries(all.filter((entry) => !isDiagnosis(entry))),
    diagnosis: all.filter(isDiagnosis).map(([name]) => name),
  };
}

describe('training with draws by an index', () => {
  it('continues from a checkpoint to the same bytes, diagnosed or not', async () => {
    const run = kept(await ToyRun.begin(negativeCache, settings()));
    await run.train(3);
    const checkpoint = await run.save();
    await run.running.diagnose?.();
    const reports = await run.train(3);
    const resumed = kept(await ToyRun.resume(negativeCache, settings(), checkpoint));
    const again = await resumed.train(3);
    expect(again.map(({ trainingLoss }) => trainingLoss)).toEqual(
      reports.map(({ trainingLoss }) => trainingLoss),
    );
    const { trained: expected, diagnosis } = parts(run);
    expect(diagnosis.length).toBeGreaterThan(0);
    expect(Object.keys(expected)).toContain('index/cellOf');
    expect(parts(resumed)).toEqual({ trained: expected, diagnosis: [] });
    const { diagnosisEncodes: _, ...spent } = run.spent();
    expect(resumed.spent()).toEqual(spent);
    for (const { metrics } of again) {
      expect(metrics.scoredRatio).toBeGreaterThan(0);
      expect(metrics.missedProbability).toBeLessThan(0.05);
    }
  }, 60_000);

  it('draws other negatives than scoring all rows does, at a similar loss', async () => {
    const losses: number[] = [];
    const bytes: unknown[] = [];
    for (const search of ['exact', 'index'] as const) {
      const run = kept(await ToyRun.begin(negativeCache, settings({ search, samples: 4 })));
      const reports = await run.train(6);
      losses.push(reports.reduce((sum, { interpretableLoss = 0 }) => sum + interpretableLoss, 0));
      bytes.push(run.bytes());
      expect(
        reports.every(({ metrics }) => (metrics.scoredRatio === undefined) === (search === 'exact')),
      ).toBe(true);
    }
    expect(bytes[0]).not.toEqual(bytes[1]);
    expect(Math.abs(losses[1]! / losses[0]! - 1)).toBeLessThan(0.1);
  }, 60_000);

  it('corrects a small part of a large table, and continues from a checkpoint to the same bytes', async () => {
    const own = settings({ samples: 2, teachingSamples: 8, loss: 'importance-corrected' });
    const run = kept(await ToyRun.begin(corrector, own));
    await run.train(2);
    const resumed = kept(await ToyRun.resume(corrector, own, await run.save()));
    const reports = await run.train(2);
    const again = await resumed.train(2);
    expect(again.map(({ trainingLoss }) => trainingLoss)).toEqual(
      reports.map(({ trainingLoss }) => trainingLoss),
    );
    expect(resumed.bytes()).toEqual(run.bytes());
    expect(Object.keys(run.bytes())).toContain('index/cellOf');
    for (const { metrics } of again) {
      expect(metrics.correctedRatio).toBeGreaterThan(0);
      // 64 candidates for each of 8 queries.
      expect(metrics.correctedRatio).toBeLessThanOrEqual(512 / 4100);
      expect(metrics.missedProbability).toBeLessThan(0.05);
    }
  }, 60_000);

  it('of several draws a query', async () => {
    const run = kept(
      await ToyRun.begin(negativeCache, settings({ loss: 'truncated', samples: 5, uniformSamples: 3 })),
    );
    for (const { metrics } of await run.train(2)) expect(metrics.drawnRatio).toBe(1);
  }, 60_000);
});
