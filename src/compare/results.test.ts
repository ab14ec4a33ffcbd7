import { describe, expect, it } from 'vitest';
import { sampleComparison } from '../../test/fake-comparison.ts';
import { tempFiles } from '../../test/temp-files.ts';
import type { Comparison } from './comparison.ts';
import { combineRuns, readResults } from './results.ts';
import type { RunResult } from './run-result.ts';

const facts = { name: 'toy', fingerprint: 'f1', documents: 9 };
const { runs: samples } = sampleComparison();

/** A run of arm and seed in which each query scores so much. */
function run(arm: string, seed: number, values: readonly number[], encodes: number): RunResult {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const { training, ...sample } = samples[0]!;
  return {
    ...sample,
    arm,
    seed,
    training: { ...training, steps: 5, wallMs: 1000 * seed, ledger: { documentEncodes: encodes } },
    evaluation: {
      metrics: { map: mean },
      queryIds: values.map((_, i) => `q${i}`),
      perQuery: { map: values },
    },
  };
}

const arm = (name: string) => ({ name, method: 'in-batch', written: {}, options: {} });
const comparison: Pick<Comparison, 'name' | 'budget' | 'evaluate' | 'seeds' | 'arms'> = {
  name: 'two',
  budget: null,
  evaluate: { split: 'test', metrics: ['map'], queries: null },
  seeds: [1, 2],
  arms: [arm('a'), arm('b')],
};

describe('combineRuns', () => {
  const runs = [
    run('a', 1, [0.1, 0.3, 0.5], 10),
    run('a', 2, [0.3, 0.3, 0.3], 14),
    run('b', 1, [0.2, 0.4, 0.9], 100),
    run('b', 2, [0.4, 0.4, 0.7], 100),
  ];

  it('gives mean and spread of metrics and costs', () => {
    const { arms, complete, data } = combineRuns(comparison, facts, runs);
    expect(complete).toBe(true);
    expect(data.testQueries).toBe(3);
    expect(arms[0]!.metrics.map!.mean).toBeCloseTo(0.3, 12);
    expect(arms[0]!.cost).toMatchObject({
      steps: { mean: 5, sd: 0 },
      wallMs: { mean: 1500, values: [1000, 2000] },
      documentEncodes: { mean: 12, sd: Math.sqrt(8) },
    });
    expect(arms[1]!.metrics.map).toMatchObject({ sd: 0 });
    expect(arms[1]!.runs.map(({ seed }) => seed)).toEqual([1, 2]);
  });

  it('tests each arm against the first, on values averaged over the seeds', () => {
    const { arms } = combineRuns(comparison, facts, runs);
    expect(arms[0]!.againstFirst).toEqual({});
    // Differences 0.1, 0.1, 0.4: of the 8 sign patterns 2 are as extreme.
    const test = arms[1]!.againstFirst.map!;
    expect(test.difference).toBeCloseTo(0.2, 12);
    expect(test).toMatchObject({ pValue: 0.25, pHolm: 0.25, seeds: [1, 2], queries: 3 });
    expect(test.interval.low).toBeCloseTo(0.1, 12);
    expect(test.interval.high).toBeCloseTo(0.4, 12);
  });

  it('adjusts for the number of arms', () => {
    const third = { ...comparison, arms: [...comparison.arms, arm('c')] };
    const more = [...runs, run('c', 1, [0.1, 0.3, 0.5], 1), run('c', 2, [0.3, 0.3, 0.3], 1)];
    const { arms } = combineRuns(third, facts, more);
    expect(arms.map(({ againstFirst }) => againstFirst.map?.pHolm)).toEqual([undefined, 0.5, 1]);
  });

  it('pairs the seeds that both arms have, whatever the order of the runs', () => {
    const { arms, complete } = combineRuns(comparison, facts, [runs[2]!, runs[1]!, runs[0]!]);
    expect(complete).toBe(false);
    expect(arms[1]!.againstFirst.map).toMatchObject({ seeds: [1] });
    expect(arms[1]!.metrics.map!.sd).toBeNull();
  });

  it('can do without any run, and without the tests', () => {
    const { arms } = combineRuns(comparison, facts, []);
    expect(arms.map(({ metrics, settings }) => ({ metrics, settings }))).toEqual([
      { metrics: {}, settings: null },
      { metrics: {}, settings: null },
    ]);
    expect(combineRuns(comparison, facts, runs, { tests: false }).arms[1]!.againstFirst).toEqual({});
  });
});

describe('readResults', () => {
  it('refuses other files', async () => {
    const folder = tempFiles({ 'a.json': '{"arms":[]}', 'b.json': '[', 'c.json': 'null' });
    for (const name of ['a', 'c']) {
      await expect(readResults(`${folder}/${name}.json`)).rejects.toThrow(/no result of a comparison/);
    }
    await expect(readResults(`${folder}/b.json`)).rejects.toThrow(/not valid JSON/);
  });
});
