import {
  aCount,
  aFlag,
  aNumber,
  anyOf,
  aText,
  checked,
  inside,
  type JsonShape,
  listOf,
  objectOf,
  oneOf,
  optional,
  orNull,
  recordOf,
} from '../util/json-shape.ts';
import { BUDGET_KINDS } from './comparison.ts';

/** Shapes of the files that a comparison writes and reads again: `results.json`, `runs/*.json` and `plans/*.json`. */

const aBudget = objectOf({ kind: oneOf(...BUDGET_KINDS), amount: aNumber });

const anEvaluation = objectOf({ split: aText, metrics: listOf(aText), queries: orNull(aCount) });

/** A stored setting: a text, number, switch, list of these, names by role (`columns`), or null. */
const aSetting = orNull(
  anyOf(aText, aNumber, aFlag, listOf(anyOf(aText, aNumber)), recordOf(anyOf(aText, listOf(aText)))),
);

/** Stored settings of a run. Those that came with later versions may be absent. */
const someSettings = checked(recordOf(aSetting), (settings, place) =>
  objectOf({ method: aText, model: aText })(settings, place),
);

const aMachine = objectOf({
  processor: aText,
  cores: aCount,
  memoryBytes: aCount,
  platform: aText,
  versions: recordOf(aText),
});

const aCurve = checked(
  objectOf({
    kind: aText,
    name: aText,
    steps: listOf(aNumber),
    wallMs: listOf(aNumber),
    values: listOf(aNumber),
  }),
  ({ steps, wallMs, values }, place) => {
    const lengths = [steps, wallMs, values].map((list) => (list as readonly number[]).length);
    return new Set(lengths).size === 1
      ? undefined
      : `the lists of "${place}" have different lengths: ${lengths.join(', ')}`;
  },
);

/** Costs of a run of any kind. */
const COSTS = {
  wallMs: aNumber,
  ledger: recordOf(aNumber),
  curves: listOf(aCurve),
  finished: aText,
};

const TRAINING = {
  steps: aCount,
  stoppedEarly: aFlag,
  best: objectOf({ step: aCount, value: orNull(aNumber) }),
  embeddingSpace: aText,
  ...COSTS,
};

/** Shape of `plans/<arm>.json`. */
export const PLAN: JsonShape = objectOf({
  steps: aCount,
  budget: aBudget,
  settings: someSettings,
  dataFingerprint: aText,
  measuredSteps: aCount,
});

/**
 * Makes the shape of the result of a run. The evaluation has every metric of the plan.
 *
 * @param settings.allPaired  whether each metric has a value for each query; else some are no means, such as perplexity
 */
const runShape = (
  training: Readonly<Record<string, JsonShape>>,
  { allPaired }: { readonly allPaired: boolean },
): JsonShape =>
  checked(
    objectOf({
      arm: aText,
      seed: aNumber,
      settings: someSettings,
      dataFingerprint: aText,
      training: objectOf({ ...training, machine: aMachine }),
      plan: anEvaluation,
      evaluation: objectOf({
        metrics: recordOf(aNumber),
        queryIds: listOf(aText),
        perQuery: recordOf(listOf(aNumber)),
      }),
    }),
    ({ plan, evaluation }) => {
      const { metrics: names } = plan as { metrics: readonly string[] };
      const { queryIds, perQuery, metrics } = evaluation as {
        metrics: object;
        queryIds: readonly string[];
        perQuery: Readonly<Record<string, readonly number[]>>;
      };
      for (const name of names) {
        const fault =
          recordOf(aNumber, [name])(metrics, 'evaluation.metrics') ??
          recordOf(listOf(aNumber), allPaired ? [name] : [])(perQuery, 'evaluation.perQuery');
        if (fault !== undefined) return fault;
        const { length = queryIds.length } = perQuery[name] ?? {};
        if (length !== queryIds.length) {
          return `"evaluation.perQuery.${name}" has ${length} values for the ${queryIds.length} queries of "evaluation.queryIds"`;
        }
      }
      return undefined;
    },
  );

/** Shape of `runs/<arm>-<seed>.json`. */
export const RUN_RESULT: JsonShape = runShape(TRAINING, { allPaired: true });

/** Shape of `arms/<arm>.json`, of a language system. */
export const LANGUAGE_RUN: JsonShape = runShape(COSTS, { allPaired: false });

const aSpread = objectOf({ mean: aNumber, sd: orNull(aNumber), values: listOf(aNumber) });

const aTest = objectOf({
  difference: aNumber,
  interval: objectOf({ low: aNumber, high: aNumber, confidence: aNumber }),
  pValue: aNumber,
  pHolm: aNumber,
  seeds: listOf(aNumber),
  queries: aCount,
});

const armShape = (training: Readonly<Record<string, JsonShape>>) => ({
  name: aText,
  method: aText,
  settings: orNull(someSettings),
  metrics: recordOf(aSpread),
  cost: recordOf(aSpread),
  againstFirst: recordOf(aTest),
  runs: listOf(objectOf({ seed: aNumber, metrics: recordOf(aNumber), ...training })),
});

const aBaseline = objectOf({ name: aText, metrics: recordOf(aNumber) });

/** Makes the shape of `results.json`. An arm with runs has its settings and every metric of the evaluation. */
const resultsShape = (training: Readonly<Record<string, JsonShape>>): JsonShape =>
  checked(
    objectOf({
      name: aText,
      data: objectOf({ name: aText, fingerprint: aText, documents: aCount, testQueries: aCount }),
      budget: orNull(aBudget),
      evaluate: anEvaluation,
      seeds: listOf(aNumber),
      complete: aFlag,
      arms: listOf(objectOf(armShape(training))),
      machines: listOf(aMachine),
      units: optional(aText),
      baselines: optional(listOf(aBaseline)),
      baseline: optional(aBaseline),
      failures: optional(listOf(objectOf({ arm: aText, seed: aNumber, message: aText }))),
    }),
    ({ evaluate, arms }) => {
      const { metrics } = evaluate as { metrics: readonly string[] };
      const ofRuns = objectOf({
        settings: someSettings,
        metrics: recordOf(aSpread, metrics),
        runs: listOf(objectOf({ metrics: recordOf(aNumber, metrics) })),
      });
      for (const [i, arm] of (arms as readonly { runs: readonly unknown[] }[]).entries()) {
        const fault = arm.runs.length > 0 ? ofRuns(arm, inside('', `arms[${i}]`)) : undefined;
        if (fault !== undefined) return fault;
      }
      return undefined;
    },
  );

/** Shape of `results.json` of trained retrievers. */
export const RESULTS_SHAPE: JsonShape = resultsShape(TRAINING);

/** Shape of `results.json` of language systems. */
export const LANGUAGE_RESULTS_SHAPE: JsonShape = resultsShape(COSTS);
