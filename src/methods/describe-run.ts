import { describeRefresh, parseRefreshPolicy } from '../cache/refresh-policy.ts';
import { formatBytes } from '../util/format.ts';
import type { RunPlan } from './method.ts';
import type { TableOptions } from './table-options.ts';
import { tableRows } from './table-rows.ts';

/** Documents that a method will embed. */
export interface EncodePlan {
  /** Before the first step. */
  readonly before?: number;
  /** With each batch. */
  readonly perBatch: number;
  /** With each update, whatever the number of its batches. */
  readonly perUpdate?: number;
  /** So many more with every n-th update. */
  readonly every?: readonly { readonly updates: number; readonly documents: number }[];
  /** Fewer are possible: the same document may be chosen for several queries. */
  readonly atMost?: boolean;
}

/** "documents embedded: 4,096 before the first step, up to 32 a step, 4,096 every 100 steps; up to 11,392 in all" */
export function describeEncodes(plan: RunPlan, encodes: EncodePlan): string {
  const { before = 0, perBatch, perUpdate = 0, every = [], atMost = false } = encodes;
  const upTo = atMost ? 'up to ' : '';
  const perStep = perBatch * plan.accumulate + perUpdate;
  const times = (updates: number) => Math.floor(plan.updates / updates);
  const periodic = every.filter(({ updates }) => times(updates) > 0);
  const total =
    before +
    perStep * plan.updates +
    periodic.reduce((sum, { updates, documents }) => sum + documents * times(updates), 0);
  const parts = [
    ...(before > 0 ? [`${count(before)} before the first step`] : []),
    `${upTo}${count(perStep)} a step`,
    ...periodic.map(({ updates, documents }) => `${count(documents)} every ${count(updates)} steps`),
  ];
  return `documents embedded: ${parts.join(', ')}; ${upTo}${count(total)} in all`;
}

/** Documents that a batch brings itself: positives, and negatives of the data. */
export const batchDocuments = ({ batchSize, negativesPerQuery }: RunPlan): number =>
  batchSize * (1 + negativesPerQuery);

/** Negatives that a query finds in its batch. */
export function inBatchNegatives(plan: RunPlan): string {
  const given = plan.negativesPerQuery > 0 ? ' and negatives of the data' : '';
  return `${plural(batchDocuments(plan) - 1, 'negative')} a query: the other positives${given} of its batch`;
}

/** What a run over a score table trains against, how the table is kept, and what that costs. */
export function describeTable(plan: RunPlan): string[] {
  const options = plan.options as TableOptions;
  const { batchSize: B, documents: N, dimension: D, negativesPerQuery } = plan;
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
      options.prefill ? 'filled before the first step' : 'empty at first',
      ...(snapshotEvery ? [`other documents, drawn at random, every ${count(snapshotEvery)} steps`] : []),
      ...describeRefresh(policy),
    ].join('; ')}`,
    ...(options.corrector ? [describeCorrection(options, { rows, teaching })] : []),
    describeEncodes(plan, {
      before: options.prefill ? rows : 0,
      perBatch: perBatch * again,
      perUpdate: policy.fraction ? Math.ceil(policy.fraction.ratio * rows) : 0,
      every: every.flatMap((updates) => (updates ? [{ updates, documents: rows }] : [])),
      atMost: true,
    }),
  ];
}

/** What moves the rows of a table, how many, and what it learns from. */
function describeCorrection(
  options: TableOptions,
  { rows, teaching }: { rows: number; teaching: number },
): string {
  const { corrector: kind = 'identity', correctedRows = 0, correctedFrom, uniformSteps = 0 } = options;
  const part = correctedRows > 0 && correctedRows < rows;
  const which = part
    ? `${count(correctedRows)} rows, ${correctedFrom === 'shortlist' ? 'half of them the nearest to the queries' : 'at random'},`
    : 'all rows';
  return [
    `${kind === 'identity' ? `${which} drawn from as they are` : `${which} moved by ${kind} before each step`}`,
    `it learns from what a step embeds${teaching > 0 ? ` and ${plural(teaching, 'random document')}` : ''}`,
    ...(uniformSteps > 0 ? [`the first ${plural(uniformSteps, 'step')} with uniform negatives`] : []),
  ].join('; ');
}

/** What a run on mined negatives trains against, who mines, and what that costs. */
export function describeMining(plan: RunPlan, { from, every }: { from: string; every: number }): string[] {
  const { samples = 1, rankFrom = 0, rankTo = 0 } = plan.options;
  // BM25 embeds nothing, and a given model embeds all documents before the first step.
  const each = plan.documents;
  const embeds = from !== 'bm25';
  return [
    `${inBatchNegatives(plan)}, and ${count(samples)} mined for each of its queries`,
    `mined from the ranks ${count(rankFrom)} to ${count(rankTo - 1)} of ${from === 'bm25' ? 'BM25' : from === 'self' ? 'the model itself' : from} before the first step` +
      `${every > 0 ? `, and by the weights as they then are every ${plural(every, 'step')}` : ''}`,
    describeEncodes(plan, {
      before: embeds ? each : 0,
      perBatch: batchDocuments(plan) + plan.batchSize * samples,
      every: every > 0 ? [{ updates: every, documents: each }] : [],
      atMost: true,
    }),
  ];
}

function chosen({ sampler, rankFrom, rankTo }: TableOptions): string {
  if (sampler === 'top') return 'of the highest scores';
  if (sampler === 'uniform') return 'drawn uniformly';
  if (sampler === 'softmax') return 'drawn by the softmax of their scores';
  return `of the ranks ${count(rankFrom)} to ${count(rankTo - 1)} by score`;
}

export const count = (value: number): string => value.toLocaleString('en-US');

export const plural = (value: number, one: string): string =>
  `${count(value)} ${one}${value === 1 ? '' : 's'}`;
