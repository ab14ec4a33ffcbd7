import { formatBytes, formatCount, formatDuration } from '../util/format.ts';
import type { EncodePurpose, Phase } from './cost-ledger.ts';

/** An amount of a run's ledger for people. */
export interface LedgerRow {
  readonly name: string;
  readonly amount: string;
  /** Of the sum above it, whose part it is: "33 %". Absent for sums, and what is no part of any. */
  readonly share?: string;
}

const PURPOSES: Readonly<Record<EncodePurpose, string>> = {
  positive: 'positives',
  negative: 'negatives',
  teaching: 'to teach the corrector',
  probe: 'to watch staleness',
  refresh: 'to fill and refresh the cache',
  mining: 'to mine',
  guide: 'by the guide',
};

/** Phases that are no training. */
type AsidePhase = 'evaluate' | 'diagnose' | 'save';

const TRAINING: Readonly<Record<Exclude<Phase, AsidePhase>, string>> = {
  prepare: 'preparing',
  mine: 'mining',
  correct: 'correcting the cache',
  sample: 'choosing negatives',
  step: 'loss and gradient',
  update: 'moving the weights',
  refresh: 'refreshing the cache',
};

const ASIDE: Readonly<Record<AsidePhase, string>> = {
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

/** Everything that a ledger may hold, in the order in which it is shown. `trainingMs` is the sum of its parts. */
export const LEDGER_NAMES: readonly LedgerName[] = [
  { name: 'documentEncodes', label: 'documents embedded' },
  ...named(PURPOSES, 'Encodes', 'documentEncodes'),
  { name: 'queryEncodes', label: 'queries embedded' },
  { name: 'diagnosisEncodes', label: 'texts embedded for diagnosis' },
  { name: 'scoringFlops', label: 'scoring of the cache' },
  { name: 'correctionFlops', label: 'correction of the cache' },
  { name: 'cacheBytes', label: 'largest cache' },
  { name: 'trainingMs', label: 'training time' },
  ...named(TRAINING, 'Ms', 'trainingMs'),
  ...named(ASIDE, 'Ms'),
];

/**
 * The ledger as a table: sums and, under each, its parts. What was not spent is left out.
 *
 * @param options.reproducible  only what the same training always costs: no wall times, nothing that a diagnosis spent
 */
export function ledgerRows(
  totals: Readonly<Record<string, number>>,
  { reproducible = false }: { reproducible?: boolean } = {},
): LedgerRow[] {
  const amounts: Record<string, number> = { ...totals };
  for (const { name, of } of LEDGER_NAMES)
    if (of === 'trainingMs') amounts[of] = (amounts[of] ?? 0) + (totals[name] ?? 0);
  const varies = (name: string) => name.endsWith('Ms') || name === 'diagnosisEncodes';
  return LEDGER_NAMES.flatMap(({ name, label, of }) => {
    const amount = amounts[name] ?? 0;
    if (amount === 0 || (reproducible && varies(name))) return [];
    const share = of ? { share: `${Math.round((100 * amount) / amounts[of]!)} %` } : {};
    return [{ name: label, amount: format(name, amount), ...share }];
  });
}

function format(name: string, amount: number): string {
  if (name.endsWith('Ms')) return formatDuration(amount);
  if (name.endsWith('Bytes')) return formatBytes(amount);
  return name.endsWith('Flops') ? `${formatCount(amount)}FLOP` : amount.toLocaleString('en-US');
}
