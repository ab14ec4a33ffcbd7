import { count, plural } from '../../util/format.ts';
import type { RunPlan } from './method.ts';

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
