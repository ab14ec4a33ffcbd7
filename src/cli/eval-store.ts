import { findData } from '../data/find-data.ts';
import { lacksDocuments, loadData } from '../data/load.ts';
import type { READ_OPTIONS } from '../data/load-options.ts';
import { parseMetrics } from '../eval/metric-spec.ts';
import { sharedBest } from '../eval/ranking.ts';
import { formatMetrics } from '../eval/report.ts';
import { compareRuns } from '../eval/significance.ts';
import type { RERANK_OPTIONS } from '../retrieval/rerank.ts';
import type { SPLIT_OPTIONS } from '../retrieval/retrieval-options.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { evaluateStore, type StoreEvaluation, tuneDenseWeight } from '../store/evaluate-store.ts';
import { Store } from '../store/store.ts';
import { StoreSearcher, type StoreSearchOptions } from '../store/store-searcher.ts';
import { readStoredDocuments } from '../store/stored-documents.ts';
import { count, formatDuration } from '../util/format.ts';
import type { GivenOptions, OptionTable, OptionValues } from '../util/option-table.ts';
import type { CommandResult } from './command.ts';
import type { Io } from './io.ts';
import { loadCrossEncoderModel, readOptions, showProgress } from './model-source.ts';

/** Options of an evaluation of a store. */
export const EVAL_STORE_OPTIONS = {
  store: {
    type: 'text',
    value: 'folder',
    nonEmpty: true,
    help: 'store whose search to measure in every mode, in place of --model',
    group: 'Store',
  },
  tuneOn: {
    type: 'text',
    value: 'split',
    help: 'tune the weight of the vectors in a hybrid search on this split, and measure it too',
    group: 'Store',
  },
  check: {
    type: 'switch',
    default: false,
    help: 'measure the index for approximate search too: its recall of the exact search’s best passages',
    group: 'Store',
  },
} as const satisfies OptionTable;

type Options = GivenOptions<typeof READ_OPTIONS> &
  OptionValues<typeof EVAL_STORE_OPTIONS> &
  OptionValues<typeof RERANK_OPTIONS> & {
    readonly data: string;
    readonly split: string;
    readonly metrics: readonly string[];
    readonly seed: number;
    readonly limitQueries: OptionValues<typeof SPLIT_OPTIONS>['limitQueries'];
  };

interface Row {
  readonly name: string;
  readonly search: StoreSearchOptions;
  readonly evaluation: StoreEvaluation;
}

/** Depths at which approximate and exact search are compared. */
const CHECK_DEPTHS = [10, 100];

