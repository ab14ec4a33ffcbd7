import { NONE } from '../util/vector-rows.ts';
import { DocumentSlots } from './document-slots.ts';

/** Lists the numbers 0 … count − 1 that a mask keeps, as i32. */
export function unmasked(count: number, mask: ArrayLike<boolean> | undefined): Int32Array<ArrayBuffer> {
  const all = new Int32Array(count);
  let kept = 0;
  for (let i = 0; i < count; i++) if (!mask || mask[i]) all[kept++] = i;
  return all.subarray(0, kept);
}

/** Lists the distinct documents that a mask keeps, in the order of their first row, and the last row of each. */
export function lastRows(
  given: ArrayLike<number>,
  mask: ArrayLike<boolean> | undefined,
): { documents: Int32Array; rows: Int32Array } {
  const documents = new Int32Array(given.length).fill(NONE);
  const rows = new Int32Array(given.length);
  const places = new DocumentSlots(documents);
  let count = 0;
  for (let i = 0; i < given.length; i++) {
    if (mask && !mask[i]) continue;
    const document = given[i]!;
    let at = places.find(document);
    if (at === NONE) {
      at = count++;
      documents[at] = document;
      places.add(at);
    }
    rows[at] = i;
  }
  return { documents: documents.subarray(0, count), rows: rows.subarray(0, count) };
}

/** Lists the pairs first[i], second[i] that pass a test. */
export function keptPairs(
  first: Int32Array,
  second: Int32Array,
  isKept: (value: number, i: number) => boolean,
): { first: Int32Array; second: Int32Array } {
  const [a, b] = [new Int32Array(first.length), new Int32Array(first.length)];
  let count = 0;
  for (let i = 0; i < first.length; i++) {
    if (!isKept(first[i]!, i)) continue;
    a[count] = first[i]!;
    b[count++] = second[i]!;
  }
  return { first: a.subarray(0, count), second: b.subarray(0, count) };
}
