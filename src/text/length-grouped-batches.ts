import { UsageError } from '../util/errors.ts';

export interface LengthGroupedBatchesOptions {
  batchSize: number;
  /** Batches that are formed together (50): more waste less padding and mix less well. */
  windowBatches?: number;
  /** Leave out the last rows of `order` that do not fill a batch (false). */
  dropLast?: boolean;
}

/**
 * Batches of texts of similar length, so that little of a padded batch is padding.
 *
 * The shuffled rows are taken in windows of `windowBatches` batches. A window is sorted by length, cut into batches, and
 * its batches come in the order in which their shortest texts stand in `order`: as random as `order` is. No random numbers
 * are drawn here, so the same permutation gives the same batches.
 *
 * @param lengths Tokens of each text, [N].
 * @param order Rows in random order: every row of an epoch once.
 * @returns Rows of each batch. Every row of `order` is in one batch; the smaller batch, if any, is in the last window.
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
