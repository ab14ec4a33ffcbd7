/**
 * Measures what encoding in int8 costs in quality:
 *
 *     npm run bench:encode-quality -- --retriever FOLDER --sets FOLDER,… [--tokens 64] [--queries 200] [--depth 50] [--threads N]
 *         [--out FILE]
 *
 * Of each data set, test queries, evenly spaced, rank a pool of documents: the relevant ones of these queries, and the best of BM25 for each
 * of them, which are the hardest to tell from the relevant. Documents are cut to `--tokens`. Queries and documents are encoded in f32 and in
 * int8. The file has nDCG@10 of both with a paired randomisation test, and the mean cosine of the vectors of the two. Results of other data sets
 * in it stay, if they were measured with the same model and numbers.
 * `npm run docs` makes the table of docs/performance.md from it.
 */

import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadData } from '../src/data/load.ts';
import type { Run } from '../src/eval/ranking.ts';
import { compareRuns } from '../src/eval/significance.ts';
import { loadRetriever } from '../src/models/folder/model-folder.ts';
import { ENCODE_DTYPES } from '../src/models/retriever/encode-dtype.ts';
import type { Side } from '../src/models/retriever/retriever.ts';
import { retrievalTask, retrieveLexical } from '../src/retrieval/retrieve.ts';
import { defaultThreads } from '../src/runtime/devices.ts';
import { type Machine, startMachine, writeResult } from './result-file.ts';

/** Quality on one data set. */
export interface EncodeQuality {
  readonly data: string;
  readonly queries: number;
  /** Documents of the pool. */
  readonly documents: number;
  /** nDCG@10 by dtype. */
  readonly f32: number;
  readonly int8: number;
  /** Two-sided p-value of the difference, by a paired randomisation test over the queries. */
  readonly pValue: number;
  /** Bounds of the difference int8 − f32 with a coverage of 0.95, by bootstrap over the queries. */
  readonly interval: readonly [low: number, high: number];
  /** Mean cosine of a document's vector in int8 with that in f32. */
  readonly cosine: number;
}

/** Content of bench/results/encode-quality.json. */
export interface EncodeQualityResults extends Machine {
  readonly model: string;
  readonly tokens: number;
  /** Best documents of BM25 for each query. */
  readonly depth: number;
  /** Largest number of queries of a data set. */
  readonly mostQueries: number;
  readonly results: readonly EncodeQuality[];
}

const METRIC = 'ndcg@10';

const { values: options } = parseArgs({
  options: {
    retriever: { type: 'string' },
    sets: { type: 'string' },
    tokens: { type: 'string', default: '64' },
    queries: { type: 'string', default: '200' },
    depth: { type: 'string', default: '50' },
    threads: { type: 'string', default: String(defaultThreads()) },
    out: { type: 'string', default: fileURLToPath(new URL('results/encode-quality.json', import.meta.url)) },
  },
});
const { retriever: model, sets } = options;
const folders = sets?.split(',') ?? [];
if (model === undefined || folders.length === 0) {
  console.error(
    'encode-quality: the model or the data are missing\n  help: --retriever FOLDER --sets FOLDER,…',
  );
  process.exit(2);
}
const [tokens, depth, threads] = [options.tokens, options.depth, options.threads].map(Number) as [
  number,
  number,
  number,
];

const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

async function quality(folder: string): Promise<EncodeQuality> {
  const data = await loadData(folder);
  const task = retrievalTask(data, 'test', { limitQueries: Number(options.queries) });
  const lexical = await retrieveLexical('bm25', data, task, { topK: depth });
  const pool = new Set<string>();
  for (const [queryId, grades] of task.qrels) {
    for (const [docId, grade] of grades)
      if (grade > 0 && data.corpus.row(docId) !== undefined) pool.add(docId);
    for (const { docId } of lexical.get(queryId) ?? []) pool.add(docId);
  }
  const docIds = [...pool];
  const texts: Record<Side, string[]> = {
    query: Array.from(task.queryRows, (row) => data.queries.text(row)),
    document: docIds.map((id) => data.corpus.text(data.corpus.row(id)!)),
  };
  const runs: Run[] = [];
  const vectors: Float32Array[] = [];
  let D = 0;
  for (const encodeDtype of ENCODE_DTYPES) {
    const retriever = await loadRetriever(model!, { encodeDtype, maxTokens: { document: tokens } });
    D = retriever.dimension;
    const queries = await retriever.encode('query', texts.query, { threads });
    const documents = await retriever.encode('document', texts.document, { threads });
    const ranked = Array.from(task.queryRows, (row, i) => {
      const query = queries.subarray(i * D, (i + 1) * D);
      const scored = docIds.map((docId, n) => ({
        docId,
        score: dot(query, documents.subarray(n * D, (n + 1) * D)),
      }));
      return [data.queries.id(row), scored] as const;
    });
    runs.push(new Map(ranked));
    vectors.push(documents);
    await retriever.dispose();
  }
  const [f32, int8] = vectors as [Float32Array, Float32Array];
  const cosines = docIds.map((_, n) => {
    const [a, b] = [f32, int8].map((all) => all.subarray(n * D, (n + 1) * D)) as [Float32Array, Float32Array];
    return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  });
  const { meanA, meanB, randomisation, interval } = compareRuns(task.qrels, runs[1]!, runs[0]!, METRIC);
  return {
    ...{ data: data.name, queries: task.queryRows.length, documents: docIds.length },
    ...{ f32: meanB, int8: meanA, pValue: randomisation.pValue },
    interval: [interval.low, interval.high],
    cosine: cosines.reduce((sum, cosine) => sum + cosine, 0) / cosines.length,
  };
}

const machine = startMachine(threads);
const settings = {
  model: model.split('/').filter(Boolean).at(-1)!,
  ...{ tokens, depth, mostQueries: Number(options.queries) },
};
const former = existsSync(options.out)
  ? (JSON.parse(readFileSync(options.out, 'utf8')) as EncodeQualityResults)
  : undefined;
const isSame = former && Object.entries(settings).every(([name, value]) => former[name as 'model'] === value);
const results = new Map((isSame ? former.results : []).map((each) => [each.data, each]));
for (const folder of folders) {
  const found = await quality(folder);
  results.set(found.data, found);
  console.error(
    `${found.data}: ${found.queries} queries, ${found.documents} documents: nDCG@10 ${found.f32.toFixed(4)} in f32, ` +
      `${found.int8.toFixed(4)} in int8 (p ${found.pValue.toFixed(3)}), mean cosine ${found.cosine.toFixed(4)}`,
  );
  const written: EncodeQualityResults = { ...machine(), ...settings, results: [...results.values()] };
  writeResult(written, { out: options.out });
}
