import { afterEach, describe, expect, it } from 'vitest';
import { rightAnswers, type ToyOptions, ToyRun } from '../../../test/toy-training.ts';
import { maskKnownPositives } from '../../cache/masks.ts';
import { sampleSlots } from '../../cache/samplers.ts';
import type { ScoreTable } from '../../cache/score-table.ts';
import { TableScores } from '../../cache/table-scores.ts';
import type { StepResult } from '../../objective/objective.ts';
import { NONE } from '../../util/vector-rows.ts';
import { LOSS_FORMS, type LossForm } from '../contract/loss-names.ts';
import type { Method, TrainingBatch } from '../contract/method.ts';
import { exhaustive } from '../exhaustive.ts';
import { gradCache } from '../grad-cache.ts';
import { inBatch } from '../in-batch.ts';
import { momentumQueue } from '../momentum-queue.ts';
import { negativeCache } from '../negative-cache.ts';
import type { MethodOptions } from '../options.ts';
import { snapshot } from '../snapshot.ts';
import type { TableMethod } from './table-method.ts';
import { tableOptions } from './table-options.ts';

/*
 * Whole steps of methods over a score table. The pitfalls P1-P12 that two earlier implementations of negative caches have, and the
 * properties U1-U12 that one must have, and where they are tested:
 *
 *   P1   empty rows are no negatives         here; score-table, table-distribution
 *   P2   own positive in the cache           here; masks, table-distribution
 *   P3   copies of it                        here; masks
 *   P4   two queries draw one row            here; score-table
 *   P5   sizes that do not divide            here; score-table
 *   P6   precision of the draws              table-distribution
 *   P7   cache lost at resumption            methods (every method); score-table
 *   P8   write-back that writes nothing      here
 *   P9   ties go to the lowest row           score-table, table-scores
 *   P10  features of another query           here
 *   P11  staleness relative to the norm      diagnostics
 *   P12  dropout in what is written back     here
 *
 *   U1   golden fixtures                     here (a whole step); score-table, losses/expectation, diagnostics
 *   U2, U3, U6  expected gradient, its error, partition function   cache/sampled-gradient
 *   U4   two-stage draws                     table-distribution
 *   U5   bounds of divergences               divergence
 *   U7   ages and eviction                   score-table
 *   U8   gradient caching                    grad-cache
 *   U9   right answers and empty rows are never drawn              table-distribution; here
 *   U10  resumption                          methods (every method); score-table
 *   U11  one temperature everywhere          here; momentum-queue
 *   U12  one commit an update                here; momentum-queue
 */

const runs: ToyRun[] = [];
afterEach(async () => {
  for (const run of runs.splice(0)) await run.dispose();
});
async function begin(method: Method, options: Partial<MethodOptions> = {}, settings: ToyOptions = {}) {
  const run = await ToyRun.begin(method, { ...settings, options });
  runs.push(run);
  return run;
}

const tableOf = ({ running }: ToyRun): ScoreTable => (running as TableMethod).table;
const filled = (table: ScoreTable) => [...table.documents].filter((document) => document !== NONE);

/** Queries with documents of the same numbers, or others, as their positives. */
const batchOf = (queries: number[], documents = queries): TrainingBatch => ({
  queryRows: Int32Array.from(queries),
  positiveRows: Int32Array.from(documents),
  negativeRows: new Int32Array(0),
});

/** Runs a step and its update on a given batch. */
async function stepWith(
  run: ToyRun,
  batch: TrainingBatch,
  step: number,
  draw = step - 1,
): Promise<StepResult> {
  const result = await run.running.step(batch, draw);
  await run.learner.apply(result.gradients, { learningRate: 0.01, weightDecay: 0, maxGradientNorm: 0 });
  await run.running.updated(step);
  return result;
}

const embed = ({ context }: ToyRun, side: 'query' | 'document', rows: Iterable<number>) =>
  context.retriever.encodeTokens(side, side === 'query' ? context.queries : context.documents, {
    ...context.compute,
    rows: Uint32Array.from(rows),
  });

