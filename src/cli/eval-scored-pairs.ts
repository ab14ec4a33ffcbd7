import type { READ_OPTIONS } from '../data/load-options.ts';
import { loadScoredPairs } from '../data/scored-pairs.ts';
import { checkPairMetrics, evaluateScoredPairs, PAIR_METRICS } from '../retrieval/evaluate-scored-pairs.ts';
import { isLexical } from '../text/lexical-rankers.ts';
import { UsageError } from '../util/errors.ts';
import { count, formatDuration } from '../util/format.ts';
import type { GivenOptions } from '../util/option-table.ts';
import type { Io } from './io.ts';
import { loadModel, type ModelChoices, readOptions, showProgress } from './model-source.ts';
import { computeOptions } from './shared-options.ts';

interface PairOptions extends GivenOptions<typeof READ_OPTIONS>, ModelChoices {
  readonly model: string;
  readonly data: string;
  readonly split: string;
  readonly metrics: readonly string[];
  readonly limitQueries: number | undefined;
  readonly runFile: string | undefined;
  readonly compare: string | undefined;
  readonly device: string;
  readonly threads: number | undefined;
}

/** Tests whether at least one of the metrics is a metric of scored pairs. */
export const isPairMetrics = (metrics: readonly string[]): boolean =>
  metrics.some((name) => PAIR_METRICS.some((known) => known === name));

/** Runs `undrift eval --metrics spearman`: correlates cosines with the scores of the pairs. */
export async function evalScoredPairs(options: PairOptions, io: Io) {
  checkPairMetrics(options.metrics);
  if (isLexical(options.model))
    throw new UsageError(`${options.model} gives scored pairs no cosines`, { help: 'name a model' });
  const other =
    options.runFile !== undefined ? '--run-file' : options.compare !== undefined ? '--compare' : undefined;
  if (other) throw new UsageError(`${other} is for retrieval, not for scored pairs`);
  const retriever = await loadModel(options.model, io, [], options);
  const data = await loadScoredPairs(options.data, readOptions(io, options));
  io.finishProgress();
  for (const note of data.notes) io.log(`note: ${note}`);
  const startMs = performance.now();
  const { metrics: all, pairs } = await evaluateScoredPairs(retriever, data, options.split, {
    limitPairs: options.limitQueries,
    onProgress: showProgress(io),
    ...computeOptions(options),
  });
  await retriever.dispose();
  io.finishProgress();
  const seconds = (performance.now() - startMs) / 1000;
  const metrics = Object.fromEntries(Object.entries(all).filter(([name]) => options.metrics.includes(name)));
  const { fingerprint, name } = data;
  return {
    json: {
      model: options.model,
      data: name,
      split: options.split,
      metrics,
      pairs,
      fingerprint,
      seconds: Number(seconds.toFixed(3)),
    },
    text: `${Object.entries(metrics)
      .map(([metric, value]) => `${metric.padEnd(10)} ${value.toFixed(4)}\n`)
      .join('')}${count(pairs)} pairs of ${name}/${options.split}, ${formatDuration(seconds * 1000)}\n`,
  };
}
