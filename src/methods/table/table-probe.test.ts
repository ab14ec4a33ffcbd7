import { describe, expect, it } from 'vitest';
import {
  COPIES,
  rightAnswers,
  SECOND_POSITIVE,
  type ToyOptions,
  ToyRun,
} from '../../../test/toy-training.ts';
import { softmaxDivergence } from '../../cache/divergence.ts';
import { NONE } from '../../util/vector-rows.ts';
import { exhaustive } from '../exhaustive.ts';
import { inBatch } from '../in-batch.ts';
import { negativeCache } from '../negative-cache.ts';
import type { TableMethod } from './table-method.ts';
import { TableProbe } from './table-probe.ts';

const PAIRS = {
  queryRows: Int32Array.from({ length: 16 }, (_, i) => i),
  positiveRows: Int32Array.from({ length: 16 }, (_, i) => i),
};
const rows = (count: number) => Int32Array.from({ length: count }, (_, i) => i);

const tableOf = ({ running }: ToyRun) => (running as TableMethod).table;
const diagnose = (run: ToyRun) => run.running.diagnose!(PAIRS);

/** Cache of 32 documents that is never refreshed. */
const UNTENDED: ToyOptions = { options: { cacheSize: 32, refresh: 'never' }, learningRate: 0.05 };

/** Scores of queries 0 … 15 with the documents of the filled slots, divided by τ: by fresh and by cached embeddings. */
async function scoresOf(run: ToyRun) {
  const { retriever, queries, documents, compute, temperature } = run.context;
  const table = tableOf(run);
  const slots = rows(table.rows).filter((slot) => table.documents[slot] !== NONE);
  const encode = (side: 'query' | 'document', list: Int32Array) =>
    retriever.encodeTokens(side, side === 'query' ? queries : documents, {
      ...compute,
      rows: Uint32Array.from(list),
    });
  const q = await encode('query', PAIRS.queryRows);
  const fresh = await encode(
    'document',
    slots.map((slot) => table.documents[slot]!),
  );
  const stale = table.read(slots);
  const D = table.dimension;
  const score = (query: number, vectors: Float32Array, place: number) => {
    let product = 0;
    for (let i = 0; i < D; i++) product += q[query * D + i]! * vectors[place * D + i]!;
    return product / temperature.value;
  };
  return Array.from(PAIRS.queryRows, (query) => {
    const right = new Set(rightAnswers(query));
    const places = [...slots.keys()].filter((place) => !right.has(table.documents[slots[place]!]!));
    return {
      fresh: places.map((place) => score(query, fresh, place)),
      stale: places.map((place) => score(query, stale, place)),
    };
  });
}

