/** Powers of ten that a number is scaled by, until rounding it to a whole number keeps all bits of an f32. */
const SCALES = [1e7, 1e8, 1e9, 1e10, 1e11, 1e12];

/** Formats an f32 as a decimal number of few digits that is read as the same f32; −0 keeps its sign. */
export function f32Text(value: number): string {
  if (value === 0) return Object.is(value, -0) ? '-0' : '0';
  // Several times faster than toPrecision, for the numbers of embeddings.
  for (const scale of Math.abs(value) < 1e6 ? SCALES : []) {
    const short = Math.round(value * scale) / scale;
    if (Math.fround(short) === value) return String(short);
  }
  return String(Number(value.toPrecision(9)));
}