/** Slots that a step will draw, by the same key: i32[B, k]. */
async function drawsOf(run: ToyRun, batch: TrainingBatch, draw: number): Promise<Int32Array> {
  const { context } = run;
  const { samples, loss } = tableOptions(context.options);
  const source = new TableScores(tableOf(run), context.compute);
  const { slots } = await sampleSlots(
    source,
    { kind: 'softmax', k: samples, replacement: loss === 'expectation' || loss === 'importance-corrected' },
    {
      queries: await embed(run, 'query', batch.queryRows),
      inverseTemperature: 1 / context.temperature.value,
      masked: maskKnownPositives(tableOf(run), batch.queryRows, {
        positives: (query) => Int32Array.from(rightAnswers(query)),
      }),
    },
    { seed: context.seed, draw, purpose: 'negatives' },
  );
  await source.dispose();
  return slots;
}

/** Training and interpretable loss of a step by their definitions, in double precision. */
async function expectedLosses(run: ToyRun, batch: TrainingBatch, draw: number) {
  const { context } = run;
  const table = tableOf(run);
  const D = table.dimension;
  const loss = context.options.loss as LossForm;
  const slots = await drawsOf(run, batch, draw);
  const k = slots.length / batch.queryRows.length;
  const q = await embed(run, 'query', batch.queryRows);
  const all = await embed(
    run,
    'document',
    Array.from({ length: context.documents.rows }, (_, i) => i),
  );
  const dot = (b: number, row: Float32Array) =>
    row.reduce((sum, x, i) => sum + x * q[b * D + i]!, 0) / context.temperature.value;
  const fresh = (b: number, document: number) => dot(b, all.subarray(document * D, (document + 1) * D));
  const stale = (b: number, slot: number) => dot(b, table.read([slot]));
  const candidates = new Set<number>(batch.positiveRows);
  for (const slot of slots) if (slot !== NONE) candidates.add(table.documents[slot]!);

  let [training, interpretable] = [0, 0];
  for (const [b, queryRow] of batch.queryRows.entries()) {
    const right = new Set(rightAnswers(queryRow));
    const positive = fresh(b, batch.positiveRows[b]!);
    const own = [...slots.subarray(b * k, (b + 1) * k)].filter((slot) => slot !== NONE);
    for (const slot of own) expect(right).not.toContain(table.documents[slot]);
    const scores = own.map((slot) => fresh(b, table.documents[slot]!));
    const mean = (values: number[]) => values.reduce((sum, x) => sum + x, 0) / Math.max(1, values.length);
    let Z = 0;
    for (const [slot, document] of table.documents.entries())
      if (document !== NONE && !right.has(document)) Z += Math.exp(stale(b, slot));
    const negativeRatio = Z / (Z + Math.exp(positive));
    const softplus = (x: number) => Math.log1p(Math.exp(x));
    const value = {
      expectation: () => negativeRatio * (own.length > 0 ? mean(scores) - positive : 0),
      'importance-corrected': () =>
        Math.log(Math.exp(positive) + Z * mean(own.map((slot, i) => Math.exp(scores[i]! - stale(b, slot))))) -
        positive,
      pairwise: () => mean(scores.map((s) => softplus(s - positive))),
      truncated: () => {
        let sum = Math.exp(positive);
        for (const document of candidates) if (!right.has(document)) sum += Math.exp(fresh(b, document));
        return Math.log(sum) - positive;
      },
    }[loss]();
    training += value / batch.queryRows.length;
    interpretable += (loss === 'expectation' ? -Math.log1p(-negativeRatio) : value) / batch.queryRows.length;
  }
  return { training, interpretable };
}

describe.each(LOSS_FORMS)('the %s loss of a whole step', (loss) => {
  it.each([
    ['a cache that starts empty (P1)', { prefill: false, cacheSize: 20, refresh: 'write-back,stream' }, 0.1],
    ['a stale corpus with right answers and copies in it (P2, P3)', { refresh: 'never' }, 0.05],
    ['another temperature (U11)', { refresh: 'write-back' }, 0.5],
    ['several draws, each query its own (P10)', { samples: 5, refresh: 'write-back' }, 0.1],
    ['half precision', { cacheStorage: 'f16', samples: 2, refresh: 'write-back' }, 0.1],
    ['sizes that do not divide (P5)', { cacheSize: 13, samples: 3, refresh: 'write-back,stream' }, 0.1],
    ['more rows than documents', { cacheSize: 1000, refresh: 'every:2' }, 0.1],
    ['more draws than rows', { cacheSize: 11, samples: 20, refresh: 'fraction:0.3' }, 0.1],
  ] as const)('is what its formula says: %s', async (_, options, initial) => {
    const run = await begin(
      exhaustive,
      { ...options, loss },
      { temperature: { initial, learned: true }, learningRate: 0.03 },
    );
    for (let draw = 0; draw < 5; draw++) {
      // Query 2 has two right answers, documents 0 and 1 have copies.
      const batch = draw === 3 ? batchOf([0, 1, 2, 20, 21, 22, 23, 24]) : run.batches.batch(draw);
      const expected = await expectedLosses(run, batch, draw);
      const result = await stepWith(run, batch, draw + 1);
      const digits = tableOf(run).storage === 'f16' ? 3 : 4;
      expect(result.trainingLoss, `step ${draw + 1}`).toBeCloseTo(expected.training, digits);
      expect(result.interpretableLoss, `step ${draw + 1}`).toBeCloseTo(expected.interpretable, digits);
    }
  });
});

