import { describe, expect, it } from 'vitest';
import { sampleComparison } from '../../test/fake-comparison.ts';
import { describeCost, formatSpread } from './cost.ts';
import { combineRuns } from './results.ts';
import {
  commonSettings,
  describeBudget,
  differingSettingsTable,
  ledgerTable,
  resultTable,
  tableAsMarkdown,
  tableAsText,
  tableNotes,
} from './tables.ts';

const { comparison, runs } = sampleComparison();
const facts = { name: 'api-docs', fingerprint: 'f1', documents: 9600 };
const two = { ...comparison, arms: comparison.arms.slice(0, 2), seeds: [1, 2] };
const twoRuns = runs.filter(({ arm, seed }) => seed < 3 && two.arms.some(({ name }) => name === arm));
const results = combineRuns(two, facts, twoRuns);

describe('the result table', () => {
  it('has a row for each arm with metrics, test and costs', () => {
    const { header, rows } = resultTable(results);
    expect(header).toEqual([
      'arm',
      'ndcg@10',
      'mrr@10',
      'recall@100',
      'Δ ndcg@10',
      'p',
      'steps',
      'document encodes',
      'time',
    ]);
    const [mean, sd] = rows[1]![1]!.split(' ± ').map(Number);
    expect(mean).toBeCloseTo(results.arms[1]!.metrics['ndcg@10']!.mean, 4);
    expect(sd).toBeCloseTo(results.arms[1]!.metrics['ndcg@10']!.sd!, 4);
    expect(rows[0]!.slice(4)).toEqual(['', '', '1,000', '16.2k', '1m 01s']);
    expect(rows[1]![4]).toMatch(/^\+0\.\d{4}$/);
    expect(Number(rows[1]![5])).toBeCloseTo(results.arms[1]!.againstFirst['ndcg@10']!.pHolm, 3);
  });

  it('ends with the rankers without training, and names the arms below it', () => {
    const [low, high] = [...results.arms].sort(
      (a, b) => a.metrics['ndcg@10']!.mean - b.metrics['ndcg@10']!.mean,
    );
    const between = (low!.metrics['ndcg@10']!.mean + high!.metrics['ndcg@10']!.mean) / 2;
    const baseline = { name: 'BM25', metrics: { 'ndcg@10': between, 'mrr@10': 0.25 } };
    const beside = combineRuns(two, facts, twoRuns, { baselines: [baseline] });
    const { header, rows } = resultTable(beside);
    expect(rows.at(-1)).toEqual(['BM25', between.toFixed(4), '0.2500', '–', '', '', '–', '–', '–']);
    expect(rows.every((row) => row.length === header.length)).toBe(true);
    expect(tableNotes(beside)).toContain(`Short of BM25, which needs no training, in ndcg@10: ${low!.name}.`);
    expect(tableNotes(results).join(' ')).not.toContain('BM25');
  });

  it('says how many seeds are done where some are missing, and which arms have none', () => {
    const { header, rows } = resultTable(combineRuns(two, facts, twoRuns.slice(0, 1)));
    expect(header.at(-1)).toBe('seeds');
    expect(rows.map((row) => row.at(-1))).toEqual(['1 of 2', '0 of 2']);
    expect(rows[1]!.slice(1, 4)).toEqual(['–', '–', '–']);
  });

  it('as text has its columns straight', () => {
    const lines = tableAsText({
      header: ['arm', 'x'],
      rows: [
        ['α', '1'],
        ['longer', '0.5 ± 1'],
      ],
    }).split('\n');
    expect(lines).toEqual(['arm           x', 'α             1', 'longer  0.5 ± 1', '']);
  });

  it('as Markdown escapes what would end a cell', () => {
    expect(tableAsMarkdown({ header: ['arm', 'x|y'], rows: [['a', '1']] })).toBe(
      '| arm | x\\|y |\n| --- | ---: |\n| a | 1 |\n',
    );
  });
});

