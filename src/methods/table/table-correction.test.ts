import { afterEach, describe, expect, it } from 'vitest';
import { type ToyOptions, ToyRun } from '../../../test/toy-training.ts';
import { ScoreTable } from '../../cache/score-table.ts';
import { UsageError } from '../../util/errors.ts';
import type { Method, MethodContext } from '../contract/method.ts';
import { corrector } from '../corrector.ts';
import { exhaustive } from '../exhaustive.ts';
import type { MethodOptions } from '../options.ts';
import { TableCorrection } from './table-correction.ts';
import { tableOptions } from './table-options.ts';

const runs: ToyRun[] = [];
afterEach(async () => {
  for (const run of runs.splice(0)) await run.dispose();
});
async function begin(method: Method, options: Partial<MethodOptions> = {}, settings: ToyOptions = {}) {
  const run = await ToyRun.begin(method, { ...settings, options });
  runs.push(run);
  return run;
}
const weights = ({ context }: ToyRun) =>
  Object.entries(context.weights).map(([name, { data }]) => [name, [...(data as Float32Array)]] as const);

describe('a corrected table', () => {
  it('equals the stale table with the identity: same draws, same weights up to rounding', async () => {
    const plain = await begin(exhaustive, { refresh: 'never', loss: 'importance-corrected', samples: 2 });
    const same = await begin(corrector, { corrector: 'identity', teachingSamples: 0, samples: 2 });
    const [expected, found] = [await plain.train(6), await same.train(6)];
    for (const [i, { trainingLoss }] of found.entries())
      expect(trainingLoss).toBeCloseTo(expected[i]!.trainingLoss, 4);
    expect(same.spent().refreshEncodes).toBe(60);
    expect(same.spent().teachingEncodes).toBeUndefined();
  });

  it('gives negatives without embedding the corpus again, and is nearer to fresh embeddings than the stale table', async () => {
    const settings = { learningRate: 0.03 };
    const run = await begin(corrector, { samples: 2, teachingSamples: 16, correctorLr: 0.01 }, settings);
    await run.train(60);
    const probe = {
      queryRows: Int32Array.from({ length: 16 }, (_, i) => i),
      positiveRows: Int32Array.from({ length: 16 }, (_, i) => i),
    };
    const found = await run.running.diagnose!(probe);
    expect(found.klStale).toBeGreaterThan(0.01);
    expect(found.klCorrected).toBeLessThan(0.75 * found.klStale!);
    expect(found.stalenessCorrected).toBeLessThan(found.staleness!);
    expect(found.correctorBypassed).toBe(0);
    expect(found.errorMeanShift! + found.errorLinear! + found.errorRest!).toBeCloseTo(1, 4);
    expect(Math.abs(found.riskFresh! - found.riskStale!)).toBeLessThanOrEqual(found.riskGapBound!);
    const { refreshEncodes, teachingEncodes, correctionFlops } = run.spent();
    expect(refreshEncodes).toBe(60);
    expect(teachingEncodes).toBeGreaterThan(60 * 10);
    expect(correctionFlops).toBeGreaterThan(0);
  });

  it('estimates the partition function of all rows from a random part', async () => {
    const { context } = await begin(corrector, { teachingSamples: 0 });
    const table = await filledTable(context);
    const options = tableOptions({ ...context.options, correctedRows: 20 });
    const part = await TableCorrection.create(context, table, options);
    const q = new Float32Array(context.retriever.dimension).fill(0.5);
    const sumOf = (rows: Float32Array, count: number) => {
      let total = 0;
      for (let n = 0; n < count; n++) {
        let s = 0;
        for (let i = 0; i < q.length; i++) s += q[i]! * rows[n * q.length + i]!;
        total += Math.exp(2 * s);
      }
      return total;
    };
    const Z = sumOf(table.read(Array.from({ length: table.rows }, (_, i) => i)), table.rows);
    const seen = new Set<number>();
    let mean = 0;
    const draws = 200;
    for (let draw = 0; draw < draws; draw++) {
      await part.show(q, draw);
      expect(part.view!.filled).toBe(20);
      expect(part.rowsPerRow).toBe(3);
      for (const document of part.view!.documents) seen.add(document);
      mean += (3 * sumOf(part.view!.read(Array.from({ length: 20 }, (_, i) => i)), 20)) / draws;
    }
    expect(seen.size).toBe(table.rows);
    expect(mean / Z).toBeGreaterThan(0.95);
    expect(mean / Z).toBeLessThan(1.05);
    await part.dispose();
  });

  it('holds the nearest rows of the stale table where it is a shortlist', async () => {
    const { context } = await begin(corrector, { teachingSamples: 0 });
    const table = await filledTable(context);
    const options = tableOptions({
      ...context.options,
      correctedRows: 20,
      correctedFrom: 'shortlist' as const,
    });
    const part = await TableCorrection.create(context, table, options);
    const q = table.read([7]);
    await part.show(q, 0);
    const score = (slot: number) => table.read([slot]).reduce((sum, x, i) => sum + x * q[i]!, 0);
    const nearest = Array.from({ length: table.rows }, (_, slot) => slot)
      .sort((a, b) => score(b) - score(a))
      .slice(0, 10);
    for (const slot of nearest) expect(part.view!.documents).toContain(table.documents[slot]);
    expect(part.view!.filled).toBe(20);
    await part.dispose();
  });

  it('a corrector worse than none is reported and bypassed, until it is better again', async () => {
    const { context } = await begin(corrector, { teachingSamples: 0 });
    const notes: string[] = [];
    const told: MethodContext = { ...context, onNote: (note) => notes.push(note) };
    const table = await filledTable(context);
    const own = await TableCorrection.create(
      told,
      table,
      tableOptions({
        ...context.options,
        corrector: 'mean-shift',
      }),
    );
    const slots = Int32Array.from({ length: table.rows }, (_, i) => i);
    const D = table.dimension;
    const wrong = new Float32Array(table.rows * D);
    for (let n = 0; n < table.rows; n++) wrong[n * D] = 1;
    own.take(new Float32Array(D), [{ documents: table.documents.slice(), embeddings: wrong }]);
    await own.learn(1);
    await own.show(new Float32Array(D), 0);
    const moved = own.view!.read(slots);
    own.judge({ stale: 0.1, corrected: 0.2 }, 5);
    expect(own.bypassed).toBe(true);
    await own.show(new Float32Array(D), 1);
    const kept = own.view!.read(slots);
    const distance = (rows: Float32Array) =>
      Math.max(...rows.map((x, i) => Math.abs(x - table.read(slots)[i]!)));
    expect(distance(moved)).toBeGreaterThan(0.1);
    expect(distance(kept)).toBeLessThan(1e-5);
    const other = await TableCorrection.create(
      told,
      table,
      tableOptions({
        ...context.options,
        corrector: 'mean-shift',
      }),
    );
    await other.restore(own.state());
    expect(other.bypassed).toBe(true);
    own.judge({ stale: 0.2, corrected: 0.1 }, 10);
    expect(own.bypassed).toBe(false);
    expect(notes).toEqual([
      expect.stringMatching(
        /step 5: the corrector is worse than none \(KL 0\.200 against 0\.100\) and is bypassed/,
      ),
      expect.stringMatching(/step 10: the corrector is better than none again/),
    ]);
    await own.dispose();
    await other.dispose();
  });

  it('corrects rows as they are drawn where the table is searched by an index, and none while it is bypassed', async () => {
    const { context } = await begin(corrector, { teachingSamples: 0 });
    const table = await filledTable(context);
    const given = { ...context.options, corrector: 'mean-shift', refitEvery: 1, search: 'index' } as const;
    const own = await TableCorrection.create(context, table, tableOptions(given));
    const D = table.dimension;
    const embeddings = table.read([...Array(table.rows).keys()]).map((x, i) => x + (i % D === 0 ? 0.5 : 0));
    own.take(new Float32Array(D), [{ documents: table.documents.slice(), embeddings }]);
    await own.learn(1);
    await own.show(new Float32Array(D), 0);
    expect(own.view).toBeUndefined();
    expect(own.rowsPerRow).toBe(1);
    const slots = Int32Array.of(3, 40);
    const { correctionFlops: before = 0 } = context.ledger.totals;
    const rows = await own.ofDrawn!.correct(slots);
    expect(rows).toEqual(await own.corrected(slots));
    expect(Math.abs(rows[0]! - table.read([3])[0]!)).toBeGreaterThan(0.05);
    expect(context.ledger.totals.correctionFlops! - before).toBe(2 * D);
    own.judge({ stale: 0.1, corrected: 0.2 }, 5);
    expect(own.ofDrawn).toBeUndefined();
    await own.dispose();
  });

  it('gives about the same losses by an index, and continues from a checkpoint to the same bytes', async () => {
    const settings = { learningRate: 0.03 };
    const options = { samples: 2, teachingSamples: 16, correctorLr: 0.01, refresh: 'write-back' };
    const exact = await begin(corrector, options, settings);
    const run = await begin(corrector, { ...options, search: 'index' }, settings);
    const expected = await exact.train(30);
    const first = await run.train(20);
    const resumed = await ToyRun.resume(
      corrector,
      { ...settings, options: { ...options, search: 'index' } },
      await run.save(),
    );
    runs.push(resumed);
    const rest = await run.train(10);
    expect((await resumed.train(10)).map(({ trainingLoss }) => trainingLoss)).toEqual(
      rest.map(({ trainingLoss }) => trainingLoss),
    );
    expect(resumed.bytes()).toEqual(run.bytes());
    const sum = (reports: readonly { trainingLoss: number }[]) =>
      reports.reduce((total, { trainingLoss }) => total + trainingLoss, 0);
    expect(Math.abs((sum(first) + sum(rest)) / sum(expected) - 1)).toBeLessThan(0.15);
    for (const { metrics } of rest) {
      expect(metrics.correctedRatio).toBeGreaterThan(0);
      expect(metrics.correctedRatio).toBeLessThanOrEqual(1);
      expect(metrics.missedProbability).toBeLessThan(0.05);
    }
    expect(expected[0]!.metrics.correctedRatio).toBeUndefined();
  });

  it('becomes the identity again after a full refresh', async () => {
    const run = await begin(corrector, {
      corrector: 'mean-shift',
      refitEvery: 1,
      refresh: 'every:3',
      teachingSamples: 8,
    });
    const shift = () =>
      Object.entries(run.running.state())
        .filter(([name]) => name.startsWith('corrector/'))
        .flatMap(([, { data }]) => [...(data as Float32Array)].map(Number))
        .reduce((sum, x) => sum + Math.abs(x), 0);
    const atFirst = shift();
    await run.train(2);
    expect(shift()).not.toBe(atFirst);
    await run.train(1);
    expect(shift()).toBe(atFirst);
  });

  it('refuses encoders that do not normalise, and shortlists where a partition function is needed', async () => {
    await expect(begin(corrector, {}, { model: { normalize: false } })).rejects.toThrow(/unit norm/);
    await expect(begin(corrector, { correctedRows: 10, correctedFrom: 'shortlist' })).rejects.toThrow(
      UsageError,
    );
    await expect(begin(corrector, { loss: 'truncated', correctedFrom: 'shortlist' })).rejects.toThrow(
      /correctedRows/,
    );
  });
});

