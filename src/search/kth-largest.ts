/** Number of classes into which a pass divides the keys. */
const CLASSES = 2048;
/** Number of keys that are sorted rather than divided further. */
const FEW = 64;

const sizes = new Uint32Array(CLASSES);
let memory = new Uint32Array(0);
const single = new Float32Array(1);
const singleBits = new Int32Array(single.buffer);

/**
 * Turns the bits of an f32 into a key: a whole number from 0 to 2³² − 1 that is smaller for larger numbers. The key of −0 comes after
 * that of 0.
 *
 * @param bits  bits as a signed number
 */
export const orderKey = (bits: number): number => ~(bits ^ ((bits >> 31) | 0x80000000)) >>> 0;

/** Returns the f32 of a key. */
export function numberOfKey(key: number): number {
  singleBits[0] = key >> 31 === 0 ? ~key ^ 0x80000000 : key;
  return single[0]!;
}

/**
 * Finds the k-th largest of some numbers.
 *
 * The order keys are divided into classes of equal width, and only the class of the result is divided further, so the time is linear
 * whatever the numbers. No branch depends on a number, since the processor would often guess it wrong.
 *
 * @param values  numbers, none of them NaN
 * @param k  from 1 to `length`
 * @param length  number of the values that count, from the first on. Default all
 */
export function kthLargest(values: Float32Array, k: number, length: number = values.length): number {
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  if (memory.length < length) memory = new Uint32Array(length);
  const keys = memory;
  let [count, rank] = [length, k];
  let [least, greatest] = [0xffffffff, 0];
  for (let i = 0; i < count; i++) {
    const key = orderKey(bits[i]!);
    keys[i] = key;
    least = Math.min(least, key);
    greatest = Math.max(greatest, key);
  }
  while (count > FEW && least < greatest) {
    // Keys of a class share their distance from the least key, but for its last bits.
    const shift = Math.max(0, 21 - Math.clz32(greatest - least));
    sizes.fill(0);
    for (let i = 0; i < count; i++) sizes[(keys[i]! - least) >>> shift]! += 1;
    let own = 0;
    while (sizes[own]! < rank) rank -= sizes[own++]!;
    let left = 0;
    for (let i = 0; i < count; i++) {
      const key = keys[i]!;
      keys[left] = key;
      left += Number((key - least) >>> shift === own);
    }
    count = left;
    least += own * 2 ** shift;
    greatest = Math.min(greatest, least + 2 ** shift - 1);
  }
  return numberOfKey(count > FEW ? least : keys.subarray(0, count).sort()[rank - 1]!);
}
