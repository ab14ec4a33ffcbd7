import { IN_MEMORY } from '../data/data-in-memory.ts';
import type { Method } from '../methods/contract/method.ts';
import { resolveMethodOptions } from '../methods/contract/method-options.ts';
import { methodOf } from '../methods/methods.ts';
import { METHOD_OPTIONS, type MethodOptions } from '../methods/options.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { UndriftError, UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { checkOption, checkOptions, type GivenValues, optionValues } from '../util/option-table.ts';
import { inOrder } from '../util/option-text.ts';
import { exampleKind } from './examples/example-kinds.ts';
import { RUN_OPTIONS, TRAIN_OPTIONS, type TrainOptions } from './options.ts';

export type { TrainOptions } from './options.ts';

/** Options of a run with every default filled in, as stored in its `settings.json`. */
export type TrainSettings = {
  [K in Exclude<
    keyof TrainOptions,
    OptionalSetting | 'data' | 'evalData' | 'method' | 'methodOptions'
  >]-?: NonNullable<TrainOptions[K]>;
} & {
  /** Id of the method. */
  method: string;
  /** Path or name of the data; `(memory)` for data in memory; that of the store for documents of a store alone. */
  data: string;
  /** Path or name of the data to evaluate on; `(memory)` for data in memory, null for that of `data`. */
  evalData: string | null;
} & { [K in OptionalSetting]: NonNullable<TrainOptions[K]> | null };

/**
 * Settings that may be null, for "none". A null `lr` is the default of a given model, which depends on its kind; a run stores the
 * number.
 */
export type OptionalSetting =
  | keyof MethodOptions
  | 'store'
  | 'columns'
  | 'steps'
  | 'lr'
  | 'lora'
  | 'loraAlpha'
  | 'loraTargets'
  | 'freeze'
  | 'trainOnly'
  | 'projection'
  | 'tokenizer'
  | 'evalEvery'
  | 'saveEvery'
  | 'heads'
  | 'towers'
  | 'pooling'
  | 'normalize'
  | 'maxQueryTokens'
  | 'maxDocTokens'
  | 'queryPrompt'
  | 'docPrompt';

/** Default learning rate of static models, new or given. Their token vectors are looked up: no layers amplify a change. */
const STATIC_RATE = 0.01;
/** Default learning rate of a given transformer. */
const GIVEN_TRANSFORMER_RATE = 5e-5;

/** Returns the default learning rate of a given model, by its kind. */
export const defaultRate = ({
  encoder,
}: {
  readonly encoder: Pick<Retriever['encoder'], 'moduleClass'>;
}): number => (encoder.moduleClass === 'StaticEmbedding' ? STATIC_RATE : GIVEN_TRANSFORMER_RATE);

/**
 * Refuses options of a run that contradict each other.
 *
 * @throws UsageError for `resume` with `overwrite`, and for `steps` with `epochs`
 */
export function checkRunChoices({
  resume,
  overwrite,
  steps,
  epochs,
}: {
  readonly resume?: boolean | undefined;
  readonly overwrite?: boolean | undefined;
  readonly steps?: number | null | undefined;
  readonly epochs?: number | null | undefined;
}): void {
  if (resume && overwrite) {
    throw new UsageError(`${option('resume')} and ${option('overwrite')} exclude each other`);
  }
  if ((steps ?? null) !== null && (epochs ?? null) !== null) {
    throw new UsageError(`${option('steps')} and ${option('epochs')} both say how long to train`, {
      help: 'give one of them',
    });
  }
}

/** Kinds of model that a run can create. */
export const NEW_MODELS = ['static', 'transformer'] as const;

/** Tells whether the option `model` names a new model instead of a given one. */
export const isNewModel = (model: string): model is (typeof NEW_MODELS)[number] =>
  (NEW_MODELS as readonly string[]).includes(model);

