import { basename } from 'node:path';
import { loadData } from '../data/load.ts';
import { DATA_HELP, READ_OPTIONS } from '../data/load-options.ts';
import type { RetrievalData } from '../data/retrieval-data.ts';
import { parseMetrics } from '../eval/metric-spec.ts';
import { evaluate } from '../eval/metrics.ts';
import { formatComparison, formatMetrics } from '../eval/report.ts';
import { readRunFile, writeRunFile } from '../eval/run-file.ts';
import { compareRuns } from '../eval/significance.ts';
import { requireId } from '../eval/text-fields.ts';
import { BASELINE, BASELINE_DOCUMENTS, measureBaseline } from '../retrieval/baseline.ts';
import {
  evaluateLexical,
  evaluateRetriever,
  type RetrieverEvaluation,
  searchDepth,
} from '../retrieval/evaluate-retriever.ts';
import { RERANK_OPTIONS, rerankRun } from '../retrieval/rerank.ts';
import { BASELINE_OPTIONS, RANKING_OPTIONS, SPLIT_OPTIONS } from '../retrieval/retrieval-options.ts';
import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { BM25_OPTIONS } from '../text/bm25-options.ts';
import { ownLexicalOptions } from '../text/lexical-rankers.ts';
import { COMMON_RANGES } from '../util/common-options.ts';
import { UsageError } from '../util/errors.ts';
import { count, formatDuration } from '../util/format.ts';
import type { OptionTable, OptionValues } from '../util/option-table.ts';
import { type CommandResult, defineCommand } from './command.ts';
import { evalScoredPairs, isPairMetrics } from './eval-scored-pairs.ts';
import { EVAL_STORE_OPTIONS, evalStore } from './eval-store.ts';
import type { Io } from './io.ts';
import { LEXICAL_HELP, LEXICAL_WORDS, lexicalOptions, lexicalRanker } from './lexical-model.ts';
import { loadCrossEncoderModel, loadModel, MODEL_HELP, readOptions, showProgress } from './model-source.ts';
import { refuseOthers } from './refuse-others.ts';
import { computeOptions, ENCODING_OPTIONS, PROMPT_OPTIONS } from './shared-options.ts';

/** Default number of documents kept for each query, as is usual in run files. */
const RUN_DEPTH = 100;

const OPTIONS = {
  model: { type: 'text', value: 'model', help: `${LEXICAL_HELP}, or ${MODEL_HELP}` },
  data: { type: 'text', value: 'folder', required: true, help: DATA_HELP },
  ...EVAL_STORE_OPTIONS,
  ...RERANK_OPTIONS,
  split: { type: 'text', value: 'name', default: 'test', help: 'queries of this split' },
  metrics: { ...SPLIT_OPTIONS.metrics, default: ['ndcg@10', 'mrr@10', 'recall@100'] },
  topK: {
    ...RANKING_OPTIONS.topK,
    help: `documents for each query (default: ${RUN_DEPTH}, or the largest cutoff of the metrics)`,
  },
  limitQueries: SPLIT_OPTIONS.limitQueries,
  missing: SPLIT_OPTIONS.missingQueries,
  dropSameId: RANKING_OPTIONS.dropSameId,
  runFile: { type: 'text', value: 'file', help: 'write the results as a TREC run file' },
  compare: {
    type: 'text',
    value: 'run file',
    help: 'run file of the same queries to test against, for a significant difference of the first metric',
  },
  seed: { ...COMMON_RANGES.seed, help: 'seed of the significance test' },
  ...READ_OPTIONS,
  ...ENCODING_OPTIONS,
  ...PROMPT_OPTIONS,
  ...BASELINE_OPTIONS,
  ...BM25_OPTIONS,
  ...COMPUTE_OPTIONS,
} as const satisfies OptionTable;

