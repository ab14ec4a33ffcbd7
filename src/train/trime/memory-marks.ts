import type { WindowBatch } from '../../text/packed-windows.ts';

/**
 * Memories of TRIME:
 *
 * - `local`: the earlier tokens of the same piece of a document
 * - `long`: the earlier tokens of the same document in the batch
 * - `external`: the tokens of all other pieces in the batch and, in some batches, the earlier ones of the same piece. With `otherDocuments`,
 *   the tokens of other documents and, in some batches, the earlier ones of the same document
 */
export const TRIME_MEMORIES = ['local', 'long', 'external'] as const;

/** Memory with which a model is trained. */
export type TrimeMemory = (typeof TRIME_MEMORIES)[number];

/**
 * Marks the tokens of a batch for a memory, as `memorySoftmaxLoss` reads them: i64[B, T, 3], of each place the token after it, its group,
 * and its place in the group. A place finds the earlier ones of its group and, with the external memory, all of other groups. Places that
 * predict nothing, such as padding, have the group −1.
 *
 * The token of a memory that stands at place j predicts token j + 1, and is found by places i > j only. They have read token j + 1.
 *
 * @param memory  `none` for an empty memory
 * @param options.local  external memory: whether the earlier tokens of the same piece are found too. Default true
 * @param options.otherDocuments  external memory: whether a document is one group, instead of each of its pieces. Default false
 */
export function memoryMarks(
  { ids, mask, documents, rows, positions, batch, tokens }: WindowBatch,
  memory: TrimeMemory | 'none',
  {
    local = true,
    otherDocuments = false,
  }: { readonly local?: boolean; readonly otherDocuments?: boolean } = {},
): BigInt64Array<ArrayBuffer> {
  const marks = new BigInt64Array(3 * batch * tokens);
  const hasOrder = memory !== 'external' || local;
  const byDocument = memory === 'long' || (memory === 'external' && otherDocuments);
  let piece = 0;
  for (let at = 0; at < batch * tokens; at++) {
    if (at > 0 && (at % tokens === 0 || documents[at] !== documents[at - 1])) piece += 1;
    const predicts =
      (at + 1) % tokens !== 0 && mask[at] === 1 && mask[at + 1] === 1 && documents[at] === documents[at + 1];
    const isKept = predicts && memory !== 'none';
    marks[3 * at] = predicts ? BigInt(ids[at + 1]!) : 0n;
    marks[3 * at + 1] = isKept ? BigInt(byDocument ? rows[at]! : piece) : -1n;
    marks[3 * at + 2] = isKept && hasOrder ? BigInt(positions[at]!) : 0n;
  }
  return marks;
}
