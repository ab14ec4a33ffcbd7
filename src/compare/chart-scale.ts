/**
 * @file Axes of charts. This module runs here and, inlined, in the report page: it imports nothing, and uses nothing of Node.
 */

/** What the numbers of an axis are. */
export type Unit = 'count' | 'value' | 'minutes' | 'bytes';

/** Maps values to pixels. */
export interface Scale {
  readonly at: (value: number) => number;
  readonly ticks: readonly Tick[];
}

export interface Tick {
  readonly value: number;
  readonly label: string;
}

export interface ScaleOptions {
  /** Pixels of the smallest and of the largest value. */
  readonly from: number;
  readonly to: number;
  readonly unit: Unit;
  /** About so many ticks. */
  readonly ticks: number;
  readonly log?: boolean;
  /** Ticks at these values, instead of round ones. */
  readonly tickValues?: readonly number[];
}

/** A scale that holds all values, with a little air. On a logarithmic one zeros stand left of all others. */
export function makeScale(values: readonly number[], options: ScaleOptions): Scale {
  return options.log ? logScale(values, options) : linearScale(values, options);
}

function linearScale(values: readonly number[], { from, to, unit, ticks, tickValues }: ScaleOptions): Scale {
  let low = Math.min(...values);
  let high = Math.max(...values);
  const air = (high - low || Math.abs(high) || 1) * 0.04;
  // No air below a count that begins at nothing.
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

/** The nearest of 1, 2, 5, 10, … times a power of ten, in ratio. */
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

/** @param step  distance to the next tick: what has to be seen of the digits */
function tickLabel(value: number, unit: Unit, step: number): string {
  if (unit === 'count' || unit === 'bytes') return shortCount(value, unit === 'bytes');
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-4) return value.toExponential(0).replace('e+', 'e');
  const decimals = Math.min(6, Math.max(0, -Math.floor(Math.log10(Math.abs(step)) + 1e-9)));
  return value.toFixed(decimals);
}

/** `12`, `1.5k`, `2.4M`; bytes in powers of 1024. */
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

/** A value for people who want to know it, with its spread: more digits than a tick. */
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
