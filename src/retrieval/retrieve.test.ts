import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { loadData } from '../data/load.ts';
import { evaluate } from '../eval/metrics.ts';
import { readRunFile, writeRunFile } from '../eval/run-file.ts';
import { Retriever } from '../models/retriever/retriever.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { trainVocabulary } from '../text/train-vocabulary.ts';
import type { Progress } from '../util/progress.ts';
import { encodeCorpus } from './encode-corpus.ts';
import { evaluateBm25, evaluateRetriever, searchDepth } from './evaluate-retriever.ts';
import { retrievalTask, retrieve, retrieveLexical } from './retrieve.ts';

const texts = [
  'opens a file and reads its text',
  'writes text to a file',
  'joins two paths',
  'parses a number from text',
  'sorts an array in place',
];
const queries = { q1: 'read a file', q2: 'sort array', d3: 'joins paths', q4: 'zebra' };
const lines = (records: object[]) => records.map((record) => `${JSON.stringify(record)}\n`).join('');
const folder = tempFiles({
  'corpus.jsonl': lines(texts.map((text, i) => ({ _id: `d${i + 1}`, text }))),
  'queries.jsonl': lines(Object.entries(queries).map(([_id, text]) => ({ _id, text }))),
  'qrels/train.tsv': 'query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td5\t1\nd3\td3\t1\nq4\td2\t1\n',
  'qrels/test.tsv': 'query-id\tcorpus-id\tscore\nq2\td5\t1\nd3\td3\t1\nq1\td1\t1\n',
});
const data = await loadData(folder);

function makeRetriever(): Retriever {
  const tokenizer = Tokenizer.fromJson(trainVocabulary(texts, { model: 'wordpiece', vocabSize: 90 }));
  const model = { model_type: 'undrift-static', vocab_size: tokenizer.vocabSize, hidden_size: 8 };
  return new Retriever(
    {
      encoder: { model, pooling: 'mean', normalize: true },
      towers: 'shared',
      prompts: { query: '', document: '' },
      maxTokens: { query: 32, document: 32 },
    },
    tokenizer,
    { seed: 1 },
  );
}

describe('retrievalTask', () => {
  it('takes the judged queries in the order of the qrels, or some of them, evenly spaced', () => {
    const task = retrievalTask(data, 'test');
    expect([...task.queryRows].map((row) => data.queries.id(row))).toEqual(['q2', 'd3', 'q1']);
    expect([...retrievalTask(data, 'test', { limitQueries: 2 }).qrels.keys()]).toEqual(['q2', 'd3']);
    expect([...retrievalTask(data, 'test', { limitQueries: 9 }).qrels.keys()]).toEqual(['q2', 'd3', 'q1']);
    expect([...retrievalTask(data, 'train', { limitQueries: 2 }).qrels.keys()]).toEqual(['q1', 'd3']);
    expect(() => retrievalTask(data, 'dev')).toThrow(/no split "dev"/);
  });
});

describe('retrieve', () => {
  it('ranks documents by the dot product of the embeddings', async () => {
    const retriever = makeRetriever();
    const stages = new Map<string, Progress>();
    const run = await retrieve(retriever, data, retrievalTask(data, 'test'), {
      topK: 3,
      threads: 1,
      onProgress: (progress) => stages.set(progress.stage, progress),
    });
    expect([...run.keys()]).toEqual(['q2', 'd3', 'q1']);
    const [q] = [await retriever.encode('query', [queries.q1], { threads: 1 })];
    const e = await retriever.encode('document', texts, { threads: 1 });
    const expected = texts
      .map((_, row) => {
        let score = 0;
        for (let d = 0; d < 8; d++) score += q![d]! * e[row * 8 + d]!;
        return { docId: `d${row + 1}`, score };
      })
      .sort((a, b) => b.score - a.score);
    const found = run.get('q1')!;
    expect(found.map(({ docId }) => docId)).toEqual(expected.slice(0, 3).map(({ docId }) => docId));
    for (const [i, { score }] of found.entries()) expect(score).toBeCloseTo(expected[i]!.score, 5);
    expect(stages.get('encode documents')).toMatchObject({ done: 5, total: 5 });
    expect(stages.get('search')).toMatchObject({ done: 3, total: 3 });
    await retriever.dispose();
  });

  it('uses given tokens and embeddings', async () => {
    const retriever = makeRetriever();
    const task = retrievalTask(data, 'test');
    const fresh = await retrieve(retriever, data, task, { threads: 1 });
    const tokens = {
      queries: retriever.tokenize('query', data.queries.size, (row) => data.queries.text(row)),
      documents: retriever.tokenize('document', data.corpus.size, (row) => data.corpus.text(row)),
    };
    expect(await retrieve(retriever, data, task, { tokens, threads: 1 })).toEqual(fresh);
    const documentEmbeddings = await encodeCorpus(retriever, 'document', data.corpus, { threads: 1 });
    expect(await retrieve(retriever, data, task, { documentEmbeddings, threads: 1 })).toEqual(fresh);
    await expect(
      retrieve(retriever, data, task, { documentEmbeddings: documentEmbeddings.subarray(8) }),
    ).rejects.toThrow(/another model or another corpus/);
    await retriever.dispose();
  });

  it('drops the document that is the query itself only when asked to', async () => {
    const task = retrievalTask(data, 'test');
    const kept = (await retrieveLexical('bm25', data, task, { topK: 1 })).get('d3')!;
    expect(kept.map(({ docId }) => docId)).toEqual(['d3']);
    const dropped = (await retrieveLexical('bm25', data, task, { topK: 1, dropSameId: true })).get('d3')!;
    expect(dropped.map(({ docId }) => docId)).not.toContain('d3');
    const retriever = makeRetriever();
    const dense = await retrieve(retriever, data, task, { topK: 5, dropSameId: true, threads: 1 });
    expect(dense.get('d3')).toHaveLength(4);
    expect(dense.get('q1')).toHaveLength(5);
    await retriever.dispose();
  });
});

