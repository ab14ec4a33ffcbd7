import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { loadData } from '../data/load.ts';
import { evaluateBm25 } from '../retrieval/evaluate-retriever.ts';
import type { Baseline } from './callbacks.ts';
import { readEventLog } from './event-log.ts';
import type { TrainOptions } from './settings.ts';
import { trainRetriever } from './train-retriever.ts';

const ROWS = 60;
/** Queries that share a word with their documents, so that BM25 finds them all, or none. */
function dataSet(name: string, shared: boolean): Record<string, string> {
  const rows = Array.from({ length: ROWS }, (_, i) => i);
  const lines = (of: readonly string[]) => of.map((row) => `${row}\n`).join('');
  const judged = (from: number, to: number) =>
    lines(['query-id\tcorpus-id\tscore', ...rows.slice(from, to).map((i) => `q${i}\td${i}\t1`)]);
  return {
    [`${name}/corpus.jsonl`]: lines(
      rows.map((i) => JSON.stringify({ _id: `d${i}`, text: `name${i} thing${i % 7}` })),
    ),
    [`${name}/queries.jsonl`]: lines(
      rows.map((i) => JSON.stringify({ _id: `q${i}`, text: shared ? `name${i}` : `ask${i} what${i % 7}` })),
    ),
    [`${name}/qrels/train.tsv`]: judged(0, 50),
    [`${name}/qrels/dev.tsv`]: judged(50, ROWS),
  };
}
const folder = tempFiles({ ...dataSet('shared', true), ...dataSet('apart', false) });

async function train(data: string, out: string, more: Partial<TrainOptions> = {}) {
  const notes: string[] = [];
  const found: Baseline[] = [];
  const result = await trainRetriever(
    {
      ...{ data: join(folder, data), out: join(folder, out), batchSize: 8, steps: 6, evalEvery: 2 },
      ...{ hidden: 8, vocabSize: 150, threads: 1, lr: 1e-9 },
      ...more,
    },
    { onNote: (note) => notes.push(note), onBaseline: (baseline) => found.push(baseline) },
  );
  const card = readFileSync(join(result.model, 'README.md'), 'utf8');
  const log = await readEventLog(join(folder, out, 'metrics.jsonl'));
  return { result, found, card, notes, logged: log.filter(({ kind }) => kind === 'baseline') };
}

it('a run measures BM25 once, and says so where its best model falls short of it', async () => {
  const { result, found, card, notes, logged } = await train('shared', 'short');
  const data = await loadData(join(folder, 'shared'));
  const metrics = ['ndcg@10', 'mrr@10', 'recall@10'];
  const bm25 = await evaluateBm25(data, 'dev', { metrics });
  expect(bm25.metrics['ndcg@10']).toBe(1);
  expect(result.baseline).toEqual({ name: 'BM25', metrics: bm25.metrics });
  expect(found).toEqual([result.baseline]);
  expect(logged.map(({ step, values }) => ({ step, values }))).toEqual([{ step: 2, values: bm25.metrics }]);
  expect(card).toMatch(/\| BM25 \| 1\.0000 \|/);
  const [note] = notes.filter((text) => text.includes('falls short of BM25'));
  expect(note).toContain(`ndcg@10 ${result.best.value!.toFixed(4)} against 1.0000`);
});

it('a run above BM25 has no such note, and one without a baseline measures none', async () => {
  const above = await train('apart', 'above');
  expect(above.result.baseline!.metrics['ndcg@10']).toBe(0);
  expect(above.notes.join()).not.toContain('falls short');
  const without = await train('shared', 'without', { baseline: false });
  expect(without.result.baseline).toBeNull();
  expect([without.found, without.logged]).toEqual([[], []]);
  expect(without.card).not.toContain('BM25');
  expect(without.notes.join()).not.toContain('falls short');
});
