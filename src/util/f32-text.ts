/** Formats an f32 as a decimal number that is read as the same f32: nine digits are enough, and −0 keeps its sign. */
export const f32Text = (value: number): string =>
  Object.is(value, -0) ? '-0' : String(Number(value.toPrecision(9)));