describe('the first steps of an empty cache (P1)', () => {
  it.each(LOSS_FORMS)('learn nothing from empty rows: %s', async (loss) => {
    const run = await begin(negativeCache, { prefill: false, cacheSize: 40, loss });
    const [first, second] = await run.train(2);
    expect(first!.metrics.drawnRatio).toBe(0);
    // The truncated form has the batch as negatives; the other forms have none.
    if (loss !== 'truncated') {
      expect(first!.trainingLoss).toBe(0);
      expect(first!.interpretableLoss).toBe(0);
      expect(first!.gradientNorm).toBe(0);
    }
    expect(second!.metrics.drawnRatio).toBe(1);
    expect(second!.trainingLoss).not.toBe(0);
    expect(filled(tableOf(run))).toEqual([0, 1].flatMap((draw) => [...run.batches.batch(draw).positiveRows]));
  });
});

describe('one step of a method (U1)', () => {
  // google-research/negative_cache, handlers_test.py: one row refreshed, one document new, four rows.
  // At a high temperature every row is drawn now and then.
  const settings = { temperature: { initial: 2 }, batchSize: 1 };
  const start = async (options: Partial<MethodOptions>) => {
    const run = await begin(negativeCache, { cacheSize: 4, ...options }, settings);
    const absent = [30, 31, 32, 33, 34].find((document) => tableOf(run).slotOf(document) === NONE)!;
    return { run, table: tableOf(run), batch: batchOf([absent]) };
  };
  /** Number of a batch for which a certain row is drawn: the same in every run that starts like this one. */
  const drawFor = async (slot: number, options: Partial<MethodOptions> = {}): Promise<number> => {
    const { run, batch } = await start(options);
    for (let draw = 0; draw < 100; draw++) if ((await drawsOf(run, batch, draw))[0] === slot) return draw;
    throw new Error(`row ${slot} is never drawn`);
  };

  it.each([0, 1, 2, 3])(
    'row %d was drawn: it is young again, and the new document goes to the next oldest row',
    async (drawn) => {
      const draw = await drawFor(drawn);
      const { run, table, batch } = await start({});
      const before = [...table.documents];
      await stepWith(run, batch, 1, draw);
      const slot = drawn === 0 ? 1 : 0;
      expect([...table.documents]).toEqual(before.with(slot, batch.positiveRows[0]!));
      expect([...table.ages]).toEqual([1, 1, 1, 1].map((age, i) => (i === slot || i === drawn ? 0 : age)));
    },
  );

  it('with fifo a drawn row keeps its age, and may be evicted', async () => {
    const draw = await drawFor(0, { eviction: 'fifo' });
    const { run, table, batch } = await start({ eviction: 'fifo' });
    await stepWith(run, batch, 1, draw);
    expect(table.documents[0]).toBe(batch.positiveRows[0]);
    expect([...table.ages]).toEqual([0, 1, 1, 1]);
  });

  it('wraps around when the batch does not divide the cache (P5)', async () => {
    const options = { cacheSize: 3, prefill: false, refresh: 'stream' };
    const run = await begin(negativeCache, options, { batchSize: 2 });
    await stepWith(run, batchOf([10, 11]), 1);
    await stepWith(run, batchOf([12, 13]), 2);
    expect([...tableOf(run).documents]).toEqual([13, 11, 12]);
    expect([...tableOf(run).ages]).toEqual([0, 1, 0]);
  });
});

