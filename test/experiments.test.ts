import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type ArmResults, type ComparisonResults, readResults } from '../src/compare/results.ts';
import { spread } from '../src/compare/statistics.ts';
import {
  crossTable,
  experimentBlock,
  qualityAndCostTable,
  settingChart,
} from '../tools/docs/experiment-blocks.ts';
import { withoutCurves, withoutTimes } from '../tools/docs/experiment-results.ts';

const STORE = new URL('../bench/results/quality/', import.meta.url);
const DOCS = new URL('../docs/', import.meta.url);
const committed = existsSync(STORE) ? readdirSync(STORE) : [];

describe('docs/experiments.md', () => {
  const page = readFileSync(new URL('experiments.md', DOCS), 'utf8');

  it.each(committed)('shows what is in %s', async (file) => {
    const path = new URL(file, STORE);
    expect(statSync(path).size).toBeLessThan(300_000);
    const results = await readResults(fileURLToPath(path));
    expect(`${results.name}.json`).toBe(file);
    const { markdown, chart } = experimentBlock(results);
    expect(page).toContain(`<!-- ${results.name} -->\n${markdown.trim()}\n<!-- /${results.name} -->`);
    if (chart) expect(readFileSync(new URL(`experiments/${chart.file}`, DOCS), 'utf8')).toBe(chart.svg);
  });
});

/** Makes an arm with values of recall@1 over two seeds, and costs. */
function arm(name: string, values: number[], cost: Record<string, number> = {}): ArmResults {
  return {
    name,
    method: 'negative-cache',
    settings: null,
    metrics: { 'recall@1': spread(values) },
    cost: Object.fromEntries(Object.entries(cost).map(([key, value]) => [key, spread([value, value])])),
    againstFirst: {},
    runs: values.map((value, i) => ({
      seed: i + 1,
      metrics: { 'recall@1': value },
      steps: 10,
      stoppedEarly: false,
      best: { step: 10, value: null },
      embeddingSpace: 'e',
      wallMs: 1234,
      ledger: cost,
      curves: [{ kind: 'train', name: 'loss', steps: [1], wallMs: [2], values: [3] }],
      finished: '2026-01-01T00:00:00Z',
    })),
  };
}

const results: ComparisonResults = {
  format: 'undrift-comparison-1',
  name: 'cache-size',
  data: { name: 'toy', fingerprint: 'f', documents: 100, testQueries: 20 },
  budget: null,
  evaluate: { split: 'test', metrics: ['recall@1'], queries: null },
  seeds: [1, 2],
  baselines: [],
  complete: true,
  arms: [
    arm('in-batch', [0.2, 0.3], { documentEncodes: 100, positiveEncodes: 100, wallMs: 5000 }),
    arm('expectation-1024', [0.5, 0.5], {
      documentEncodes: 300,
      negativeEncodes: 90,
      refreshEncodes: 110,
      wallMs: 1,
    }),
    arm('expectation-256', [0.4, 0.6], { documentEncodes: 200 }),
    arm('truncated-256', [0.35, 0.35], { documentEncodes: 200, miningEncodes: 7 }),
  ],
  machines: [
    {
      processor: 'Abacus',
      cores: 2,
      memoryBytes: 2 ** 34,
      platform: 'linux x64',
      versions: { undrift: '0' },
    },
  ],
  failures: [],
};

describe('tables of experiments', () => {
  it('have quality and cost in one row', () => {
    expect(qualityAndCostTable(results)).toEqual({
      header: [
        'arm',
        'recall@1',
        'documents embedded',
        'of them as negatives',
        'of them to refresh or mine',
        'training time',
      ],
      rows: [
        ['in-batch', '0.250 ± 0.071', '100', '–', '–', '5.0s'],
        ['expectation-1024', '0.500', '300', '90', '110', '1ms'],
        ['expectation-256', '0.500 ± 0.141', '200', '–', '–', '–'],
        ['truncated-256', '0.350', '200', '–', '7', '–'],
      ],
    });
    const beside = { ...results, baselines: [{ name: 'BM25', metrics: { 'recall@1': 0.2 } }] };
    expect(qualityAndCostTable(beside).rows.at(-1)).toEqual(['BM25', '0.200', '', '', '', '']);
    const untimed = qualityAndCostTable(withoutTimes(results));
    expect(untimed.header.at(-1)).toBe('of them to refresh or mine');
  });

  it('cross the parts of names', () => {
    expect(crossTable(results, ['expectation', 'truncated'])).toEqual({
      header: ['recall@1', 'expectation', 'truncated', 'documents embedded', 'of them to refresh'],
      rows: [
        ['1024', '0.500', '–', '300', '110'],
        ['256', '0.500 ± 0.141', '0.350', '200', '–'],
        ['in-batch', '0.250 ± 0.071', '', '100', '–'],
      ],
    });
  });

  it('become lines over the number in the names', () => {
    const { chart, names } = settingChart(results, {
      title: 'Size',
      xLabel: 'documents',
      xUnit: 'count',
      lines: { expectation: 'E', truncated: 'T' },
      level: 'in-batch',
    });
    expect(names).toEqual(['E', 'T', 'in-batch']);
    expect(chart).toMatchObject({
      xTicks: [256, 1024],
      series: [
        { arm: 0, x: [256, 1024], y: [0.5, 0.5], sd: [expect.closeTo(0.1414, 4), 0] },
        { arm: 1, x: [256], y: [0.35], sd: [0] },
        { arm: 2, x: [256, 1024], y: [0.25, 0.25] },
      ],
    });
    const block = experimentBlock(results);
    expect(block.chart!.file).toBe('cache-size.svg');
    expect(block.chart!.svg).toContain('Quality against the size of the cache');
    expect(block.markdown).toContain('experiments/cache-size.svg');
    expect(block.markdown).toContain('Abacus, 2 cores, 16 GiB; undrift 0');
  });

  it('are kept without curves and, where asked, without times', () => {
    const kept = withoutTimes(withoutCurves(results));
    const text = JSON.stringify(kept);
    expect(text).not.toContain('1234');
    expect(kept.arms[0]!.runs[0]!).toMatchObject({ curves: [], wallMs: 0, ledger: { documentEncodes: 100 } });
    expect(kept.arms[0]!.cost).toEqual({
      documentEncodes: spread([100, 100]),
      positiveEncodes: spread([100, 100]),
    });
    expect(results.arms[0]!.runs[0]!.curves).toHaveLength(1);
  });

  it('know their experiments', () => {
    expect(() => experimentBlock({ ...results, name: 'other' })).toThrow(/no experiment is called "other"/);
  });
});