/** Measures the search in a store: by vectors, by words, by both, and approximately. */
export async function evalStore(options: Options, io: Io, compute: ComputeOptions): Promise<CommandResult> {
  const metrics = parseMetrics(options.metrics).map(({ name }) => name);
  const { split, limitQueries, seed, tuneOn } = options;
  const startMs = performance.now();
  const store = await Store.open(options.store!, { onNote: (note) => io.log(`note: ${note}`) });
  const splits = tuneOn === undefined ? [split] : [split, tuneOn];
  const reading = readOptions(io, options);
  const documents = (await lacksDocuments(await findData(options.data, reading)))
    ? await readStoredDocuments(await store.snapshot(), options.store!)
    : undefined;
  const data = await loadData(options.data, { splits, documents, ...reading });
  io.finishProgress();
  for (const note of data.notes) io.log(`note: ${note}`);
  const searcher = new StoreSearcher(store, compute);
  const measure = async (name: string, search: StoreSearchOptions): Promise<Row> => {
    const evaluation = await evaluateStore(store, searcher, data, split, {
      metrics,
      limitQueries,
      topK: 100,
      onProgress: ({ done, total }) => io.progress(`search, ${name}`, done, { total, unit: 'queries' }),
      ...search,
    });
    return { name, search, evaluation };
  };
  const dense = await measure('dense', { mode: 'dense' });
  const bm25 = await measure('bm25', { mode: 'bm25' });
  const hybrid = await measure('hybrid', { mode: 'hybrid', candidates: 100 });
  const rows = [dense, bm25, hybrid];
  const tuned =
    tuneOn === undefined
      ? undefined
      : await tuneDenseWeight(store, searcher, data, tuneOn, {
          metric: metrics[0]!,
          limitQueries,
          onProgress: showProgress(io),
        });
  if (tuned) {
    const { denseWeight } = tuned;
    rows.push(
      await measure(`hybrid, weight ${denseWeight}`, { mode: 'hybrid', candidates: 100, denseWeight }),
    );
  }
  const reranked = await measureReranked(options, rows.slice(2), { io, compute, measure });
  rows.push(...reranked);
  const approximate = options.check
    ? await measure('approximate', { mode: 'dense', approximate: true })
    : undefined;
  if (approximate) rows.push(approximate);
  await searcher.dispose();
  await store.close();
  io.finishProgress();

  const recall = approximate && recallOf(approximate.evaluation, dense.evaluation);
  const best = rows.slice(2).reduce((a, b) => (metricOf(b, metrics) > metricOf(a, metrics) ? b : a));
  const comparisons = [
    ...[dense, bm25].map((row) => compared(best, row, metrics[0]!, seed)),
    // Each reranked search against the one without.
    ...reranked.map((row) => {
      const before = rows.find(({ name }) => `${name}${RERANKED}` === row.name)!;
      return compared(row, before, metrics[0]!, seed);
    }),
  ];
  const seconds = (performance.now() - startMs) / 1000;
  return {
    json: {
      store: options.store,
      data: data.name,
      split,
      queries: dense.evaluation.queries,
      modes: Object.fromEntries(rows.map(({ name, evaluation }) => [name, evaluation.metrics])),
      ...(tuned && { tuned: { split: tuneOn, ...tuned } }),
      ...(recall && { approximateRecall: recall }),
      comparisons,
      fingerprint: data.fingerprint,
      seconds: Number(seconds.toFixed(3)),
    },
    text:
      formatMetrics(rows.map(({ name, evaluation }) => ({ name, metrics: evaluation.metrics }))) +
      `${count(dense.evaluation.queries)} queries of ${data.name}/${split}, ${formatDuration(seconds * 1000)}\n` +
      (recall
        ? `approximate search finds ${Object.entries(recall)
            .map(([name, value]) => `${(100 * value).toFixed(1)} % (${name})`)
            .join(', ')} of the exact search\n`
        : '') +
      comparisons.map(formatDifference).join(''),
  };
}

/** Tests the difference of two searches on the queries of both. */
function compared(of: Row, against: Row, metric: string, seed: number) {
  const { difference, randomisation } = compareRuns(
    of.evaluation.task.qrels,
    of.evaluation.run,
    against.evaluation.run,
    metric,
    { seed },
  );
  return { of: of.name, against: against.name, metric, difference, pValue: randomisation.pValue };
}

/** End of the names of reranked rows. */
const RERANKED = ' + rerank';

/** Measures the hybrid searches again, reranked by the cross-encoder of `--rerank`, if there is one. */
async function measureReranked(
  { rerank, rerankDepth: depth }: Options,
  rows: readonly Row[],
  {
    io,
    compute,
    measure,
  }: {
    io: Io;
    compute: ComputeOptions;
    measure: (name: string, search: StoreSearchOptions) => Promise<Row>;
  },
): Promise<Row[]> {
  if (rerank === undefined) return [];
  const crossEncoder = await loadCrossEncoderModel(rerank, io, 'rerank');
  const found: Row[] = [];
  for (const { name, search } of rows) {
    found.push(
      await measure(`${name}${RERANKED}`, { ...search, rerank: { crossEncoder, depth, ...compute } }),
    );
  }
  await crossEncoder.dispose();
  return found;
}

const metricOf = ({ evaluation }: Row, [metric]: readonly string[]): number => evaluation.metrics[metric!]!;

function formatDifference({
  of,
  against,
  metric,
  difference,
  pValue,
}: {
  of: string;
  against: string;
  metric: string;
  difference: number;
  pValue: number;
}): string {
  const sign = difference < 0 ? '−' : '+';
  return `${metric} of ${of} against ${against}: ${sign}${Math.abs(difference).toFixed(4)}, p ${pValue.toFixed(4)}\n`;
}

/** Computes the share of the exact search's best passages that another search finds, at each depth. */
const recallOf = (found: StoreEvaluation, exact: StoreEvaluation): Record<string, number> =>
  Object.fromEntries(
    CHECK_DEPTHS.map((depth) => [`recall@${depth}`, sharedBest(exact.run, found.run, depth)]),
  );