describe('the probe of a table', () => {
  it('finds nothing stale where everything was just embedded', async () => {
    const run = await ToyRun.begin(exhaustive, { options: { refresh: 'every:1' }, learningRate: 0.05 });
    await run.train(4);
    const found = await diagnose(run);
    for (const name of ['staleness', 'klStale', 'scoreError', 'totalVariation', 'queryGradientError'])
      expect(found[name], name).toBeLessThan(1e-5);
    expect(found).toMatchObject({ rows: 60, rowsRatio: 1, topAgreement: 1, 'overlap@10': 1 });
    expect(found).toMatchObject({ vacuousRatio: 0, falseNegativeRatio: 0 });
    expect(found.queryGradientCosine).toBeCloseTo(1, 6);
    expect(found.documentGradientCosine).toBeCloseTo(1, 6);
    await run.dispose();
  });

  it('measures a stale table by the definitions, within the bounds', async () => {
    const run = await ToyRun.begin(negativeCache, UNTENDED);
    await run.train(12);
    const found = await diagnose(run);
    const each = (await scoresOf(run)).map(({ fresh, stale }) => softmaxDivergence(fresh, stale));
    const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length;
    expect(found.klStale).toBeGreaterThan(0.01);
    expect(found.klStale).toBeCloseTo(mean(each.map(({ kl }) => kl)), 4);
    expect(found.totalVariation).toBeCloseTo(mean(each.map((d) => d.totalVariation)), 4);
    expect(found.scoreError).toBeCloseTo(Math.max(...each.map((d) => d.maxScoreError)), 4);
    expect(found.klBound).toBeCloseTo(mean(each.map((d) => d.maxScoreError ** 2 / 2)), 3);
    expect(found.totalVariationBound).toBeCloseTo(mean(each.map((d) => Math.tanh(d.maxScoreError / 2))), 4);
    expect(found.vacuousRatio).toBeCloseTo(mean(each.map((d) => Number(d.maxScoreError > 2))), 9);
    for (const [value, bound] of [
      ['klStale', 'klRangeBound'],
      ['klRangeBound', 'klBound'],
      ['totalVariation', 'totalVariationBound'],
      ['queryGradientError', 'queryGradientErrorBound'],
      ['documentGradientError', 'documentGradientErrorBound'],
    ] as const)
      expect(found[value], value).toBeLessThan(found[bound]!);
    expect(found.queryGradientCosine).toBeLessThan(0.9999);
    // Unit vectors: ‖b − g‖² is the mean of squares, so at least the square of the mean.
    expect(found.staleness).toBeGreaterThan(found.embeddingDistance! ** 2);
    await run.dispose();
  });

  it.each([
    ['negative-cache', negativeCache, { options: { cacheSize: 32, samples: 2 }, dropoutRatio: 0.1 }],
    [
      'a transformer with dropout and a learned temperature',
      exhaustive,
      {
        options: { refresh: 'write-back,fraction:0.1' },
        model: { kind: 'transformer' as const },
        dropoutRatio: 0.2,
        temperature: { initial: 0.1, learned: true },
        accumulate: 2,
      },
    ],
  ])('changes nothing: %s', async (_, method, options) => {
    const [watched, alone] = [await ToyRun.begin(method, options), await ToyRun.begin(method, options)];
    for (let part = 0; part < 3; part++) {
      await watched.train(2);
      await diagnose(watched);
      await alone.train(2);
    }
    const own = ([name]: [string, unknown]) => !name.startsWith('diagnosis');
    expect(Object.fromEntries(Object.entries(watched.bytes()).filter(own))).toEqual(alone.bytes());
    const { diagnosisEncodes, ...spent } = watched.spent();
    expect(spent).toEqual(alone.spent());
    // Each time the table, 16 queries and their positives.
    expect(diagnosisEncodes).toBe(3 * (tableOf(watched).filled + 32));
    await watched.dispose();
    await alone.dispose();
  });

  it('compares with the last diagnosis, also with one before a stop', async () => {
    const whole = await ToyRun.begin(negativeCache, UNTENDED);
    await whole.train(3);
    expect(await diagnose(whole)).not.toHaveProperty('lipschitzEstimate');
    const folder = await whole.save();
    const before = Object.entries(whole.context.weights).map(([name, { data }]) => ({
      name,
      data: Float32Array.from(data as Float32Array),
    }));
    await whole.train(3);
    const later = await diagnose(whole);
    let squares = 0;
    for (const { name, data } of before) {
      const now = whole.context.weights[name]!.data as Float32Array;
      for (const [i, value] of data.entries()) squares += (now[i]! - value) ** 2;
    }
    expect(later.parameterChange).toBeCloseTo(Math.sqrt(squares), 5);
    expect(later.embeddingChange).toBeGreaterThan(0.01);
    expect(later.lipschitzEstimate).toBeCloseTo(later.embeddingChange! / later.parameterChange!, 9);

    const resumed = await ToyRun.resume(negativeCache, UNTENDED, folder);
    await resumed.train(3);
    expect(await diagnose(resumed)).toEqual(later);
    // Weights that have not moved have no ratio.
    const still = await diagnose(resumed);
    expect(still).toMatchObject({ embeddingChange: 0, parameterChange: 0 });
    expect(still).not.toHaveProperty('lipschitzEstimate');
    await whole.dispose();
    await resumed.dispose();
  });

  it('finds right answers among the draws: known ones, and copies of them', async () => {
    const run = await ToyRun.begin(exhaustive);
    const table = tableOf(run);
    const probe = new TableProbe(run.context, { table });
    const [copy, of] = [...COPIES][0]!;
    const pairs = {
      queryRows: Int32Array.of(of, SECOND_POSITIVE.query, 5),
      positiveRows: Int32Array.of(of, SECOND_POSITIVE.query, 5),
    };
    // Of each query a wrong answer first.
    const documents = [20, copy, 21, SECOND_POSITIVE.document, 22, 5];
    const slots = Int32Array.from(documents, (document) => table.slotOf(document));
    const { falseNegativeRatio } = await probe.run(pairs, async () => slots);
    expect(falseNegativeRatio).toBe(0.5);
    const none = await probe.run(pairs, async () => slots.map((slot, i) => (i % 2 === 0 ? slot : NONE)));
    expect(none.falseNegativeRatio).toBe(0);
    expect(await probe.run(pairs)).not.toHaveProperty('falseNegativeRatio');
    await run.dispose();
  });

  it('takes a sample of a large table, the same each time, and says so once', async () => {
    const run = await ToyRun.begin(exhaustive, { learningRate: 0.05 });
    await run.train(6);
    const notes: string[] = [];
    const context = { ...run.context, onNote: (note: string) => notes.push(note) };
    const of = { table: tableOf(run) };
    const sample = new TableProbe(context, { ...of, rows: 45 });
    const [first, second, whole] = [
      await sample.run(PAIRS),
      await sample.run(PAIRS),
      await new TableProbe(context, of).run(PAIRS),
    ];
    expect(notes).toEqual(['diagnosis by a uniform sample of 45 of the 60 cached embeddings']);
    expect(first).toMatchObject({ rows: 45, rowsRatio: 0.75 });
    expect(second).toMatchObject(first);
    for (const name of ['klStale', 'totalVariation', 'queryGradientError'])
      expect(Math.abs(first[name]! / whole[name]! - 1), name).toBeLessThan(0.4);
    expect(first.positiveProbabilityFresh).toBeCloseTo(whole.positiveProbabilityFresh!, 1);
    await run.dispose();
  });

  it('gives no figures for an empty table; methods without a table have no probe', async () => {
    const empty = await ToyRun.begin(negativeCache, { options: { prefill: false } });
    expect(await diagnose(empty)).toEqual({ rows: 0 });
    await empty.dispose();
    const run = await ToyRun.begin(inBatch);
    expect(run.running.diagnose).toBeUndefined();
    await run.dispose();
  });
});
