import { type MaskedSlots, maskedSlots } from '../../cache/masks.ts';
import type { DuplicateMap } from '../../data/text-identity.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';

/**
 * Computes which candidates may stand in a query's softmax: all except its right answers other than its own target, so that no
 * query is pushed away from a right answer.
 *
 * @param queryRows  i32[B]: query rows; the target of query i is candidate i
 * @param documentRows  i32[C]: document rows of the candidates, the B targets first
 * @param known.positives  returns the known positives of a query row
 * @param known.duplicates  returns the documents with the same text as a document, where the corpus repeats itself
 * @param known.table  further candidates: the filled slots of a table, except the masked ones
 * @returns  bool[B, C + filled]
 */
export function allowedCandidates(
  queryRows: Int32Array,
  documentRows: Int32Array,
  known: {
    positives: (queryRow: number) => Int32Array;
    duplicates?: DuplicateMap;
    table?: { filled: number; masked: MaskedSlots };
  },
): HostTensor {
  const { positives, duplicates, table } = known;
  const [B, C] = [queryRows.length, documentRows.length];
  const width = C + (table?.filled ?? 0);
  const allowed = new Uint8Array(B * width).fill(1);
  const columns = new Map<number, number[]>();
  for (const [column, row] of documentRows.entries()) {
    const list = columns.get(row);
    if (list) list.push(column);
    else columns.set(row, [column]);
  }
  for (const [i, queryRow] of queryRows.entries()) {
    const forbid = (document: number) => {
      for (const column of columns.get(document) ?? []) if (column !== i) allowed[i * width + column] = 0;
    };
    for (const positive of [documentRows[i]!, ...positives(queryRow)]) {
      forbid(positive);
      if (duplicates) Array.from(duplicates(positive)).forEach(forbid);
    }
    if (table) for (const slot of maskedSlots(table.masked, i)) allowed[i * width + C + slot] = 0;
  }
  return hostTensor('bool', [B, width], allowed);
}
