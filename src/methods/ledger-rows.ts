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
  refresh: 'filling and refreshing the cache',
  mining: 'mining',
};

const PHASES: Readonly<Record<Phase, string>> = {
  prepare: 'preparing',
  mine: 'mining',
  sample: 'choosing negatives',
  step: 'loss and gradient',
  update: 'moving the weights',
  refresh: 'filling and refreshing the cache',
  evaluate: 'evaluating',
  diagnose: 'diagnosing',
  save: 'saving',
};

/**
 * The ledger as a table: sums and, under each, its parts. What was not spent is left out.
 *
 * @param options.reproducible  only what the same training always costs: no wall times, nothing that a diagnosis spent
 */
export function ledgerRows(
  totals: Readonly<Record<string, number>>,
  { reproducible = false }: { reproducible?: boolean } = {},
): LedgerRow[] {
  const amount = (name: string) => totals[name] ?? 0;
  const single = (name: string, label: string, format: (value: number) => string): LedgerRow[] =>
    amount(name) > 0 ? [{ name: label, amount: format(amount(name)) }] : [];
  const parts = (
    names: Readonly<Record<string, string>>,
    unit: string,
    format: (value: number) => string,
  ): { total: number; rows: LedgerRow[] } => {
    const present = Object.entries(names).filter(([name]) => amount(name + unit) > 0);
    const total = present.reduce((sum, [name]) => sum + amount(name + unit), 0);
    const rows = present.map(([name, label]) => ({
      name: label,
      amount: format(amount(name + unit)),
      share: `${Math.round((100 * amount(name + unit)) / total)} %`,
    }));
    return { total, rows };
  };
  const count = (value: number) => value.toLocaleString('en-US');
  const encodes = parts(PURPOSES, 'Encodes', count);
  const phases = parts(PHASES, 'Ms', formatDuration);
  return [
    ...single('documentEncodes', 'documents embedded', count),
    ...encodes.rows,
    ...single('queryEncodes', 'queries embedded', count),
    ...(reproducible ? [] : single('diagnosisEncodes', 'texts embedded for diagnosis', count)),
    ...single('scoringFlops', 'scoring of the cache', (flops) => `${formatCount(flops)}FLOP`),
    ...single('cacheBytes', 'largest cache', formatBytes),
    ...(!reproducible && phases.total > 0
      ? [{ name: 'time', amount: formatDuration(phases.total) }, ...phases.rows]
      : []),
  ];
}
