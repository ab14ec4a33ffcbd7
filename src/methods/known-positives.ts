import type { DuplicateMap } from '../cache/masks.ts';
import { type HostTensor, hostTensor } from '../runtime/host-tensor.ts';

/**
 * Which candidates may stand in a query's softmax: all but its known positives other than its own target, so that no query is
 * pushed away from a right answer.
 *
 * @param queryRows  B queries; the target of query i is candidate i
 * @param documentRows  C candidates, the B targets first
 * @param positives  known positives of a query
 * @param duplicates  documents of the same text, where the corpus repeats itself
 * @returns  bool[B, C]
 */
export function allowedCandidates(
  queryRows: Int32Array,
  documentRows: Int32Array,
  positives: (queryRow: number) => Int32Array,
  duplicates?: DuplicateMap,
): HostTensor {
  const [B, C] = [queryRows.length, documentRows.length];
  const allowed = new Uint8Array(B * C).fill(1);
  const columns = new Map<number, number[]>();
  for (const [column, row] of documentRows.entries()) {
    const list = columns.get(row);
    if (list) list.push(column);
    else columns.set(row, [column]);
  }
  for (const [i, queryRow] of queryRows.entries()) {
    const forbid = (document: number) => {
      for (const column of columns.get(document) ?? []) if (column !== i) allowed[i * C + column] = 0;
    };
    for (const positive of positives(queryRow)) {
      forbid(positive);
      if (duplicates) Array.from(duplicates(positive)).forEach(forbid);
    }
  }
  return hostTensor('bool', [B, C], allowed);
}