describe('evaluateRetriever and evaluateBm25', () => {
  it('evaluate a run over the split', async () => {
    const bm25 = await evaluateBm25(data, 'test', { metrics: ['mrr@10', 'recall@5'] });
    // "file" is in two documents, the shorter of which is no answer; the other two queries match one document.
    expect(bm25.metrics['recall@5']).toBe(1);
    expect(bm25.perQuery.get('q2')).toEqual({ 'mrr@10': 1, 'recall@5': 1 });
    expect(bm25.queries).toBe(3);
    const retriever = makeRetriever();
    const dense = await evaluateRetriever(retriever, data, 'test', {
      metrics: ['recall@5'],
      limitQueries: 2,
      threads: 1,
    });
    expect(dense.metrics).toEqual({ 'recall@5': 1 });
    expect(dense.queries).toBe(2);
    await retriever.dispose();
  });

  it('check the metrics before the search', async () => {
    const retriever = makeRetriever();
    const options = {
      metrics: ['ndgc@10'],
      topK: 5,
      onProgress: () => expect.fail('nothing should have been done'),
    };
    await expect(evaluateRetriever(retriever, data, 'test', options)).rejects.toThrow(/unknown metric/);
  });

  it('searches as deep as the metrics look', () => {
    expect(searchDepth(['ndcg@10', 'recall@100'])).toBe(100);
    expect(searchDepth(['map', 'ndcg@10'])).toBe(1000);
  });
});

describe('metrics of documents with equal scores', () => {
  const colours = ['red', 'blue', 'black', 'white'];
  const products = Array.from({ length: 160 }, (_, i) => `usb cable ${colours[i % 4]!}`);
  const tied = tempFiles({
    'corpus.jsonl': lines(products.map((text, i) => ({ _id: `p${String(i).padStart(3, '0')}`, text }))),
    'queries.jsonl': lines([
      { _id: 'q1', text: 'usb cable' },
      { _id: 'q2', text: 'red cable' },
    ]),
    'qrels/test.tsv': 'query-id\tcorpus-id\tscore\nq1\tp159\t1\nq1\tp010\t1\nq2\tp156\t1\n',
  });
  const metrics = ['ndcg@10', 'mrr@10', 'recall@10'];

  it('do not depend on the depth of a BM25 search, and are those of trec_eval on the full ranking', async () => {
    const ties = await loadData(tied);
    const full = await evaluateBm25(ties, 'test', { metrics, topK: 1000 });
    expect(full.perQuery.get('q1')!['ndcg@10']).toBeCloseTo(0.613147, 6);
    expect(full.perQuery.get('q2')!['ndcg@10']).toBe(1);
    for (const topK of [10, 11, 40, 41, 100]) {
      const { metrics: found, run } = await evaluateBm25(ties, 'test', { metrics, topK });
      expect(found).toEqual(full.metrics);
      for (const [id, documents] of run) expect(documents).toEqual(full.run.get(id)!.slice(0, topK));
    }
    const byMetrics = await evaluateBm25(ties, 'test', { metrics: ['ndcg@10', 'recall@1000'] });
    expect(byMetrics.metrics['ndcg@10']).toBe(full.metrics['ndcg@10']);
    // A run file of ten documents gives the same figures as one of all.
    const folder = tempFiles({});
    for (const topK of [10, 1000]) {
      const { run } = await evaluateBm25(ties, 'test', { metrics, topK });
      await writeRunFile(`${folder}/${topK}.run`, run, { tag: 'bm25' });
      const read = await readRunFile(`${folder}/${topK}.run`);
      expect(evaluate(full.task.qrels, read, { metrics }).metrics).toEqual(full.metrics);
    }
  });

  it('do not depend on the depth of a dense search', async () => {
    const ties = await loadData(tied);
    const retriever = makeRetriever();
    const options = { metrics, threads: 1 };
    const full = await evaluateRetriever(retriever, ties, 'test', { ...options, topK: 1000 });
    expect(full.metrics['ndcg@10']).toBeGreaterThan(0);
    for (const topK of [10, 39, 40, 100]) {
      const { metrics: found, run } = await evaluateRetriever(retriever, ties, 'test', { ...options, topK });
      expect(found).toEqual(full.metrics);
      for (const [id, documents] of run) expect(documents).toEqual(full.run.get(id)!.slice(0, topK));
    }
    await retriever.dispose();
  });

  it('do not depend on the depth where the document with the id of the query is dropped', async () => {
    const same = tempFiles({
      'corpus.jsonl': lines(products.slice(0, 40).map((text, i) => ({ _id: `p${10 + i}`, text }))),
      'queries.jsonl': lines([{ _id: 'p49', text: 'usb cable' }]),
      'qrels/test.tsv': 'query-id\tcorpus-id\tscore\np49\tp48\t1\n',
    });
    const loaded = await loadData(same);
    for (const topK of [1, 10, 39]) {
      const { metrics: found } = await evaluateBm25(loaded, 'test', {
        metrics: ['mrr@1'],
        topK,
        dropSameId: true,
      });
      expect(found['mrr@1']).toBe(1);
    }
  });
});
