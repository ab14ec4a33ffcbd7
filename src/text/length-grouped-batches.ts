import { UsageError } from '../util/errors.ts';

/** Settings of {@link lengthGroupedBatches}. */
export interface LengthGroupedBatchesOptions {
  /** Rows of a batch. */
  batchSize: number;
  /** Batches formed together. Default 50. A larger window means less padding and less random batches. */
  windowBatches?: number;
  /** Drop the last rows of `order` that do not fill a batch. Default false. */
  dropLast?: boolean;
}

/**
 * Groups texts of similar length into batches, so that padded batches hold little padding.
 *
 * The shuffled rows are taken in windows of `windowBatches` batches. Each window is sorted by length and cut
 * into batches. The batches of a window are ordered by the first position in `order` of any of their shortest
 * texts, so their order is as random as `order`. The function draws no random numbers: one permutation always
 * gives the same batches.
 *
 * @param lengths  tokens of each text, [N]
 * @param order  rows in random order; every row of an epoch once
 * @returns rows of each batch. Every row of `order` is in exactly one batch, except rows that `dropLast`
 *   drops. A smaller batch, if any, is in the last window.
 * @throws UsageError when a size is not a whole number ≥ 1 or `order` names a row that `lengths` lacks
 */
export function lengthGroupedBatches(
  lengths: ArrayLike<number>,
  order: Uint32Array,
  options: LengthGroupedBatchesOptions,
): Uint32Array[] {
  const { batchSize, windowBatches = 50, dropLast = false } = options;
  for (const [name, value] of Object.entries({ batchSize, windowBatches })) {
    if (!Number.isInteger(value) || value < 1) {
      throw new UsageError(`${name} must be a whole number ≥ 1, found ${value}`);
    }
  }
  const unknown = order.find((row) => row >= lengths.length);
  if (unknown !== undefined)
    throw new UsageError(`row ${unknown} of the order is not among ${lengths.length} texts`);
  const count = dropLast ? order.length - (order.length % batchSize) : order.length;
  const batches: Uint32Array[] = [];
  const windowRows = batchSize * windowBatches;
  for (let start = 0; start < count; start += windowRows) {
    const end = Math.min(start + windowRows, count);
    const positions = Uint32Array.from({ length: end - start }, (_, i) => start + i).sort(
      (x, y) => lengths[order[x]!]! - lengths[order[y]!]! || x - y,
    );
    const cuts = Array.from({ length: Math.ceil(positions.length / batchSize) }, (_, i) =>
      positions.subarray(i * batchSize, (i + 1) * batchSize),
    );
    cuts.sort((x, y) => x[0]! - y[0]!);
    for (const cut of cuts) batches.push(cut.map((position) => order[position]!));
  }
  return batches;
}
