/**
 * Finds the positions of some values in a long array in one pass:  found[i] = n with array[n] = values[i], or
 * −1.
 *
 * No index is kept, because the array changes all the time and only a few hundred values are looked up now
 * and then. A pass takes about a nanosecond an element, while an index would take four bytes or more an
 * element. Nearly every element is rejected by its low bits, which no wanted value shares.
 *
 * @param array  values ≥ 0, each at most once; negative values may repeat and are never found
 * @param values  integers ≥ 0, repeated or not
 * @returns i32[values]
 */
export function findPositions(array: Int32Array, values: ArrayLike<number>): Int32Array<ArrayBuffer> {
  const found = new Int32Array(values.length).fill(-1);
  const wanted = new Map<number, number>();
  for (let i = 0; i < values.length; i++) wanted.set(values[i]!, -1);
  // About a hundredth of the flags is set, and the flags fit into the processor's caches.
  const bits = Math.min(17, 40 - Math.clz32(wanted.size));
  const mask = 2 ** bits - 1;
  const taken = new Uint8Array(2 ** bits);
  for (const value of wanted.keys()) taken[value & mask] = 1;
  let missing = wanted.size;
  for (let n = 0; n < array.length && missing > 0; n++) {
    const value = array[n]!;
    if (taken[value & mask] === 0 || value < 0 || !wanted.has(value)) continue;
    wanted.set(value, n);
    missing -= 1;
  }
  for (let i = 0; i < values.length; i++) found[i] = wanted.get(values[i]!)!;
  return found;
}
