import { LEDGER_NAMES, words } from '../objective/ledger-rows.ts';
import { formatBytes, formatCount, formatDuration } from '../util/format.ts';
import type { Unit } from './chart-scale.ts';
import type { Spread } from './statistics.ts';

/**
 * Description of a cost in the ledger of a run. It is derived from the name of the cost, since methods may
 * add costs of their own.
 */
export interface CostDescription {
  /** Words for the cost, such as `document encodes`. */
  readonly label: string;
  /** Unit of the cost in charts. */
  readonly unit: Unit;
  /** Formats an amount of the ledger for people, to three digits. */
  readonly format: (value: number) => string;
  /** Factor from the amount in the ledger to `unit`. */
  readonly factor: number;
}

/**
 * Name of the cost that counts all document encodes of a run, for any purpose. Claims in the papers refer to
 * this cost.
 */
export const DOCUMENT_ENCODES = 'documentEncodes';
/** Name of the cost for the time of training, in milliseconds. */
export const WALL_TIME = 'wallMs';
/** Names of the costs of language systems that tables show. */
export const READING_COSTS = ['readTokens', 'forwardPasses'];
/** Name of the cost for the number of training steps. */
export const STEPS = 'steps';

/** Known costs in display order; `wallMs` is the time of training. Unknown costs follow them. */
const ORDER = [STEPS, ...LEDGER_NAMES.map(({ name }) => (name === 'trainingMs' ? WALL_TIME : name))];

/** Sorts the names of costs into display order. The parts of a sum follow the sum. */
export function sortCosts(names: readonly string[]): string[] {
  const place = (name: string) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  return [...names].sort((a, b) => place(a) - place(b));
}

/** Returns the label of a cost in a ledger table, of training where no `units` are given. The parts of a sum are marked. */
export function ledgerLabel(name: string, units?: string): string {
  if (name === WALL_TIME) return units === undefined ? 'training time' : 'time';
  const known = LEDGER_NAMES.find((candidate) => candidate.name === name);
  if (!known) return describeCost(name).label;
  return `${known.of ? '· ' : ''}${known.label}${name.endsWith('Flops') ? ' (FLOP)' : ''}`;
}

/**
 * Derives the description of a cost from its name. The end of a name gives the unit, as in `wallMs` or
 * `cacheBytes`; all other costs are counts.
 */
export function describeCost(name: string): CostDescription {
  if (name === WALL_TIME) return { ...describeCost('timeMs'), label: 'time' };
  if (/[a-z]Ms$/.test(name)) {
    return { label: words(name.slice(0, -2)), unit: 'minutes', format: formatDuration, factor: 1 / 60_000 };
  }
  if (/[a-z]Bytes$/.test(name)) {
    return { label: words(name.slice(0, -5)), unit: 'bytes', format: formatBytes, factor: 1 };
  }
  const label = words(name).replace(/\bflops\b/, 'FLOPs');
  return { label, unit: 'count', format: formatCost, factor: 1 };
}

/** Formats small counts in full and large ones to three digits. */
const formatCost = (value: number): string =>
  Math.abs(value) < 10_000 ? value.toLocaleString('en-US', { maximumFractionDigits: 1 }) : formatCount(value);

/** Formats the mean and, if there is one, the standard deviation. */
export function formatSpread({ mean, sd }: Spread, format: (value: number) => string): string {
  const spread = sd === null ? '' : format(sd);
  return sd === null || spread === format(0) ? format(mean) : `${format(mean)} ± ${spread}`;
}
