import { bootstrapInterval, randomisationTest } from '../eval/significance.ts';
import type { Baseline } from '../train/callbacks.ts';
import { DataError } from '../util/errors.ts';
import { readJson } from '../util/files.ts';
import { isObject } from '../util/json-objects.ts';
import { checkShape } from '../util/json-shape.ts';
import type { Arm, Budget, Comparison, EvaluationPlan } from './comparison.ts';
import type { Fields } from './config-reader.ts';
import type { Curve } from './curves.ts';
import type { Machine } from './machine.ts';
import type { RunEvaluation, RunSettings, RunTraining } from './run-result.ts';
import { holm, type Spread, spread } from './statistics.ts';
import { LANGUAGE_RESULTS_SHAPE, RESULTS_SHAPE } from './stored-shapes.ts';

/** Contents of `results.json`: all results of a comparison. Tables and charts are made from them alone. */
export interface ComparisonResults {
  /** Kind of comparison and version of the format: of trained retrievers, or of language systems. */
  readonly format: (typeof FORMATS)[number];
  /** Name of the comparison. */
  readonly name: string;
  /** Data set of the comparison. */
  readonly data: DataFacts;
  /** Budget of each run; null if the options of the arms determined the length of training. */
  readonly budget: Budget | null;
  /** Evaluation of the models. */
  readonly evaluate: EvaluationPlan;
  /** What the metrics are averaged over, if not queries. */
  readonly units?: UnitNoun;
  /** Seeds that every arm is trained with; one seed without a meaning where nothing is trained. */
  readonly seeds: readonly number[];
  /** Whether every arm has been run with every seed. */
  readonly complete: boolean;
  /** Rankers without training, on the same queries: BM25, and the models that the arms start from. */
  readonly baselines: readonly Baseline[];
  /** Arms in the order of the config file. All others are compared with the first. */
  readonly arms: readonly ArmResults[];
  /** Machines on which the runs took place, each listed once. */
  readonly machines: readonly Machine[];
  /** Runs that ended with an error. The next `undrift compare` tries them again. */
  readonly failures: readonly RunFailure[];
}

/** Noun of what metrics are averaged over. */
export type UnitNoun = 'queries' | 'questions' | 'documents';

/** Settings of an arm: of a training run, or of a language system. */
export type ArmSettings = Partial<RunSettings> & Fields;

/** Finished run of an arm, as far as it is combined with others. */
export interface MeasuredRun {
  readonly arm: string;
  readonly seed: number;
  readonly settings: ArmSettings;
  readonly training: Pick<RunTraining, 'wallMs' | 'ledger' | 'curves' | 'machine' | 'finished'> &
    Partial<RunTraining>;
  readonly evaluation: RunEvaluation;
}

/** Run that ended with an error. */
export interface RunFailure {
  /** Name of the arm. */
  readonly arm: string;
  /** Seed of the run. */
  readonly seed: number;
  /** Message of the error. */
  readonly message: string;
}

/** Facts about the data set of a comparison. */
export interface DataFacts {
  /** Name of the data set. */
  readonly name: string;
  /** Fingerprint of its content. */
  readonly fingerprint: string;
  /** Number of documents. */
  readonly documents: number;
  /** Number of queries that the metrics are averaged over. */
  readonly testQueries: number;
}

/** Results of one arm. */
export interface ArmResults {
  /** Name of the arm. */
  readonly name: string;
  /** Name of the training method, or of the kind of language system. */
  readonly method: string;
  /** Settings of the first seed; other seeds differ only in `seed`. Null if no run is done. */
  readonly settings: ArmSettings | null;
  /** Mean and standard deviation of each metric over the seeds. */
  readonly metrics: Readonly<Record<string, Spread>>;
  /** Cost of training, or of measuring a language system: steps, wall time and the amounts of the ledger. */
  readonly cost: Readonly<Record<string, Spread>>;
  /**
   * Comparison with the first arm, by metric. Empty for the first arm, and if no seed was run with both arms.
   */
  readonly againstFirst: Readonly<Record<string, PairedTest>>;
  /** The runs that are done. */
  readonly runs: readonly RunSummary[];
}

/**
 * Comparison of an arm with the first one on one metric. Each query's values are averaged over the seeds. The
 * test asks whether the difference exceeds chance in the choice of queries.
 */
export interface PairedTest {
  /** Mean of this arm minus mean of the first arm. */
  readonly difference: number;
  /** Bootstrap interval of the difference. */
  readonly interval: { readonly low: number; readonly high: number; readonly confidence: number };
  /** p-value of the paired two-sided randomisation test. */
  readonly pValue: number;
  /** p-value adjusted by Holm's method for the number of arms compared on this metric. */
  readonly pHolm: number;
  /** Seeds that both arms were run with. */
  readonly seeds: readonly number[];
  /** Number of queries compared. */
  readonly queries: number;
}

