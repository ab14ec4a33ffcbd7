import { candidatesPerQuery } from '../../cache/corrected-distribution.ts';
import { describeRefresh, parseRefreshPolicy } from '../../cache/refresh-policy.ts';
import { count, formatBytes, plural } from '../../util/format.ts';
import { describeEncodes } from '../contract/describe-run.ts';
import type { RunPlan } from '../contract/method.ts';
import { type TableOptions, tableRows } from './table-options.ts';

/** Describes a run over a score table: what it trains against, how the table is kept, and what that costs. */
export function describeTable(plan: RunPlan): string[] {
  const options = plan.options as TableOptions;
  const { batchSize: B, documents: N, dimension: D, negativesPerQuery, storedDocuments = 0 } = plan;
  const fromStore = storedDocuments > 0 ? ' with the vectors of the store' : '';
  const rows = tableRows(options.cacheSize, N);
  const { cacheStorage, samples, uniformSamples, loss, snapshotEvery } = options;
  const policy = parseRefreshPolicy(options.refresh);
  const whole = rows === N ? `all ${count(N)} documents` : `${count(rows)} of ${count(N)} documents`;
  const bytes = formatBytes(rows * D * (cacheStorage === 'f16' ? 2 : 4));
  const teaching = options.corrector ? Math.min(options.teachingSamples ?? 0, rows) : 0;
  const perBatch = B * (1 + samples + uniformSamples + negativesPerQuery) + teaching;
  const again = options.writeBackWithoutDropout && plan.dropoutRatio > 0 ? 2 : 1;
  const every = [snapshotEvery, policy.every, policy.async?.every];
  const uniform = uniformSamples > 0 ? ` and ${count(uniformSamples)} uniformly` : '';
  return [
    `${plural(samples, 'negative')} a query ${chosen(options)}${uniform}, from a table of ${whole} ` +
      `(${count(rows)} × ${count(D)} ${cacheStorage}, ${bytes}); loss form ${loss}`,
    `the table: ${[
      options.prefill ? `filled before the first step${fromStore}` : 'empty at first',
      ...(snapshotEvery ? [`other documents, drawn at random, every ${count(snapshotEvery)} steps`] : []),
      ...describeRefresh(policy),
    ].join('; ')}`,
    ...(options.corrector ? [describeCorrection(options, { rows, teaching, queries: B })] : []),
    describeEncodes(plan, {
      before: options.prefill ? Math.min(rows, N - storedDocuments) : 0,
      perBatch: perBatch * again,
      perUpdate: policy.fraction ? Math.ceil(policy.fraction.ratio * rows) : 0,
      every: every.flatMap((updates) => (updates ? [{ updates, documents: rows }] : [])),
      atMost: true,
    }),
  ];
}

/** Describes the corrector of a table: which rows it moves, and what it learns from. */
function describeCorrection(
  options: TableOptions,
  { rows, teaching, queries }: { rows: number; teaching: number; queries: number },
): string {
  const { corrector: kind = 'identity', correctedRows = 0, correctedFrom, uniformSteps = 0 } = options;
  const drawn = candidatesPerQuery(options.samples, queries, correctedRows);
  const part = correctedRows > 0 && correctedRows < rows;
  const which =
    options.search === 'index'
      ? `${plural(drawn, 'candidate')} a query`
      : part
        ? `${count(correctedRows)} rows, ${correctedFrom === 'shortlist' ? 'half of them the nearest to the queries' : 'at random'},`
        : 'all rows';
  return [
    `${kind === 'identity' ? `${which} drawn from as they are` : `${which} moved by ${kind} before each step`}`,
    `it learns from what a step embeds${teaching > 0 ? ` and ${plural(teaching, 'random document')}` : ''}`,
    ...(uniformSteps > 0 ? [`the first ${plural(uniformSteps, 'step')} with uniform negatives`] : []),
  ].join('; ');
}

function chosen({ sampler, search, rankFrom, rankTo }: TableOptions): string {
  if (sampler === 'top') return 'of the highest scores';
  if (sampler === 'uniform') return 'drawn uniformly';
  if (sampler === 'softmax')
    return `drawn by the softmax of their scores${search === 'index' ? ', found by an index' : ''}`;
  return `of the ranks ${count(rankFrom)} to ${count(rankTo - 1)} by score`;
}