describe('write-back', () => {
  it('a row that two queries draw is embedded once and written once (P4)', async () => {
    const run = await begin(negativeCache, { cacheSize: 1, refresh: 'write-back' });
    const table = tableOf(run);
    const [document] = table.documents;
    const queries = [20, 21, 22, 23].filter((query) => query !== document);
    const before = run.spent();
    const expected = await embed(run, 'document', [document!]);
    expect([...(await drawsOf(run, batchOf(queries), 0))]).toEqual(queries.map(() => 0));
    await stepWith(run, batchOf(queries), 1);
    expect(run.spent().negativeEncodes! - (before.negativeEncodes ?? 0)).toBe(1);
    expect(table.versions[0]).toBe(1);
    expect(distance(table.read([0]), expected)).toBeLessThan(1e-5);
  });

  it('writes embeddings of the step to the rows of their documents, and nothing elsewhere (P8)', async () => {
    const run = await begin(exhaustive, { refresh: 'write-back', samples: 2 });
    const table = tableOf(run);
    for (let draw = 0; draw < 3; draw++) {
      const batch = run.batches.batch(draw);
      const drawn = await drawsOf(run, batch, draw);
      const written = new Set([...batch.positiveRows, ...[...drawn].map((slot) => table.documents[slot]!)]);
      const before = table.read([...table.documents.keys()]);
      const fresh = await embed(run, 'document', table.documents);
      await stepWith(run, batch, draw + 1);
      const D = table.dimension;
      for (const [slot, document] of table.documents.entries()) {
        const source = written.has(document) ? fresh : before;
        const row = source.subarray(slot * D, (slot + 1) * D);
        expect(distance(table.read([slot]), row), `document ${document}`).toBeLessThan(1e-5);
        expect(table.versions[slot] === draw + 1).toBe(written.has(document));
      }
      // The optimizer has moved the weights since: what is written is of this step, not of the next.
      expect(distance(await embed(run, 'document', table.documents), fresh)).toBeGreaterThan(1e-3);
    }
  });

  it('has the dropout of the step, or none on request (P12)', async () => {
    const far: number[] = [];
    for (const writeBackWithoutDropout of [false, true]) {
      const run = await begin(
        exhaustive,
        { refresh: 'write-back', writeBackWithoutDropout, samples: 2 },
        { model: { kind: 'transformer' }, dropoutRatio: 0.3 },
      );
      const table = tableOf(run);
      const before = run.spent();
      const fresh = await embed(run, 'document', table.documents);
      await stepWith(run, run.batches.batch(0), 1);
      const written = [...table.versions.keys()].filter((slot) => table.versions[slot] === 1);
      expect(written.length).toBeGreaterThan(8);
      const D = table.dimension;
      far.push(
        Math.max(
          ...written.map((slot) => distance(table.read([slot]), fresh.subarray(slot * D, (slot + 1) * D))),
        ),
      );
      const after = run.spent();
      expect(after.refreshEncodes! - before.refreshEncodes!).toBe(
        writeBackWithoutDropout ? written.length : 0,
      );
    }
    expect(far[0]).toBeGreaterThan(0.05);
    expect(far[1]).toBeLessThan(1e-5);
  });
});

const distance = (a: Float32Array, b: Float32Array): number => {
  expect(a.length).toBe(b.length);
  return Math.hypot(...a.map((x, i) => x - b[i]!));
};