/**
 * Checks the options of a run and fills in defaults, which depend on the model and the method. A given model keeps its own shape,
 * prompts and lengths. Options of the machine and of the folder (`threads`, `resume`, …) are checked, but are not part of the
 * result.
 *
 * @throws UsageError for an option that is unknown, missing, of another type, out of range or not for this method, and for
 *   options that contradict each other
 */
export function resolveSettings(given: TrainOptions): TrainSettings {
  const { data, evalData, method: named, methodOptions: own = {}, ...shared } = given;
  const others = { ...shared, ...own };
  if (named !== undefined && typeof named !== 'object') checkOption('method', RUN_OPTIONS.method, named);
  const method = methodOf(named ?? RUN_OPTIONS.method.default);
  checkOptions({ ...TRAIN_OPTIONS, ...method.options }, others);
  const isAlone = method.trainsOn === 'texts' && given.store !== undefined;
  for (const key of ['data', 'out'] as const) {
    if ((given[key] ?? null) === null && !(key === 'data' && isAlone))
      throw new UsageError(`${option(key)} is missing`);
  }
  if (data !== undefined && typeof data !== 'object') checkOption('data', RUN_OPTIONS.data, data);
  if (typeof evalData !== 'object' && evalData !== undefined)
    checkOption('evalData', RUN_OPTIONS.evalData, evalData);
  const options = optionValues(RUN_OPTIONS, others);
  const { model } = options;
  checkRunChoices(options);
  const isStatic = model === 'static';
  const fresh = isNewModel(model);
  if (fresh) requireGivenModel(options);
  const kind = exampleKind(method);
  const evalMetric = options.evalMetric ?? kind.evalMetric;
  if (!method.heldOutMetrics?.includes(evalMetric)) kind.checkMetric(evalMetric);
  return {
    ...methodSettings(method, others),
    data: typeof data === 'string' ? data : data ? IN_MEMORY : given.store!,
    store: options.store ?? null,
    evalData: typeof evalData === 'string' ? evalData : evalData ? IN_MEMORY : null,
    out: given.out,
    model,
    method: method.id,
    // A store that lacks right answers is probably that of other data.
    missingDocuments: given.missingDocuments ?? (options.store ? 'error' : options.missingDocuments),
    skipBadRows: options.skipBadRows,
    passageWords: options.passageWords,
    passageOverlap: options.passageOverlap,
    columns: options.columns ? inOrder(RUN_OPTIONS.columns, options.columns) : null,
    epochs: options.epochs ?? (fresh ? 12 : 3),
    steps: options.steps ?? null,
    batchSize: options.batchSize ?? (isStatic ? 128 : (kind.batchSize ?? 32)),
    accumulate: options.accumulate,
    chunkSize: options.chunkSize,
    negatives: options.negatives ?? method.negatives ?? 0,
    lr: options.lr ?? (isStatic ? STATIC_RATE : fresh || options.lora ? 5e-4 : null),
    optimizer: options.optimizer,
    precision: options.precision,
    weightDecay: options.weightDecay,
    maxGradNorm: options.maxGradNorm,
    schedule: options.schedule,
    warmup: options.warmup,
    temperature: options.temperature,
    learnTemperature: options.learnTemperature,
    dropout: options.dropout,
    lora: options.lora ?? null,
    loraAlpha: options.loraAlpha ?? (options.lora ? 2 * options.lora : null),
    loraTargets: options.loraTargets ?? null,
    freeze: options.freeze ?? null,
    trainOnly: options.trainOnly ?? null,
    hidden: options.hidden ?? (isStatic ? 512 : 256),
    layers: options.layers,
    heads: options.heads ?? null,
    towers: options.towers ?? null,
    pooling: options.pooling ?? null,
    normalize: options.normalize ?? null,
    projection: options.projection ?? null,
    tokenizer: options.tokenizer ?? null,
    vocabulary: options.vocabulary,
    vocabSize: options.vocabSize ?? (isStatic ? 4096 : 8192),
    maxQueryTokens: options.maxQueryTokens ?? (fresh ? 64 : null),
    maxDocTokens: options.maxDocTokens ?? (fresh ? (isStatic ? 256 : 128) : null),
    queryPrompt: options.queryPrompt ?? (fresh ? '' : null),
    docPrompt: options.docPrompt ?? (fresh ? '' : null),
    evalSplit: options.evalSplit ?? (evalData ? 'dev' : kind.evalSplit),
    evalMetric,
    evalEvery: options.evalEvery ?? null,
    evalQueries: options.evalQueries,
    baseline: options.baseline,
    patience: options.patience,
    saveEvery: options.saveEvery ?? null,
    diagnose: options.diagnose,
    seed: options.seed,
  };
}

