import { LEDGER_NAMES, words } from '../objective/ledger-rows.ts';
import { formatBytes, formatCount, formatDuration } from '../util/format.ts';
import type { Unit } from './chart-scale.ts';
import type { Spread } from './statistics.ts';

/** What a cost in a run's ledger is, told from its name alone: methods may spend on what nobody has thought of yet. */
export interface CostDescription {
  /** `document encodes` */
  readonly label: string;
  readonly unit: Unit;
  /** For people, to three digits. */
  readonly format: (value: number) => string;
  /** Factor from the ledger's number to the unit's. */
  readonly factor: number;
}

/** All document encodes of a run, whatever for: the cost that the papers' claims are about. */
export const DOCUMENT_ENCODES = 'documentEncodes';
export const WALL_TIME = 'wallMs';
export const STEPS = 'steps';

/** Names of costs in the order in which they are shown; `wallMs` is the time of training. Others come behind. */
const ORDER = [STEPS, ...LEDGER_NAMES.map(({ name }) => (name === 'trainingMs' ? WALL_TIME : name))];

/** @returns  sorted; parts of a sum behind it */
export function sortCosts(names: readonly string[]): string[] {
  const place = (name: string) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  return [...names].sort((a, b) => place(a) - place(b));
}

/** What a ledger table calls a cost: parts of a sum are marked. */
export function ledgerLabel(name: string): string {
  if (name === WALL_TIME) return 'training time';
  const known = LEDGER_NAMES.find((candidate) => candidate.name === name);
  if (!known) return describeCost(name).label;
  return `${known.of ? '· ' : ''}${known.label}${name.endsWith('Flops') ? ' (FLOP)' : ''}`;
}

/** Names end in their unit: `wallMs`, `cacheBytes`; the others are counts. */
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

/** Small counts in full, large ones to three digits. */
const formatCost = (value: number): string =>
  Math.abs(value) < 10_000 ? value.toLocaleString('en-US', { maximumFractionDigits: 1 }) : formatCount(value);

/** Mean, and the spread where there is one. */
export function formatSpread({ mean, sd }: Spread, format: (value: number) => string): string {
  const spread = sd === null ? '' : format(sd);
  return sd === null || spread === format(0) ? format(mean) : `${format(mean)} ± ${spread}`;
}