describe('accumulation (U12)', () => {
  it('takes in the rows of all batches once, after the update, so that none of these sees them', async () => {
    const options = {
      cacheSize: 50,
      prefill: false,
      refresh: 'write-back,stream',
      loss: 'truncated',
    } as const;
    const run = await begin(negativeCache, options, { accumulate: 3 });
    const table = tableOf(run);
    const [report] = await run.train(1);
    expect(report!.metrics.drawnRatio).toBe(0);
    const positives = [0, 1, 2].flatMap((draw) => [...run.batches.batch(draw).positiveRows]);
    expect(filled(table)).toEqual(positives);
    expect(table.clock).toBe(1);
    expect(new Set(table.versions.filter((version) => version >= 0))).toEqual(new Set([1]));
    await run.train(1);
    expect(filled(table), 'kept from update to update').toEqual(expect.arrayContaining(positives));
    expect(table.clock).toBe(2);
  });

  it('leaves the same table as one large batch', async () => {
    const large = await begin(negativeCache, { cacheSize: 30, loss: 'truncated' }, {});
    const small = await begin(negativeCache, { cacheSize: 30, loss: 'truncated' }, {});
    const [a, b] = [batchOf([10, 11, 12, 13]), batchOf([14, 15, 16, 17])];
    const both = batchOf([10, 11, 12, 13, 14, 15, 16, 17]);
    await small.running.step(a, 0);
    await small.running.step(b, 1);
    await large.running.step(both, 0);
    const untouched = [...tableOf(small).documents];
    expect(tableOf(small).clock).toBe(0);
    await small.running.updated(1);
    await large.running.updated(1);
    expect([...tableOf(small).documents]).not.toEqual(untouched);
    const inserted = (run: ToyRun) => [...both.positiveRows].map((document) => tableOf(run).slotOf(document));
    expect(inserted(small)).not.toContain(NONE);
    expect(inserted(large)).not.toContain(NONE);
    for (const run of [small, large])
      for (const slot of inserted(run)) expect(tableOf(run).versions[slot]).toBe(1);
  });

  it('does not evict rows that a later batch has embedded again for documents of an earlier one', async () => {
    const options = { cacheSize: 8, refresh: 'write-back,stream' } as const;
    const probe = await begin(negativeCache, options);
    const table = tableOf(probe);
    const absent = Array.from({ length: 48 }, (_, i) => i).filter((row) => table.slotOf(row) === NONE);
    const [first, second] = [batchOf(absent.slice(0, 2)), batchOf(absent.slice(2, 4))];
    for (let draw = 0; draw < 100; draw += 2) {
      const [early, late] = [await drawsOf(probe, first, draw), await drawsOf(probe, second, draw + 1)];
      // The rows that would go first, had the second batch not drawn one of them.
      const oldest = [...table.documents.keys()].filter((slot) => !early.includes(slot)).slice(0, 2);
      const kept = [...late].find((slot) => oldest.includes(slot));
      if (kept === undefined) continue;
      const document = table.documents[kept]!;
      await probe.running.step(first, draw);
      await probe.running.step(second, draw + 1);
      await probe.running.updated(1);
      for (const row of [document, ...absent.slice(0, 4)])
        expect(table.slotOf(row), `document ${row}`).not.toBe(NONE);
      return;
    }
    throw new Error('no draws that show it');
  });
});

describe('refresh policies', () => {
  const versionsAfter = async (refresh: string, steps: number, options: Partial<MethodOptions> = {}) => {
    const run = await begin(exhaustive, { refresh, ...options });
    const history: number[][] = [];
    for (let step = 1; step <= steps; step++) {
      await run.train(1);
      history.push([...tableOf(run).versions]);
    }
    return { run, history };
  };

  it('never: the table stays as it was filled', async () => {
    const { run, history } = await versionsAfter('never', 3);
    expect(history[2]).toEqual(Array(60).fill(0));
    expect(run.spent().refreshEncodes).toBe(60);
    expect([...tableOf(run).documents]).toEqual(Array.from({ length: 60 }, (_, i) => i));
  });

  it('every:n: all rows after every n-th update, with the current weights', async () => {
    const { run, history } = await versionsAfter('every:2', 4);
    expect(history).toEqual([0, 2, 2, 4].map((version) => Array(60).fill(version)));
    expect(run.spent().refreshEncodes).toBe(3 * 60);
    const table = tableOf(run);
    const fresh = await embed(run, 'document', table.documents);
    expect(distance(table.read([...table.documents.keys()]), fresh)).toBeLessThan(1e-4);
  });

  it('fraction:p: the oldest rows in turn', async () => {
    const { run, history } = await versionsAfter('fraction:0.25', 5);
    for (const [i, versions] of history.entries()) {
      const turn = Array.from({ length: 60 }, (_, slot) => {
        const first = Math.floor(slot / 15) + 1;
        return i + 1 >= first + 4 ? first + 4 : i + 1 >= first ? first : 0;
      });
      expect(versions).toEqual(turn);
    }
    expect(run.spent().refreshEncodes).toBe(60 + 5 * 15);
  });

  it('fraction:p:random: random rows, others each time', async () => {
    const { history } = await versionsAfter('fraction:0.1:random', 6);
    const refreshed = history.map((versions, i) =>
      versions.flatMap((v, slot) => (v === i + 1 ? [slot] : [])),
    );
    for (const slots of refreshed) expect(slots).toHaveLength(6);
    expect(new Set(refreshed.flat()).size).toBeGreaterThan(20);
  });

  it.each([
    ['fraction:0', Array(60).fill(0)],
    ['fraction:1', Array(60).fill(2)],
    ['fraction:1:random', Array(60).fill(2)],
  ])('%s: nothing, or everything', async (refresh, expected) => {
    const { history } = await versionsAfter(refresh, 2);
    expect(history[1]).toEqual(expected);
  });

  it('a share of a partly filled table is a share of its filled rows', async () => {
    const { run } = await versionsAfter('stream,fraction:0.5', 2, { prefill: false, cacheSize: 40 });
    // 8 rows after the first update, 16 after the second.
    expect(run.spent().refreshEncodes).toBe(4 + 8);
    expect(filled(tableOf(run))).toHaveLength(16);
  });

  it('combined: write-back every step, all rows every second step', async () => {
    const { history } = await versionsAfter('write-back,every:2', 3);
    expect(history[0]!.filter((version) => version === 1).length).toBeGreaterThanOrEqual(8);
    expect(history[0]!.filter((version) => version === 0).length).toBeGreaterThan(30);
    expect(history[1]).toEqual(Array(60).fill(2));
    expect(history[2]!.filter((version) => version === 3).length).toBeGreaterThanOrEqual(8);
  });

  it('snapshotEvery: other documents after every n-th update', async () => {
    const run = await begin(snapshot, { cacheSize: 15, snapshotEvery: 2 });
    const held: string[] = [];
    for (let step = 1; step <= 4; step++) {
      await run.train(1);
      held.push([...tableOf(run).documents].join());
    }
    expect(held[0]).not.toBe(held[1]);
    expect(held[1]).toBe(held[2]);
    expect(held[2]).not.toBe(held[3]);
    expect(run.spent().refreshEncodes).toBe(3 * 15);
  });

  it('with a fresh table nothing is stale', async () => {
    const run = await begin(exhaustive, { refresh: 'every:1', samples: 3 });
    const [first] = await run.train(2);
    expect(first!.metrics.staleness).toBeLessThan(1e-9);
    const stale = await begin(exhaustive, { refresh: 'never', samples: 3 }, { learningRate: 0.05 });
    const reports = await stale.train(4);
    expect(reports[3]!.metrics.staleness).toBeGreaterThan(1e-3);
  });
});

