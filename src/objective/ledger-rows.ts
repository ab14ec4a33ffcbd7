import { count, formatBytes, formatCount, formatDuration } from '../util/format.ts';
import { isTime } from './cost-ledger.ts';

/** One line of a ledger in readable form. */
export interface LedgerRow {
  /** Label of the amount, such as "documents embedded". */
  readonly name: string;
  /** Amount with its unit, such as "4,096" or "2.1 s". */
  readonly amount: string;
  /** Share of the sum that the amount is part of, such as "33 %". Absent for sums, and for amounts that are part of none. */
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

/** Phases of training. */
const TRAINING = {
  prepare: 'preparing',
  mine: 'mining',
  correct: 'correcting the cache',
  sample: 'choosing negatives',
  step: 'loss and gradient',
  update: 'moving the weights',
  refresh: 'refreshing the cache',
};

/** Phases that are not part of training. */
const ASIDE = {
  evaluate: 'evaluating',
  diagnose: 'diagnosing',
  save: 'saving',
};

/** Name of the ledger with its label. */
export interface LedgerName {
  /** Name in the ledger. */
  readonly name: string;
  /** Label for people. */
  readonly label: string;
  /** Name of the sum that the amount is part of; absent where there is none. */
  readonly of?: string;
}

const named = (labels: Readonly<Record<string, string>>, unit: string, of?: string): LedgerName[] =>
  Object.entries(labels).map(([name, label]) => ({ name: name + unit, label, ...(of && { of }) }));

/** Names that have a label of their own, in display order. `trainingMs` is the sum of all phases of training. */
export const LEDGER_NAMES: readonly LedgerName[] = [
  { name: 'documentEncodes', label: 'documents embedded' },
  ...named(PURPOSES, 'Encodes', 'documentEncodes'),
  { name: 'queryEncodes', label: 'queries embedded' },
  { name: 'tokens', label: 'tokens' },
  { name: 'pairs', label: 'pairs scored' },
  ...named({ training: 'to train', teacher: 'by the teacher' }, 'Pairs', 'pairs'),
  { name: 'diagnosisEncodes', label: 'texts embedded for diagnosis' },
  { name: 'scoringFlops', label: 'scoring of the cache' },
  { name: 'correctionFlops', label: 'correction of the cache' },
  { name: 'cacheBytes', label: 'largest cache' },
  { name: 'trainingMs', label: 'training time' },
  ...named(TRAINING, 'Ms', 'trainingMs'),
  ...named(ASIDE, 'Ms'),
];

/** Endings of the names that each sum adds up. */
const SUMS: Readonly<Record<string, string>> = {
  documentEncodes: 'Encodes',
  tokens: 'Tokens',
  pairs: 'Pairs',
  trainingMs: 'Ms',
};

/** Lists the names of a ledger in display order. Names without a label of their own follow the known parts of their sum. */
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

/** Splits a camel-case name into lower-case words: `trainingTokens` → `training tokens`. */
export const words = (name: string): string => name.replace(/([a-z0-9])([A-Z])/g, '$1 $2').toLowerCase();

/**
 * Lays a ledger out as a table: each sum, followed by its parts. Amounts of 0 are left out.
 *
 * @param totals  amounts by name, from `CostLedger.totals`
 * @param options.reproducible  keep only costs that are the same in every run: no wall times, no diagnosis
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
