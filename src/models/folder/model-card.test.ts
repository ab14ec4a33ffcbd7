import { expect, test } from 'vitest';
import { smallRetriever } from '../../../test/small-models.ts';
import { modelCard } from './model-card.ts';

const card = {
  name: 'api-docs: "small"',
  languages: ['en'],
  license: 'apache-2.0',
  baseModel: 'runs/first',
  datasets: [{ name: 'api-docs', documents: 9600, queries: 7000 }],
  method: { id: 'in-batch', description: 'softmax over the batch', citation: 'Karpukhin et al. 2020.' },
  cost: [
    { name: 'documents embedded', amount: '38,400' },
    { name: 'positives', amount: '38,400', share: '100 %' },
  ],
  options: { lr: 0.02, schedule: 'linear', steps: null },
  results: [
    {
      dataset: 'api-docs',
      split: 'test',
      queries: 840,
      metrics: { 'ndcg@10': 0.72 },
      baselines: { bm25: { 'ndcg@10': 0.53 } },
    },
  ],
  embeddingSpace: '0123456789abcdef',
};

test('states data, method and results of the training', () => {
  const retriever = smallRetriever({ kind: 'transformer', prompts: { query: 'query: ' }, pooling: 'cls' });
  retriever.trainedSteps = 1200;
  const text = modelCard(retriever, card);
  const [empty, head, ...rest] = text.split('---\n');
  expect(empty).toBe('');
  expect(head).toContain('library_name: sentence-transformers\n');
  expect(head).toContain(
    'language:\n- "en"\nlicense: "apache-2.0"\nbase_model: "runs/first"\ndatasets:\n- "api-docs"\nmetrics:\n- "ndcg@10"\n',
  );
  expect(head).toContain('- name: "api-docs: \\"small\\""\n');
  const body = rest.join('---\n');
  for (const part of [
    '# api-docs: "small"',
    '| Embedding space | `0123456789abcdef`',
    '| Training steps | 1,200 |',
    'Method: `in-batch`, softmax over the batch; 1,200 steps, from `"runs/first"`. Karpukhin et al. 2020.',
    '| api-docs | 9,600 | 7,000 |',
    '| schedule | `"linear"` |',
    'What it cost up to this model:\n\n|  |  |  |\n| --- | --- | --- |\n| documents embedded | 38,400 |  |\n| of which positives | 38,400 | 100 % |',
    'api-docs, test split, 840 queries:',
    '| bm25 | 0.5300 |\n| this model | 0.7200 |',
    "await loadRetriever('path/to/model')",
    "{ pooling: 'cls', normalize: true }",
    'model.encode(["a text"], prompt_name="query")',
    'It has one length for all texts, 20 tokens; Undrift cuts queries at 12, documents at 20.',
  ]) {
    expect(body).toContain(part);
  }
  expect(body).not.toContain('steps | `null`');
});

test('makes no claims without data', () => {
  const text = modelCard(smallRetriever({ kind: 'static' }), { embeddingSpace: 'id' });
  for (const part of ['## Training', '## Results', 'model-index', 'datasets:', 'license', 'undefined']) {
    expect(text).not.toContain(part);
  }
});

test('does not claim that sentence-transformers reads a bag with token weights', () => {
  const text = modelCard(smallRetriever({ kind: 'static', normalize: false }), { embeddingSpace: 'id' });
  expect(text).toContain('library_name: undrift');
  expect(text).toContain('so it does not read this model');
  expect(text).not.toContain('SentenceTransformer(');
});

test('a pair: the towers, their folders, and what loads both', () => {
  const pair = smallRetriever({ kind: 'transformer', towers: 'separate' });
  const top = modelCard(pair, card);
  expect(top).toContain("'path/to/model/document'");
  expect(top).toContain('model.encode_query(["a text"])');
  const tower = modelCard(pair, card, 'query');
  expect(tower).toContain('# api-docs: "small": query tower');
  expect(tower).toContain('the other tower, `../document`');
});

test('transformers.js pools by mean and cls; the rest is an output of the model', () => {
  const text = modelCard(smallRetriever({ kind: 'transformer', pooling: 'lasttoken' }), card);
  expect(text).toContain('const { sentence_embedding } = await model(inputs);');
  expect(text).not.toContain("pipeline('feature-extraction'");
});