describe('the temperature (U11)', () => {
  it.each([
    ['fixed', { initial: 0.05 }],
    ['fixed, another', { initial: 1 }],
    ['learned', { initial: 0.05, learned: true }],
  ])('is the same in every path: %s', async (_, temperature) => {
    const losses: Record<string, number> = {};
    const gradients: Record<string, number> = {};
    const paths: [Method, Partial<MethodOptions>][] = [
      [inBatch, {}],
      [gradCache, {}],
      [momentumQueue, {}],
      [snapshot, { prefill: false }],
    ];
    for (const [method, options] of paths) {
      const run = await begin(method, options, { temperature });
      const [report] = await run.train(1);
      losses[method.id] = report!.trainingLoss;
      gradients[method.id] = report!.gradientNorm;
    }
    for (const [method] of paths) {
      expect(losses[method.id], method.id).toBeCloseTo(losses['in-batch']!, 5);
      expect(gradients[method.id]! / gradients['in-batch']!, method.id).toBeCloseTo(1, 4);
    }
  });
});

describe('samplers', () => {
  const small = { cacheSize: 9, loss: 'truncated', refresh: 'write-back,stream' } as const;

  it.each([
    ['softmax', {}],
    ['top', {}],
    ['uniform', {}],
    ['rank-range', { rankFrom: 1, rankTo: 30 }],
    ['softmax and uniform', { sampler: 'softmax', uniformSamples: 3 }],
  ] as const)('%s: more draws than rows gives what there is', async (sampler, more) => {
    const options = {
      ...small,
      sampler: sampler === 'softmax and uniform' ? 'softmax' : sampler,
      ...more,
    } as const;
    const run = await begin(negativeCache, { ...options, samples: 12 });
    const reports = await run.train(3);
    for (const { metrics, trainingLoss } of reports) {
      expect(Number.isFinite(trainingLoss)).toBe(true);
      expect(metrics.drawnRatio).toBeGreaterThan(0.5);
      expect(metrics.drawnRatio).toBeLessThan(1);
    }
  });

  it('refuses loss forms that need independent draws from the softmax with anything else', async () => {
    for (const options of [{ sampler: 'top' }, { uniformSamples: 2 }] as const) {
      await expect(begin(negativeCache, options)).rejects.toThrow(
        /the loss form expectation needs negatives drawn from the softmax.*\n.*loss: 'truncated'/,
      );
    }
  });
});
