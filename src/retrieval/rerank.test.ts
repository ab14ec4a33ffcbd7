import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { loadData } from '../data/load.ts';
import { loadCrossEncoder } from '../models/cross-encoder/load-cross-encoder.ts';
import { rerankRun, rerankTexts } from './rerank.ts';

const FIXTURE = fileURLToPath(new URL('../models/cross-encoder/fixtures/bert', import.meta.url));
const TEXTS = ['the cat', 'a red house', 'running dogs', 'on the mat', 'green tree', 'dog'];
const compute = { threads: 1 };
const lines = (records: object[]) => records.map((record) => `${JSON.stringify(record)}\n`).join('');

it('a run is reranked by logits, and what lies beyond the depth stays behind', async () => {
  const data = await loadData(
    tempFiles({
      'corpus.jsonl': lines(TEXTS.map((text, i) => ({ _id: `d${i}`, text }))),
      'queries.jsonl': lines([
        { _id: 'q0', text: 'see the dog' },
        { _id: 'q1', text: 'house' },
      ]),
      'qrels/test.tsv': 'query-id\tcorpus-id\tscore\nq0\td0\t1\nq1\td1\t1\n',
    }),
  );
  const crossEncoder = await loadCrossEncoder(FIXTURE, { activation: 'identity' });
  const run = new Map([
    ['q0', TEXTS.map((_, i) => ({ docId: `d${i}`, score: 10 - i }))],
    ['q1', [{ docId: 'd3', score: 1 }]],
  ]);
  const reranked = await rerankRun(crossEncoder, data, run, { depth: 4, ...compute });
  const logits = await crossEncoder.score(
    TEXTS.map((text) => ['see the dog', text] as const),
    compute,
  );
  const order = [0, 1, 2, 3].sort((a, b) => logits[b]! - logits[a]!);
  const found = reranked.get('q0')!;
  expect(found.map(({ docId }) => docId)).toEqual([...order.map((i) => `d${i}`), 'd4', 'd5']);
  for (const [place, i] of order.entries()) expect(found[place]!.score).toBeCloseTo(logits[i]!, 5);
  expect(found[4]!.score).toBeLessThan(found[3]!.score);
  expect(found[5]!.score).toBeLessThan(found[4]!.score);
  expect(reranked.get('q1')).toHaveLength(1);

  const ranked = await rerankTexts(crossEncoder, 'see the dog', TEXTS, { depth: 4, topK: 5, ...compute });
  expect(ranked.map(({ document }) => document)).toEqual([...order, 4]);
  expect(await rerankTexts(crossEncoder, 'see the dog', [], compute)).toEqual([]);
  await crossEncoder.dispose();
});