/** The command `undrift eval`: measures a retriever, BM25 or TF-IDF on a split. */
export const evalCommand = defineCommand({
  description:
    'Encodes all documents and the queries of the split, searches exactly, and computes metrics as trec_eval does. ' +
    'BM25 stands beside every other model, as the figure to exceed; --no-baseline leaves it out. ' +
    'Metrics: ndcg@10, ndcg_exp@10 (gain 2^grade − 1), mrr@10, map, recall@100, precision@10, success@5, judged@10. ' +
    'For pairs of texts with a score (sentence1, sentence2, score) the metrics are spearman and pearson: correlations of cosines and scores.',
  options: OPTIONS,
  examples: [
    '--model bm25 --data data/api-docs',
    '--model runs/first --data data/api-docs --split dev --metrics ndcg@10,recall@100 --json',
    '--model runs/first --data data/api-docs --run-file first.run --compare bm25.run',
    '--model bm25 --rerank runs/reranker --data data/api-docs --split dev',
    '--store stores/docs --data data/api-docs --tune-on dev --check',
    '--model runs/pairs --data sts.jsonl --metrics spearman,pearson',
  ],
  async run(options, io) {
    if (options.store !== undefined) {
      if (options.model !== undefined) throw new UsageError('--model and --store exclude each other');
      refuseOthers(OPTIONS, options, { allowed: STORE_NAMES, purpose: 'an evaluation of a store' });
      return await evalStore(options, io, computeOptions(options));
    }
    const allowed = Object.keys(OPTIONS).filter((name) => !(name in EVAL_STORE_OPTIONS));
    refuseOthers(OPTIONS, options, { allowed, purpose: 'an evaluation without --store' });
    const { model } = options;
    if (model === undefined) throw new UsageError('--model is missing');
    const named = { ...options, model };
    if (!isPairMetrics(options.metrics)) return await evalModel(named, io);
    if (options.rerank !== undefined)
      throw new UsageError('--rerank has no meaning for pairs with a score each');
    lexicalRanker(named); // refuses options of BM25, which have no part in this
    return await evalScoredPairs(named, io);
  },
});

/** Options that an evaluation of a store takes. */
const STORE_NAMES = [
  ...Object.keys(EVAL_STORE_OPTIONS),
  ...Object.keys(RERANK_OPTIONS),
  ...Object.keys(READ_OPTIONS),
  ...Object.keys(COMPUTE_OPTIONS),
  ...['data', 'split', 'metrics', 'limitQueries', 'seed'],
];

