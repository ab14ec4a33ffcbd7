import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { UndriftError } from '../util/errors.ts';
import { evaluate, type Qrels } from './metrics.ts';
import { compareUtf8, type Run, rankDocuments } from './ranking.ts';

interface Golden {
  qrels: Record<string, Record<string, number>>;
  run: Record<string, [string, number][]>;
  perQuery: Record<string, Record<string, number>>;
  meanZero: Record<string, number>;
  meanSkip: Record<string, number>;
}

const golden: Golden = JSON.parse(
  readFileSync(new URL('./fixtures/trec-eval-golden.json', import.meta.url), 'utf8'),
);
const goldenQrels = toQrels(golden.qrels);
const goldenRun = toRun(golden.run);
const goldenMetrics = Object.keys(golden.meanZero);

function toQrels(qrels: Record<string, Record<string, number>>): Qrels {
  return new Map(Object.entries(qrels).map(([q, judged]) => [q, new Map(Object.entries(judged))]));
}

function toRun(run: Record<string, [string, number][]>): Run {
  return new Map(
    Object.entries(run).map(([q, hits]) => [q, hits.map(([docId, score]) => ({ docId, score }))]),
  );
}

/** A query `q` with a ranking written best first, and its grades. */
function one(ranking: string, grades: Record<string, number>, metric: string): number {
  const hits = [...ranking].map((docId, i): [string, number] => [docId, -i]);
  return evaluate(toQrels({ q: grades }), toRun({ q: hits }), { metrics: [metric] }).metrics[metric]!;
}

describe('evaluate, against trec_eval 9', () => {
  it('the golden run has ties of doubles, ties of float32 only, and queries without results', () => {
    const runs = [...goldenRun.values()].map((hits) => ({
      hits: hits.length,
      doubles: new Set(hits.map(({ score }) => score)).size,
      floats: new Set(hits.map(({ score }) => Math.fround(score))).size,
    }));
    expect(runs.filter(({ doubles, hits }) => doubles < hits).length).toBeGreaterThan(5);
    expect(runs.filter(({ floats, doubles }) => floats < doubles).length).toBeGreaterThan(4);
    expect(goldenQrels.size).toBeGreaterThan(Object.keys(golden.perQuery).length);
    for (const [name, mean] of Object.entries(golden.meanZero)) expect(mean, name).toBeGreaterThan(0.02);
  });

  it('equals it for every query and metric to 1e-12', () => {
    const { perQuery } = evaluate(goldenQrels, goldenRun, { metrics: goldenMetrics, missingQueries: 'skip' });
    expect([...perQuery.keys()].sort()).toEqual(Object.keys(golden.perQuery).sort());
    for (const [queryId, expected] of Object.entries(golden.perQuery)) {
      const values = perQuery.get(queryId)!;
      for (const name of goldenMetrics) {
        expect(Math.abs(values[name]! - expected[name]!), `${queryId} ${name}`).toBeLessThan(1e-12);
      }
    }
  });

  it.each(['zero', 'skip'] as const)('equals its mean when missing queries count as %s', (missingQueries) => {
    const evaluation = evaluate(goldenQrels, goldenRun, { metrics: goldenMetrics, missingQueries });
    const expected = missingQueries === 'zero' ? golden.meanZero : golden.meanSkip;
    for (const name of goldenMetrics) expect(evaluation.metrics[name]).toBeCloseTo(expected[name]!, 12);
    expect(evaluation.missingQueries).toBe(5);
    expect(evaluation.queries).toBe(missingQueries === 'zero' ? 44 : 39);
    expect(evaluation.unknownQueries).toBe(1);
  });

  it('does not depend on the order in which the results are listed', () => {
    const reversed = new Map([...goldenRun].map(([q, hits]) => [q, [...hits].reverse()]));
    const options = { metrics: goldenMetrics };
    expect(evaluate(goldenQrels, reversed, options)).toEqual(evaluate(goldenQrels, goldenRun, options));
  });
});

