import { bootstrapInterval, randomisationTest } from '../eval/significance.ts';
import { DataError } from '../util/errors.ts';
import { readJson } from '../util/files.ts';
import type { Budget, Comparison, EvaluationPlan } from './comparison.ts';
import type { Curve } from './curves.ts';
import type { Machine } from './machine.ts';
import type { RunResult, RunSettings } from './run-result.ts';
import { holm, type Spread, spread } from './statistics.ts';

/** `results.json`: all that a comparison found, and all that its tables and charts are made from. */
export interface ComparisonResults {
  readonly format: typeof FORMAT;
  readonly name: string;
  readonly data: DataFacts;
  readonly budget: Budget | null;
  readonly evaluate: EvaluationPlan;
  readonly seeds: readonly number[];
  /** Whether every arm has been run with every seed. */
  readonly complete: boolean;
  /** In the order of the config file; the others are compared with the first. */
  readonly arms: readonly ArmResults[];
  /** Where the runs took place, each machine once. */
  readonly machines: readonly Machine[];
  /** Runs that ended with an error. They are tried again by the next `undrift compare`. */
  readonly failures: readonly RunFailure[];
}

export interface RunFailure {
  readonly arm: string;
  readonly seed: number;
  readonly message: string;
}

export interface DataFacts {
  readonly name: string;
  readonly fingerprint: string;
  readonly documents: number;
  /** Queries that the metrics are means over. */
  readonly testQueries: number;
}

export interface ArmResults {
  readonly name: string;
  readonly method: string;
  /** Of the first seed; the others differ in `seed` only. Null where no run is done. */
  readonly settings: RunSettings | null;
  readonly metrics: Readonly<Record<string, Spread>>;
  /** What training cost: steps, wall time and the ledger. */
  readonly cost: Readonly<Record<string, Spread>>;
  /** By metric; empty for the first arm, and where no seed was run in both. */
  readonly againstFirst: Readonly<Record<string, PairedTest>>;
  readonly runs: readonly RunSummary[];
}

/** Is the arm better than the first one beyond the luck of which queries were asked? Values of a query are means over the seeds. */
export interface PairedTest {
  /** Mean of this arm minus mean of the first. */
  readonly difference: number;
  /** Bootstrap interval of the difference. */
  readonly interval: { readonly low: number; readonly high: number; readonly confidence: number };
  /** Paired randomisation test, two-sided. */
  readonly pValue: number;
  /** The same, adjusted for the number of arms that were compared on this metric. */
  readonly pHolm: number;
  /** Seeds that both arms were run with. */
  readonly seeds: readonly number[];
  readonly queries: number;
}

export interface RunSummary {
  readonly seed: number;
  readonly metrics: Readonly<Record<string, number>>;
  readonly steps: number;
  readonly stoppedEarly: boolean;
  readonly best: { readonly step: number; readonly value: number | null };
  readonly embeddingSpace: string;
  readonly wallMs: number;
  readonly ledger: Readonly<Record<string, number>>;
  readonly curves: readonly Curve[];
  /** ISO 8601 */
  readonly finished: string;
}

const FORMAT = 'undrift-comparison-1';

export interface CombineOptions {
  readonly failures?: readonly RunFailure[];
  /** Compare the arms with the first one (default); it takes seconds. */
  readonly tests?: boolean;
}

/** Puts the runs of a comparison together; some may still be missing. */
export function combineRuns(
  comparison: Pick<Comparison, 'name' | 'budget' | 'evaluate' | 'seeds' | 'arms'>,
  data: Omit<DataFacts, 'testQueries'>,
  runs: readonly RunResult[],
  { failures = [], tests: wanted = true }: CombineOptions = {},
): ComparisonResults {
  const { name, budget, evaluate, seeds, arms } = comparison;
  const runsOf = (arm: string) =>
    seeds.flatMap((seed) => runs.find((run) => run.arm === arm && run.seed === seed) ?? []);
  const first = runsOf(arms[0]!.name);
  const tests = arms.map((arm, i) =>
    i === 0 || !wanted ? {} : testsAgainst(first, runsOf(arm.name), evaluate.metrics),
  );
  const adjusted = adjust(tests, evaluate.metrics);
  return {
    format: FORMAT,
    name,
    data: { ...data, testQueries: runs[0]?.evaluation.queryIds.length ?? 0 },
    budget,
    evaluate,
    seeds,
    complete: runs.length === arms.length * seeds.length,
    arms: arms.map((arm, i) => combineArm(arm, runsOf(arm.name), adjusted[i]!)),
    machines: distinct(runs.map(({ training }) => training.machine)),
    failures,
  };
}

