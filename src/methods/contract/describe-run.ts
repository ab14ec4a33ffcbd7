import { count, plural } from '../../util/format.ts';
import type { RunPlan } from './method.ts';

/** Numbers of documents that a method will embed. */
export interface EncodePlan {
  /** Documents before the first step. Default 0. */
  readonly before?: number;
  /** Documents of each batch. */
  readonly perBatch: number;
  /** Documents of each update, besides those of its batches. Default 0. */
  readonly perUpdate?: number;
  /** Additional documents of every n-th update. Default none. */
  readonly every?: readonly { readonly updates: number; readonly documents: number }[];
  /** Whether the numbers are upper bounds, because several queries may choose the same document. Default false. */
  readonly atMost?: boolean;
}

/**
 * Describes how many documents a run will embed: "documents embedded: 4,096 before the first step, up to 32 a step, 4,096 every
 * 100 steps; up to 11,392 in all".
 */
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

/** Counts the documents that a batch of the data holds: positives, and negatives of the data. */
export const batchDocuments = ({ batchSize, negativesPerQuery }: RunPlan): number =>
  batchSize * (1 + negativesPerQuery);

/** Describes how many negatives a query finds in its batch. */
export function inBatchNegatives(plan: RunPlan): string {
  const given = plan.negativesPerQuery > 0 ? ' and negatives of the data' : '';
  return `${plural(batchDocuments(plan) - 1, 'negative')} a query: the other positives${given} of its batch`;
}