describe('metrics in closed form', () => {
  const grades = { a: 3, c: 1, x: 2, n: -1, z: 0 };

  it('ndcg has linear gain, ndcg_exp the gain 2^g − 1', () => {
    const linear = (3 + 1 / 2) / (3 + 2 / Math.log2(3) + 1 / 2);
    const exponential = (7 + 1 / 2) / (7 + 3 / Math.log2(3) + 1 / 2);
    expect(one('abc', grades, 'ndcg@10')).toBeCloseTo(linear, 14);
    expect(one('abc', grades, 'ndcg_exp@10')).toBeCloseTo(exponential, 14);
    expect(one('b', grades, 'ndcg@10')).toBe(0);
    expect(one('axc', grades, 'ndcg@3')).toBe(1);
  });

  it.each([
    ['mrr@2', 'bba'.replace('bb', 'bd'), 0],
    ['mrr@3', 'bda', 1 / 3],
    ['mrr', 'bda', 1 / 3],
    ['map', 'abc', (1 + 2 / 3) / 3],
    ['map@2', 'abc', 1 / 3],
    ['recall@2', 'abc', 1 / 3],
    ['recall@3', 'abc', 2 / 3],
    ['precision@5', 'abc', 2 / 5],
    ['success@1', 'bac', 0],
    ['success@2', 'bac', 1],
    ['judged@4', 'azbn', 1 / 2],
    ['judged@10', 'az', 1],
  ])('%s of the ranking %s is %f', (metric, ranking, value) => {
    expect(one(ranking, grades, metric)).toBeCloseTo(value, 14);
  });

  it('keeps queries without a relevant document, as zeros', () => {
    const qrels = toQrels({ good: { a: 1 }, none: { a: 0, b: -1 } });
    const run = toRun({ good: [['a', 1]], none: [['a', 1]] });
    const evaluation = evaluate(qrels, run, { metrics: ['ndcg@10', 'map', 'recall@5', 'judged@1'] });
    expect(evaluation.metrics).toEqual({ 'ndcg@10': 0.5, map: 0.5, 'recall@5': 0.5, 'judged@1': 1 });
    expect(evaluation.queriesWithoutRelevant).toBe(1);
  });

  it('counts an empty result list as a missing query', () => {
    const qrels = toQrels({ p: { a: 1 }, q: { a: 1 } });
    const run = toRun({ p: [['a', 1]], q: [] });
    expect(evaluate(qrels, run, { metrics: ['mrr'] })).toMatchObject({
      metrics: { mrr: 0.5 },
      missingQueries: 1,
    });
    const skipped = evaluate(qrels, run, { metrics: ['mrr'], missingQueries: 'skip' });
    expect(skipped).toMatchObject({ metrics: { mrr: 1 }, queries: 1, missingQueries: 1 });
  });
});

describe('bad input', () => {
  const qrels = toQrels({ q: { a: 1 } });
  const metrics = ['ndcg@10'];

  it.each([
    [
      'a document listed twice',
      qrels,
      toRun({
        q: [
          ['a', 2],
          ['a', 1],
        ],
      }),
      /query "q" lists document "a" twice/,
    ],
    ['a NaN score', qrels, toRun({ q: [['a', Number.NaN]] }), /query "q": the score of document "a"/],
    ['a fractional grade', toQrels({ q: { a: 0.5 } }), toRun({ q: [['a', 1]] }), /grade 0.5 of document "a"/],
    ['an id as grade', toQrels({ q: { a: 20041 } }), toRun({ q: [['a', 1]] }), /grade 20041/],
    [
      'other ids',
      qrels,
      toRun({ Q: [['a', 1]] }),
      /run has 1 queries \(such as "Q"\), the qrels 1 \(such as "q"\)/,
    ],
    ['empty qrels', toQrels({}), toRun({ q: [['a', 1]] }), /no query has both/],
  ])('%s', (_, badQrels, badRun, message) => {
    const act = () => evaluate(badQrels, badRun, { metrics });
    expect(act).toThrow(UndriftError);
    expect(act).toThrow(message);
  });

  it('an empty run scores zero, but has nothing to average under skip', () => {
    expect(evaluate(qrels, new Map(), { metrics }).metrics).toEqual({ 'ndcg@10': 0 });
    expect(() => evaluate(qrels, new Map(), { metrics, missingQueries: 'skip' })).toThrow(
      /no query has both/,
    );
  });
});

describe('rankDocuments', () => {
  it('orders by float32 score, then by document id descending', () => {
    const ids = (hits: [string, number][]) =>
      rankDocuments(hits.map(([docId, score]) => ({ docId, score }))).map(({ docId }) => docId);
    expect(
      ids([
        ['a', 1],
        ['b', 2],
        ['c', 1],
      ]),
    ).toEqual(['b', 'c', 'a']);
    expect(
      ids([
        ['a', 1.00000001],
        ['b', 1],
      ]),
    ).toEqual(['b', 'a']);
    expect(
      ids([
        ['a', -0],
        ['b', 0],
      ]),
    ).toEqual(['b', 'a']);
    expect(
      ids([
        ['a', 1e300],
        ['b', Number.POSITIVE_INFINITY],
        ['c', Number.NEGATIVE_INFINITY],
      ]),
    ).toEqual(['b', 'a', 'c']);
  });

  it('compares ids as the bytes of their UTF-8', () => {
    const ids = [
      '',
      'a',
      'aa',
      'Z',
      'é',
      '文',
      '\ud7ff',
      '\ue000',
      '\uff5e',
      '\u{10000}',
      '\u{1f600}',
      '\u{1f601}',
      'a\u{1f600}',
      'a\uff5e',
    ];
    for (const a of ids) {
      for (const b of ids) {
        expect(Math.sign(compareUtf8(a, b)), `${a} ${b}`).toBe(
          Buffer.compare(Buffer.from(a), Buffer.from(b)),
        );
      }
    }
    expect('\uff5e' < '\u{1f600}').toBe(false); // why `<` would not do
  });

  it('returns an array that is already in order unchanged', () => {
    const hits = [
      { docId: 'b', score: 2 },
      { docId: 'a', score: 2 },
    ];
    expect(rankDocuments(hits)).toBe(hits);
    expect(rankDocuments([...hits].reverse())).toEqual(hits);
  });
});
