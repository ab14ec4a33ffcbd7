/**
 * @file Axes of charts. This module runs here and, inlined, in the report page. It has no imports and uses
 *   nothing of Node.
 */

/** Unit of the numbers on an axis. */
export type Unit = 'count' | 'value' | 'minutes' | 'bytes';

/** Scale that maps values to pixels. */
export interface Scale {
  /** Position of a value, in pixels. */
  readonly at: (value: number) => number;
  /** Ticks of the axis. */
  readonly ticks: readonly Tick[];
}

/** Tick of an axis. */
export interface Tick {
  /** Position on the axis, as a value. */
  readonly value: number;
  /** Text at the tick. */
  readonly label: string;
}

/** Options of `makeScale`. */
export interface ScaleOptions {
  /** Position of the smallest value, in pixels. */
  readonly from: number;
  /** Position of the largest value, in pixels. */
  readonly to: number;
  /** Unit of the values. */
  readonly unit: Unit;
  /** Approximate number of ticks. */
  readonly ticks: number;
  /** Makes the scale logarithmic. Default false. */
  readonly log?: boolean;
  /** Values to place ticks at, in place of round ones. */
  readonly tickValues?: readonly number[];
}

/**
 * Makes a scale that covers all values with a small margin. On a logarithmic scale, zeros are placed left of
 * all other values.
 */
export function makeScale(values: readonly number[], options: ScaleOptions): Scale {
  return options.log ? logScale(values, options) : linearScale(values, options);
}

function linearScale(values: readonly number[], { from, to, unit, ticks, tickValues }: ScaleOptions): Scale {
  let low = Math.min(...values);
  let high = Math.max(...values);
  const air = (high - low || Math.abs(high) || 1) * 0.04;
  // Counts that begin at zero have no margin below.
  if (!(low === 0 && unit !== 'value')) low -= air;
  high += air;
  const step = roundStep((high - low) / ticks);
  const marks = tickValues ?? multiples(step, low, high);
  return {
    at: (value) => from + ((value - low) / (high - low)) * (to - from),
    ticks: marks.map((value) => ({ value, label: tickLabel(value, unit, step) })),
  };
}

function logScale(values: readonly number[], { from, to, unit, ticks, tickValues }: ScaleOptions): Scale {
  const positive = values.filter((value) => value > 0);
  const smallest = positive.length > 0 ? Math.min(...positive) : 1;
  const hasZero = positive.length < values.length;
  const zeroAt = smallest / 10;
  const log = (value: number) => Math.log10(value > 0 ? value : zeroAt);
  const air = 0.04 * (log(Math.max(...values)) - log(hasZero ? 0 : smallest) || 1);
  const low = log(hasZero ? 0 : smallest) - air;
  const high = log(Math.max(...values)) + air;
  const decades = multiples(Math.max(1, Math.round((high - low) / ticks)), low, high).map((e) => 10 ** e);
  const between = [1, 2, 5].flatMap((digit) => multiples(1, low - 1, high).map((e) => digit * 10 ** e));
  const round = decades.length > 2 ? decades : between.sort((a, b) => a - b);
  const marks = tickValues ?? [
    ...(hasZero ? [0] : []),
    ...round.filter((value) => log(value) >= low && log(value) <= high && value >= smallest * 0.9),
  ];
  return {
    at: (value) => from + ((log(value) - low) / (high - low)) * (to - from),
    ticks: marks.map((value) => ({ value, label: tickLabel(value, unit, value) })),
  };
}

/** Rounds a step to the nearest of 1, 2, 5, 10, … times a power of ten, by ratio. */
function roundStep(wanted: number): number {
  const power = 10 ** Math.floor(Math.log10(wanted));
  const distance = (factor: number) => Math.abs(Math.log((factor * power) / wanted));
  return power * [1, 2, 5, 10].reduce((a, b) => (distance(b) < distance(a) ? b : a));
}

function multiples(step: number, low: number, high: number): number[] {
  const found: number[] = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high * (1 + 1e-12) + 1e-12; i++)
    found.push(i * step);
  return found;
}

/**
 * Formats a tick.
 *
 * @param step  distance to the next tick, which determines the number of decimals
 */
function tickLabel(value: number, unit: Unit, step: number): string {
  if (unit === 'count' || unit === 'bytes') return shortCount(value, unit === 'bytes');
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-4) return value.toExponential(0).replace('e+', 'e');
  const decimals = Math.min(6, Math.max(0, -Math.floor(Math.log10(Math.abs(step)) + 1e-9)));
  return value.toFixed(decimals);
}

/** Formats a number with a prefix: `12`, `1.5k`, `2.4M`. Bytes use powers of 1024. */
function shortCount(value: number, bytes: boolean): string {
  const base = bytes ? 1024 : 1000;
  const prefixes = bytes ? ['', 'Ki', 'Mi', 'Gi', 'Ti'] : ['', 'k', 'M', 'G', 'T'];
  let i = 0;
  let scaled = value;
  while (Math.abs(scaled) >= base && i < prefixes.length - 1) {
    scaled /= base;
    i++;
  }
  return `${Number(scaled.toPrecision(3))}${prefixes[i]}${bytes ? 'B' : ''}`;
}

/** Formats a value with its unit and, if given, its standard deviation. Has more digits than a tick. */
export function exactLabel(value: number, unit: Unit, sd?: number): string {
  const tiny = Math.abs(value) < 0.001 && value !== 0;
  const format = (number: number): string => {
    if (unit === 'bytes') return shortCount(number, true);
    if (unit === 'minutes') return String(Number(number.toPrecision(3)));
    if (unit === 'count')
      return number.toLocaleString('en-US', { maximumFractionDigits: value < 100 ? 2 : 0 });
    return tiny || Math.abs(value) >= 1e6 ? number.toExponential(2) : number.toFixed(4);
  };
  return `${format(value)}${sd ? ` ± ${format(sd)}` : ''}${unit === 'minutes' ? ' min' : ''}`;
}
