import type { ComparisonResults } from '../../src/compare/results.ts';
import type { Spread } from '../../src/compare/statistics.ts';

/**
 * Removes the curves of the runs. The remaining results are a hundredth of the size, and sufficient for all
 * tables.
 */
export const withoutCurves = (results: ComparisonResults): ComparisonResults => ({
  ...results,
  arms: results.arms.map((arm) => ({ ...arm, runs: arm.runs.map((run) => ({ ...run, curves: [] })) })),
});

/**
 * Removes times that were measured beside other work, since they are meaningless. Required times become 0. No
 * other result depends on them.
 */
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