function combineArm(
  { name, method }: { name: string; method: string },
  runs: readonly RunResult[],
  againstFirst: ArmResults['againstFirst'],
): ArmResults {
  const costs = runs.map(({ training }) => ({
    steps: training.steps,
    wallMs: training.wallMs,
    ...training.ledger,
  }));
  return {
    name,
    method,
    settings: runs[0]?.settings ?? null,
    metrics: spreads(runs.map(({ evaluation }) => evaluation.metrics)),
    cost: spreads(costs),
    againstFirst,
    runs: runs.map(({ seed, training, evaluation }) => {
      const { machine: _, ...kept } = training;
      return { seed, metrics: evaluation.metrics, ...kept };
    }),
  };
}

/** Mean and spread of each name over the records that have it. */
function spreads(records: readonly Readonly<Record<string, number>>[]): Record<string, Spread> {
  const names = [...new Set(records.flatMap((record) => Object.keys(record)))];
  return Object.fromEntries(
    names.map((name) => [name, spread(records.flatMap((record) => record[name] ?? []))]),
  );
}

type UnadjustedTest = Omit<PairedTest, 'pHolm'>;

function testsAgainst(
  first: readonly RunResult[],
  other: readonly RunResult[],
  metrics: readonly string[],
): Record<string, UnadjustedTest> {
  const pairs = other.flatMap((b) => {
    const a = first.find(({ seed }) => seed === b.seed);
    return a ? [{ a: a.evaluation, b: b.evaluation, seed: b.seed }] : [];
  });
  if (pairs.length === 0) return {};
  const ids = pairs[0]!.a.queryIds;
  const tests: Record<string, UnadjustedTest> = {};
  for (const metric of metrics) {
    const differences = new Float64Array(ids.length);
    for (const { a, b } of pairs) {
      const [x, y] = [a.perQuery[metric]!, b.perQuery[metric]!];
      for (let i = 0; i < ids.length; i++) differences[i]! += (y[i]! - x[i]!) / pairs.length;
    }
    if (differences.length < 2) continue;
    tests[metric] = {
      difference: differences.reduce((sum, d) => sum + d, 0) / differences.length,
      interval: bootstrapInterval(differences),
      pValue: randomisationTest(differences).pValue,
      seeds: pairs.map(({ seed }) => seed),
      queries: differences.length,
    };
  }
  return tests;
}

/** Adjusts the tests of each metric for the number of arms. */
function adjust(
  tests: readonly Readonly<Record<string, UnadjustedTest>>[],
  metrics: readonly string[],
): Record<string, PairedTest>[] {
  const adjusted: Record<string, PairedTest>[] = tests.map(() => ({}));
  for (const metric of metrics) {
    const rows = tests.flatMap((test, arm) => (test[metric] ? [{ arm, test: test[metric] }] : []));
    const pHolm = holm(rows.map(({ test }) => test.pValue));
    for (const [i, { arm, test }] of rows.entries()) adjusted[arm]![metric] = { ...test, pHolm: pHolm[i]! };
  }
  return adjusted;
}

function distinct<T>(values: readonly T[]): T[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
}

export const isResults = (json: unknown): json is ComparisonResults =>
  (json as Partial<ComparisonResults> | null)?.format === FORMAT;

/** @throws DataError where it cannot be read or is something else */
export async function readResults(file: string): Promise<ComparisonResults> {
  const json = await readJson(file);
  if (!isResults(json)) {
    throw new DataError(`this is no result of a comparison: "format" is not "${FORMAT}"`, { file });
  }
  return json;
}