describe('refresh by evidence', () => {
  it('refreshes at every measurement with a threshold near 0', async () => {
    const auto = await begin(exhaustive, { refresh: 'auto:kl:0.0000001:3' });
    const every = await begin(exhaustive, { refresh: 'every:3' });
    const reports = await auto.train(7);
    await every.train(7);
    expect(weights(auto)).toEqual(weights(every));
    expect(reports.map(({ metrics }) => metrics.autoRefreshed)).toEqual([
      undefined,
      undefined,
      1,
      undefined,
      undefined,
      1,
      undefined,
    ]);
    expect(auto.spent().refreshEncodes).toBe(every.spent().refreshEncodes);
    expect(auto.spent().probeEncodes).toBe(2 * 60);
  });

  it('does not refresh below the threshold, and measures more as the encoder moves', async () => {
    const auto = await begin(exhaustive, { refresh: 'auto:kl:1000:2' }, { learningRate: 0.03 });
    const never = await begin(exhaustive, { refresh: 'never' }, { learningRate: 0.03 });
    const reports = await auto.train(12);
    await never.train(12);
    expect(weights(auto)).toEqual(weights(never));
    const found = reports.flatMap(({ metrics }) => metrics.probeKlStale ?? []);
    expect(found).toHaveLength(6);
    expect(found.at(-1)).toBeGreaterThan(2 * found[0]!);
  });

  it('acts on the effective sample size', async () => {
    const options = { loss: 'importance-corrected', samples: 4 } as const;
    const eager = await begin(exhaustive, { ...options, refresh: 'auto:ess:1:2' }, { learningRate: 0.03 });
    const reports = await eager.train(4);
    expect(reports.map(({ metrics }) => metrics.autoRefreshed)).toEqual([undefined, 1, undefined, 1]);
    const lazy = await begin(exhaustive, { ...options, refresh: 'auto:ess:0.05:2' });
    const calm = await lazy.train(4);
    expect(calm.map(({ metrics }) => metrics.autoRefreshed)).toEqual([undefined, 0, undefined, 0]);
    expect(calm[1]!.metrics.probeSampleRatio).toBeGreaterThan(0.5);
    await expect(begin(exhaustive, { refresh: 'auto:ess:0.5' })).rejects.toThrow(/several draws/);
  });
});

describe('uniform steps', () => {
  it('draw uniformly for the given number of steps', async () => {
    const run = await begin(corrector, { uniformSteps: 3, samples: 2, teachingSamples: 4 });
    const reports = await run.train(5);
    // Only the importance-corrected form has a sample size.
    expect(reports.map(({ metrics }) => 'effectiveSampleSize' in metrics)).toEqual([
      false,
      false,
      false,
      true,
      true,
    ]);
  });
});

/** All 60 documents, embedded by the run's model. */
async function filledTable(context: MethodContext): Promise<ScoreTable> {
  const { retriever, documents, compute } = context;
  const table = new ScoreTable({
    rows: documents.rows,
    dimension: retriever.dimension,
    documents: documents.rows,
  });
  const rows = Uint32Array.from({ length: documents.rows }, (_, i) => i);
  table.fill(
    Int32Array.from(rows),
    await retriever.encodeTokens('document', documents, { ...compute, rows }),
  );
  return table;
}