/** Measures a model, BM25 or TF-IDF. */
async function evalModel(
  options: OptionValues<typeof OPTIONS> & { readonly model: string },
  io: Io,
): Promise<CommandResult> {
  const metrics = parseMetrics(options.metrics).map(({ name }) => name);
  // The run file is read first, so that a missing file is reported before the evaluation.
  const other = options.compare === undefined ? undefined : await readRunFile(options.compare);
  const compared = options.baseline && options.model !== 'bm25';
  const ranker = lexicalRanker(options, compared);
  const retriever = ranker ? undefined : await loadModel(options.model, io, LEXICAL_WORDS, options);
  const data = await loadData(options.data, { splits: [options.split], ...readOptions(io, options) });
  io.finishProgress();
  for (const note of data.notes) io.log(`note: ${note}`);

  // Ids in a run file must not contain spaces; this is checked before the evaluation.
  if (options.runFile !== undefined) {
    for (let row = 0; row < data.corpus.size; row++) requireId('document id', data.corpus.id(row));
    for (const id of data.qrels(options.split).keys()) requireId('query id', id);
  }

  const looked = searchDepth(metrics);
  if (options.topK !== undefined && options.topK < looked)
    io.log(`note: the metrics look at ${looked} documents for each query, and --top-k keeps ${options.topK}`);
  const startMs = performance.now();
  const common = {
    metrics,
    topK: options.topK ?? Math.max(RUN_DEPTH, looked),
    limitQueries: options.limitQueries,
    missingQueries: options.missing,
    dropSameId: options.dropSameId,
    onProgress: showProgress(io),
  };
  const first = retriever
    ? await evaluateRetriever(retriever, data, options.split, { ...common, ...computeOptions(options) })
    : await evaluateLexical(ranker!, data, options.split, {
        ...common,
        ...ownLexicalOptions(ranker!, options),
      });
  await retriever?.dispose();
  const reranking = await measureReranked(first, data, metrics, options, io);
  const evaluation = reranking?.evaluation ?? first;
  const name = reranking ? `${options.model} + rerank` : options.model;
  const baseline = compared
    ? await measureBaseline(data, options.split, { ...common, ...lexicalOptions(options) })
    : undefined;
  io.finishProgress();
  if (compared && !baseline) {
    io.log(
      `note: BM25 is left out beside the model, as for every corpus of more than ${count(BASELINE_DOCUMENTS)} documents: ` +
        'measure it with --model bm25',
    );
  }
  const seconds = (performance.now() - startMs) / 1000;

  if (options.runFile !== undefined) {
    await writeRunFile(options.runFile, evaluation.run, { tag: runTag(options.model) });
  }
  const comparison =
    other &&
    compareRuns(evaluation.task.qrels, evaluation.run, other, metrics[0]!, {
      seed: options.seed,
      missingQueries: options.missing,
    });
  const json = {
    model: options.model,
    data: data.name,
    split: options.split,
    metrics: evaluation.metrics,
    ...(reranking && { rerank: reranking.json }),
    baseline: baseline ? { model: 'bm25', metrics: baseline } : null,
    queries: evaluation.queries,
    documents: data.corpus.size,
    missingQueries: evaluation.missingQueries,
    queriesWithoutRelevant: evaluation.queriesWithoutRelevant,
    topK: common.topK,
    fingerprint: data.fingerprint,
    seconds: Number(seconds.toFixed(3)),
    ...(options.runFile !== undefined && { runFile: options.runFile }),
    ...(comparison && { comparison }),
  };
  const counts =
    `${count(evaluation.queries)} queries of ${data.name}/${options.split}, ` +
    `${count(data.corpus.size)} documents, ${formatDuration(seconds * 1000)}\n`;
  const text =
    formatMetrics([
      { name, metrics: evaluation.metrics },
      ...(reranking ? [{ name: options.model, metrics: first.metrics }] : []),
      ...(baseline ? [{ name: BASELINE, metrics: baseline }] : []),
    ]) +
    counts +
    remarks(evaluation, options.missing) +
    (reranking ? `\n${formatComparison(reranking.comparison, name, options.model)}` : '') +
    (comparison ? `\n${formatComparison(comparison, name, basename(options.compare!))}` : '');
  return { json, text };
}

/** Measures the documents that were found again, reranked by the cross-encoder of `--rerank`, if there is one. */
async function measureReranked(
  first: RetrieverEvaluation,
  data: RetrievalData,
  metrics: readonly string[],
  options: OptionValues<typeof OPTIONS>,
  io: Io,
) {
  const { rerank, rerankDepth: depth, missing: missingQueries, seed } = options;
  if (rerank === undefined) return undefined;
  const crossEncoder = await loadCrossEncoderModel(rerank, io, 'rerank');
  const run = await rerankRun(crossEncoder, data, first.run, {
    depth,
    ...computeOptions(options),
    onProgress: showProgress(io),
  });
  await crossEncoder.dispose();
  const { qrels } = first.task;
  const evaluation: RetrieverEvaluation = {
    ...evaluate(qrels, run, { metrics, missingQueries }),
    run,
    task: first.task,
  };
  const comparison = compareRuns(qrels, run, first.run, metrics[0]!, { seed, missingQueries });
  return { evaluation, comparison, json: { model: rerank, depth, before: first.metrics, comparison } };
}

function remarks({ missingQueries, queriesWithoutRelevant }: RetrieverEvaluation, missing: string): string {
  const counted = missing === 'zero' ? 'they count as zero' : 'they are left out';
  return (
    (missingQueries > 0 ? `${missingQueries} queries found nothing: ${counted}\n` : '') +
    (queriesWithoutRelevant > 0
      ? `${queriesWithoutRelevant} queries have no relevant document and count as zero\n`
      : '')
  );
}

/** Makes the tag, the last column of a run file, which must not contain spaces. */
const runTag = (model: string): string => basename(model).replace(/\s+/g, '-') || 'undrift';
