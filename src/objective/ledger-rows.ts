import { count, formatBytes, formatCount, formatDuration } from '../util/format.ts';
import { isTime } from './cost-ledger.ts';

/** An amount of a run's ledger for people. */
export interface LedgerRow {
  readonly name: string;
  readonly amount: string;
  /** Of the sum above it, whose part it is: "33 %". Absent for sums, and what is no part of any. */
  readonly share?: string;
}

/** Purposes of document encodes. */
const PURPOSES = {
  positive: 'positives',
  negative: 'negatives',
  teaching: 'to teach the corrector',
  probe: 'to watch staleness',
  refresh: 'to fill and refresh the cache',
  mining: 'to mine',
  guide: 'by the guide',
};

const TRAINING = {
  prepare: 'preparing',
  mine: 'mining',
  correct: 'correcting the cache',
  sample: 'choosing negatives',
  step: 'loss and gradient',
  update: 'moving the weights',
  refresh: 'refreshing the cache',
};

/** Phases that are no training. */
const ASIDE = {
  evaluate: 'evaluating',
  diagnose: 'diagnosing',
  save: 'saving',
};

/** A name of the ledger for people. */
export interface LedgerName {
  readonly name: string;
  readonly label: string;
  /** What it is a part of. */
  readonly of?: string;
}

const named = (labels: Readonly<Record<string, string>>, unit: string, of?: string): LedgerName[] =>
  Object.entries(labels).map(([name, label]) => ({ name: name + unit, label, ...(of && { of }) }));

/** Names that have a label of their own, in the order in which they are shown. `trainingMs` is the sum of all phases of training. */
export const LEDGER_NAMES: readonly LedgerName[] = [
  { name: 'documentEncodes', label: 'documents embedded' },
  ...named(PURPOSES, 'Encodes', 'documentEncodes'),
  { name: 'queryEncodes', label: 'queries embedded' },
  { name: 'tokens', label: 'tokens' },
  { name: 'diagnosisEncodes', label: 'texts embedded for diagnosis' },
  { name: 'scoringFlops', label: 'scoring of the cache' },
  { name: 'correctionFlops', label: 'correction of the cache' },
  { name: 'cacheBytes', label: 'largest cache' },
  { name: 'trainingMs', label: 'training time' },
  ...named(TRAINING, 'Ms', 'trainingMs'),
  ...named(ASIDE, 'Ms'),
];

/** Endings of the parts of each sum. */
const SUMS: Readonly<Record<string, string>> = {
  documentEncodes: 'Encodes',
  tokens: 'Tokens',
  trainingMs: 'Ms',
};

/** Names of a ledger in the order in which they are shown. Names without a label of their own follow the known parts of their sum. */
function namesOf(totals: Readonly<Record<string, number>>): LedgerName[] {
  const unknown = Object.keys(totals).filter((name) => !LEDGER_NAMES.some((known) => known.name === name));
  const sumOf = (name: string) => Object.keys(SUMS).find((sum) => name.endsWith(SUMS[sum]!));
  const partsOf = (of: string): LedgerName[] =>
    unknown
      .filter((name) => sumOf(name) === of)
      .map((name) => ({ name, label: words(name.slice(0, -SUMS[of]!.length)), of }));
  const ordered = LEDGER_NAMES.flatMap((entry, i) => {
    const sum = entry.of ?? entry.name;
    return LEDGER_NAMES[i + 1]?.of === sum ? [entry] : [entry, ...partsOf(sum)];
  });
  const rest = unknown.filter((name) => sumOf(name) === undefined);
  return [...ordered, ...rest.map((name) => ({ name, label: words(name) }))];
}

/** `trainingTokens` → `training tokens`. */
export const words = (name: string): string => name.replace(/([a-z0-9])([A-Z])/g, '$1 $2').toLowerCase();

/**
 * Lays a ledger out as a table: sums, and under each its parts. Amounts of nothing are left out.
 *
 * @param options.reproducible  only costs that are the same each time: no wall times, no diagnosis
 */
export function ledgerRows(
  totals: Readonly<Record<string, number>>,
  { reproducible = false }: { reproducible?: boolean } = {},
): LedgerRow[] {
  const names = namesOf(totals);
  const amounts: Record<string, number> = { ...totals };
  for (const { name, of } of names)
    if (of === 'trainingMs') amounts[of] = (amounts[of] ?? 0) + (totals[name] ?? 0);
  const varies = (name: string) => isTime(name) || name === 'diagnosisEncodes';
  return names.flatMap(({ name, label, of }) => {
    const amount = amounts[name] ?? 0;
    if (amount === 0 || (reproducible && varies(name))) return [];
    const share = of ? { share: `${Math.round((100 * amount) / amounts[of]!)} %` } : {};
    return [{ name: label, amount: format(name, amount), ...share }];
  });
}

function format(name: string, amount: number): string {
  if (isTime(name)) return formatDuration(amount);
  if (name.endsWith('Bytes')) return formatBytes(amount);
  return name.endsWith('Flops') ? `${formatCount(amount)}FLOP` : count(amount);
}