describe('the other tables', () => {
  it('are turned so that they are tall', () => {
    expect(ledgerTable(results).header).toEqual(['arm', 'in-batch', 'grad-cache']);
    // Sums and behind each its parts, whatever the order in the ledger.
    expect(ledgerTable(results).rows.map(([name]) => name)).toEqual([
      'steps',
      'documents embedded',
      '· positives',
      '· to fill and refresh the cache',
      'scoring of the cache (FLOP)',
      'largest cache',
      'training time',
    ]);
    const all = ledgerTable(combineRuns(comparison, facts, runs, { tests: false }));
    expect(all.header).toContain('· to fill and refresh the cache');
    expect(all.header.at(-1)).toBe('· refreshing the cache');
    expect(all.rows).toHaveLength(9);
  });

  it('part the settings into those that differ and those that do not', () => {
    expect(differingSettingsTable(results)).toEqual({
      header: ['arm', 'method'],
      rows: [
        ['in-batch', 'in-batch'],
        ['grad-cache', 'grad-cache'],
      ],
    });
    const common = new Map(commonSettings(results));
    expect(common.get('steps')).toBe('1000');
    expect(common.has('method')).toBe(false);
    expect(common.has('seed')).toBe(false);
  });
});

describe('the notes', () => {
  it('say what the numbers are', () => {
    expect(tableNotes(results).join(' ')).toMatch(
      /^api-docs: 9,600 documents, 300 queries of test, 1,000 steps each\. Metrics are mean ± .* seeds 1, 2\. Δ and p are against in-batch: .*seeds\.$/,
    );
    const three = combineRuns(
      { ...two, arms: comparison.arms.slice(0, 3), seeds: [1] },
      facts,
      runs.slice(0, 3),
    );
    expect(tableNotes(three).join(' ')).toContain("p adjusted by Holm's method for 2 arms");
  });

  it('do not hide what is missing', () => {
    const failures = [{ arm: 'grad-cache', seed: 2, message: 'the loss is NaN\n  help: …' }];
    const notes = tableNotes(combineRuns({ ...two, seeds: [1] }, facts, twoRuns.slice(0, 1), { failures }));
    expect(notes).toContain('One seed (1): nothing is known of the spread between seeds.');
    expect(notes).toContain('grad-cache with seed 2 failed: the loss is NaN.');
    const untrained = combineRuns({ ...two, seeds: [1] }, facts, twoRuns.slice(0, 1), {
      ...{ failures, units: 'questions' },
    });
    expect(tableNotes(untrained)).toContain('grad-cache failed: the loss is NaN.');
    expect(notes).toContain('Not all runs are done.');
  });

  it('spell budgets', () => {
    expect(describeBudget({ kind: 'encodes', amount: 20_000 })).toBe('20,000 document encodes');
    expect(describeBudget({ kind: 'epochs', amount: 1 })).toBe('1 epoch');
  });
});

describe('costs', () => {
  it.each([
    ['wallMs', 'time', 61_000, '1m 01s'],
    ['refreshMs', 'refresh', 500, '500ms'],
    ['cacheBytes', 'cache', 2 ** 21, '2.00 MiB'],
    ['documentEncodes', 'document encodes', 1234, '1,234'],
    ['documentEncodes', 'document encodes', 1_234_567, '1.23M'],
    ['scoringFlops', 'scoring FLOPs', 2e9, '2.00G'],
  ])('%s is "%s"', (name, label, value, text) => {
    const cost = describeCost(name);
    expect(cost.label).toBe(label);
    expect(cost.format(value)).toBe(text);
  });

  it('show a spread where there is one to see', () => {
    const { format } = describeCost('steps');
    expect(formatSpread({ mean: 10, sd: 2, values: [] }, format)).toBe('10 ± 2');
    expect(formatSpread({ mean: 10, sd: 0, values: [] }, format)).toBe('10');
    expect(formatSpread({ mean: 10, sd: null, values: [] }, format)).toBe('10');
  });
});
