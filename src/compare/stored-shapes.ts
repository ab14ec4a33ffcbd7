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

const TRAINING = {
  steps: aCount,
  stoppedEarly: aFlag,
  best: objectOf({ step: aCount, value: orNull(aNumber) }),
  embeddingSpace: aText,
  wallMs: aNumber,
  ledger: recordOf(aNumber),
  curves: listOf(aCurve),
  finished: aText,
};

/** Shape of `plans/<arm>.json`. */
export const PLAN: JsonShape = objectOf({
  steps: aCount,
  budget: aBudget,
  settings: someSettings,
  dataFingerprint: aText,
  measuredSteps: aCount,
});

/** Shape of `runs/<arm>-<seed>.json`. The evaluation has every metric of the plan, with a value for each query. */
export const RUN_RESULT: JsonShape = checked(
  objectOf({
    arm: aText,
    seed: aNumber,
    settings: someSettings,
    dataFingerprint: aText,
    training: objectOf({ ...TRAINING, machine: aMachine }),
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
        recordOf(listOf(aNumber), [name])(perQuery, 'evaluation.perQuery');
      if (fault !== undefined) return fault;
      if (perQuery[name]!.length !== queryIds.length) {
        return `"evaluation.perQuery.${name}" has ${perQuery[name]!.length} values for the ${queryIds.length} queries of "evaluation.queryIds"`;
      }
    }
    return undefined;
  },
);

const aSpread = objectOf({ mean: aNumber, sd: orNull(aNumber), values: listOf(aNumber) });

const aTest = objectOf({
  difference: aNumber,
  interval: objectOf({ low: aNumber, high: aNumber, confidence: aNumber }),
  pValue: aNumber,
  pHolm: aNumber,
  seeds: listOf(aNumber),
  queries: aCount,
});

const ARM = {
  name: aText,
  method: aText,
  settings: orNull(someSettings),
  metrics: recordOf(aSpread),
  cost: recordOf(aSpread),
  againstFirst: recordOf(aTest),
  runs: listOf(objectOf({ seed: aNumber, metrics: recordOf(aNumber), ...TRAINING })),
};

/** Shape of `results.json`. An arm with runs has its settings and every metric of the evaluation. */
export const RESULTS_SHAPE: JsonShape = checked(
  objectOf({
    name: aText,
    data: objectOf({ name: aText, fingerprint: aText, documents: aCount, testQueries: aCount }),
    budget: orNull(aBudget),
    evaluate: anEvaluation,
    seeds: listOf(aNumber),
    complete: aFlag,
    arms: listOf(objectOf(ARM)),
    machines: listOf(aMachine),
    baseline: optional(objectOf({ name: aText, metrics: recordOf(aNumber) })),
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
