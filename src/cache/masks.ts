import type { DuplicateMap } from '../data/text-identity.ts';
import { UsageError } from '../util/errors.ts';
import { NONE } from '../util/vector-rows.ts';
import type { ScoreTable } from './score-table.ts';

/** Masked slots of B queries: query b masks `slots[offsets[b]] … slots[offsets[b + 1] − 1]`, ascending, each once. */
export interface MaskedSlots {
  /** u32[B + 1], positions in `slots`. */
  readonly offsets: Uint32Array;
  /** Masked slots of all queries, i32. */
  readonly slots: Int32Array;
}

/** Masked slots of one query; a view. */
export const maskedSlots = ({ offsets, slots }: MaskedSlots, query: number): Int32Array =>
  slots.subarray(offsets[query], offsets[query + 1]);

/**
 * Masks the right answers of each query, because a query must not be pushed away from them.
 *
 * Right answers are the query's own positive, its other known positives, and all documents with the same text
 * as one of these. Documents that are not in the table need no mask.
 *
 * @param queryRows  B rows of the query corpus
 * @param known.positives  known positives of a query row
 * @param known.positiveRows  B rows of the corpus: own positives, if `positives` does not list them
 * @param known.duplicates  documents of the same text, if the corpus repeats itself
 */
export function maskKnownPositives(
  table: ScoreTable,
  queryRows: ArrayLike<number>,
  known: {
    positives: (queryRow: number) => ArrayLike<number>;
    positiveRows?: ArrayLike<number>;
    duplicates?: DuplicateMap;
  },
): MaskedSlots {
  const { positives, positiveRows, duplicates } = known;
  const right: number[] = [];
  const ends: number[] = [];
  for (let query = 0; query < queryRows.length; query++) {
    const documents = new Set(Array.from(positives(queryRows[query]!)));
    if (positiveRows) documents.add(positiveRows[query]!);
    if (duplicates) {
      for (const document of [...documents])
        for (const twin of Array.from(duplicates(document))) documents.add(twin);
    }
    for (const document of documents) right.push(document);
    ends.push(right.length);
  }
  const slots = table.slotsOf(right);
  return maskedSlotLists(queryRows.length, (query) =>
    slots.subarray(ends[query - 1] ?? 0, ends[query]).filter((slot) => slot !== NONE),
  );
}

/** Packs the masked slots of each of B queries. `slotsOf` may return them in any order and repeated. */
export function maskedSlotLists(B: number, slotsOf: (query: number) => Iterable<number>): MaskedSlots {
  const offsets = new Uint32Array(B + 1);
  const slots: number[] = [];
  for (let query = 0; query < B; query++) {
    slots.push(...Int32Array.from(new Set(slotsOf(query))).sort());
    offsets[query + 1] = slots.length;
  }
  return { offsets, slots: Int32Array.from(slots) };
}

/**
 * Merges two masks of the same queries: a slot is masked if either masks it.
 *
 * @throws UsageError when the numbers of queries differ
 */
export function mergeMasks(a: MaskedSlots, b: MaskedSlots): MaskedSlots {
  if (a.offsets.length !== b.offsets.length) {
    throw new UsageError(`masks of ${a.offsets.length - 1} and ${b.offsets.length - 1} queries`);
  }
  return maskedSlotLists(a.offsets.length - 1, (query) => [
    ...maskedSlots(a, query),
    ...maskedSlots(b, query),
  ]);
}
