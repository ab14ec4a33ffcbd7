import type { ComparisonResults } from '../../src/compare/results.ts';
import type { Spread } from '../../src/compare/statistics.ts';

/** Results without the curves of their runs: a hundredth of the size, and all that tables need. */
export const withoutCurves = (results: ComparisonResults): ComparisonResults => ({
  ...results,
  arms: results.arms.map((arm) => ({ ...arm, runs: arm.runs.map((run) => ({ ...run, curves: [] })) })),
});

/** Results without times (0 for what must be there): those of runs beside other work say nothing. All else does not depend on it. */
export const withoutTimes = (results: ComparisonResults): ComparisonResults => ({
  ...results,
  arms: results.arms.map((arm) => ({
    ...arm,
    cost: untimed<Spread>(arm.cost),
    runs: arm.runs.map((run) => ({ ...run, wallMs: 0, ledger: untimed<number>(run.ledger) })),
  })),
});

const untimed = <T>(record: Readonly<Record<string, T>>): Record<string, T> =>
  Object.fromEntries(Object.entries(record).filter(([name]) => !/Ms$/.test(name)));