/** Summary of one run. */
export interface RunSummary {
  /** Seed of the run. */
  readonly seed: number;
  /** Metrics of the finished model. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Number of training steps. Absent, as the next three fields, where nothing is trained. */
  readonly steps?: number;
  /** Whether training stopped early. */
  readonly stoppedEarly?: boolean;
  /** Best evaluation during training. `value` is null if there was none. */
  readonly best?: { readonly step: number; readonly value: number | null };
  /** Embedding space of the finished model. */
  readonly embeddingSpace?: string;
  /** Time of training, in milliseconds. */
  readonly wallMs: number;
  /** Amounts that the run spent, by name. */
  readonly ledger: Readonly<Record<string, number>>;
  /** Curves of the logged values. */
  readonly curves: readonly Curve[];
  /** Time of completion, in ISO 8601. */
  readonly finished: string;
}

/** Format of comparisons of trained retrievers, and of language systems. */
export const FORMATS = ['undrift-comparison-1', 'undrift-lm-comparison-1'] as const;

/** Options of `combineRuns`. */
export interface CombineOptions {
  /** Rankers without training. Default none. */
  readonly baselines?: readonly Baseline[];
  /** Runs that ended with an error. Default none. */
  readonly failures?: readonly RunFailure[];
  /** What the metrics are averaged over. Default queries, of a comparison of trained retrievers. */
  readonly units?: Exclude<UnitNoun, 'queries'> | undefined;
  /** Tests the arms against the first one, which takes seconds. Default true. */
  readonly tests?: boolean;
}

/** Combines the runs of a comparison into its results. Runs may be missing. */
export function combineRuns(
  comparison: Pick<Comparison, 'name' | 'budget' | 'evaluate' | 'seeds'> & {
    readonly arms: readonly Pick<Arm, 'name' | 'method'>[];
  },
  data: Omit<DataFacts, 'testQueries'>,
  runs: readonly MeasuredRun[],
  { baselines = [], failures = [], units, tests: wanted = true }: CombineOptions = {},
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
    format: units ? FORMATS[1] : FORMATS[0],
    name,
    data: { ...data, testQueries: runs[0]?.evaluation.queryIds.length ?? 0 },
    budget,
    evaluate,
    ...(units && { units }),
    seeds,
    baselines,
    complete: runs.length === arms.length * seeds.length,
    arms: arms.map((arm, i) => combineArm(arm, runsOf(arm.name), adjusted[i]!)),
    machines: distinct(runs.map(({ training }) => training.machine)),
    failures,
  };
}

function combineArm(
  { name, method }: { name: string; method: string },
  runs: readonly MeasuredRun[],
  againstFirst: ArmResults['againstFirst'],
): ArmResults {
  const costs = runs.map(({ training }) => ({
    ...(training.steps !== undefined && { steps: training.steps }),
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

/** Computes mean and spread of each name over the records that have it. */
function spreads(records: readonly Readonly<Record<string, number>>[]): Record<string, Spread> {
  const names = [...new Set(records.flatMap((record) => Object.keys(record)))];
  return Object.fromEntries(
    names.map((name) => [name, spread(records.flatMap((record) => record[name] ?? []))]),
  );
}

type UnadjustedTest = Omit<PairedTest, 'pHolm'>;

function testsAgainst(
  first: readonly MeasuredRun[],
  other: readonly MeasuredRun[],
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
    // A measure that is no mean over the units, such as perplexity, has no values to pair.
    if (pairs.some(({ a, b }) => !a.perQuery[metric] || !b.perQuery[metric])) continue;
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

/** Adjusts the p-values of each metric for the number of arms. */
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

/** Tests whether a JSON value has the format of `results.json`. */
export const isResults = (json: unknown): json is ComparisonResults =>
  isObject(json) && FORMATS.some((format) => format === json.format);

/**
 * Reads the results of a comparison.
 *
 * @throws DataError if the file cannot be read or has another format, or a field of it is missing or of another type
 */
export async function readResults(file: string): Promise<ComparisonResults> {
  const json = await readJson(file);
  if (!isResults(json)) {
    throw new DataError(`this is no result of a comparison: "format" is none of ${FORMATS.join(', ')}`, {
      file,
      help: 'name the results.json of a comparison; a damaged one may be removed, and the comparison run again',
    });
  }
  checkShape(json, json.format === FORMATS[0] ? RESULTS_SHAPE : LANGUAGE_RESULTS_SHAPE, {
    file,
    help: 'remove the file, and run the comparison again: finished runs are kept',
  });
  // Earlier versions measured one baseline.
  const { baseline, ...results } = json as ComparisonResults & { readonly baseline?: Baseline };
  return {
    ...results,
    baselines: results.baselines ?? (baseline ? [baseline] : []),
    failures: results.failures ?? [],
  };
}