/**
 * Checks that a new model is not asked to keep some of its weights, which are random.
 *
 * @throws UsageError where it is
 */
export function requireGivenModel({ lora, loraAlpha, loraTargets, freeze, trainOnly }: GivenValues): void {
  const asked = Object.entries({ lora, loraAlpha, loraTargets, freeze, trainOnly }).find(
    ([, value]) => value !== undefined,
  );
  if (!asked) return;
  throw new UsageError(
    `${option(asked[0])} keeps weights of a model as they are, and a new one has random weights`,
    {
      help: `give a trained model: ${option('model', '<folder>')}`,
    },
  );
}

/** Returns the options of a method with defaults filled in; null for those that it does not take. */
function methodSettings(method: Method, options: GivenValues): Pick<TrainSettings, keyof MethodOptions> {
  const names = Object.keys({ ...METHOD_OPTIONS, ...method.options });
  const given = Object.fromEntries(names.map((name) => [name, options[name]]));
  const resolved = resolveMethodOptions(method, given);
  const all = names.map((name) => [name, resolved[name] ?? null]);
  return Object.fromEntries(all) as Pick<TrainSettings, keyof MethodOptions>;
}

/** Picks the options of the method from the settings of a run. */
export const methodOptions = (settings: TrainSettings): GivenValues =>
  Object.fromEntries(
    Object.entries(settings).filter(([name, value]) => !Object.hasOwn(RUN_OPTIONS, name) && value !== null),
  );

/** Settings that may differ between a run and its resumption: the places of its folders, and options that do not change the model. */
export const FREE_SETTINGS: ReadonlySet<string> = new Set([
  'data',
  'store',
  'evalData',
  'out',
  'baseline',
  'saveEvery',
  'diagnose',
]);

/** Settings that every run has, whatever it trains. */
export interface AnySettings {
  readonly method: string;
  readonly data: string;
  readonly out: string;
  readonly lr: number | null;
}

/** Returns the settings that a run cannot change when it is resumed. */
export const identifyingSettings = (settings: AnySettings): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(settings).filter(([key]) => !FREE_SETTINGS.has(key)));

/** Settings of the length of a run. */
const LENGTHS = new Set<string>(['epochs', 'steps']);

/**
 * Checks that a resumed run has the settings of the run that it resumes.
 *
 * @param out  folder of the run, for the message
 * @throws UndriftError, with a list of the settings that differ
 */
export function checkSameSettings(before: AnySettings, after: AnySettings, out: string): void {
  const stored = before as unknown as GivenValues;
  const now = identifyingSettings(after);
  const differing = Object.keys(now).filter(
    // A run of an earlier version has no value for a setting that came later.
    (key) => key in stored && JSON.stringify(stored[key] ?? null) !== JSON.stringify(now[key] ?? null),
  );
  if (differing.length === 0) return;
  const list = differing.map(
    (key) => `${key}: ${JSON.stringify(stored[key])} then, ${JSON.stringify(now[key])} now`,
  );
  throw new UndriftError(`the run in ${out} was started with other settings\n  ${list.join('\n  ')}`, {
    help: differing.some((key) => LENGTHS.has(key))
      ? 'a run keeps its length, because its learning rate falls towards its end; to train longer, start another run from its model: ' +
        `${option('model', out)} and another ${option('out')}`
      : `resume with the same options (or give only ${option('out')} and ${option('resume')}), or start another run in another folder`,
  });
}
