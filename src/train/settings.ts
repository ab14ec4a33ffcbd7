import { type DataInMemory, IN_MEMORY } from '../data/data-in-memory.ts';
import type { Method } from '../methods/contract/method.ts';
import {
  METHOD_OPTION_NAMES,
  type MethodOptions,
  resolveMethodOptions,
} from '../methods/contract/method-options.ts';
import { findMethod } from '../methods/methods.ts';
import type { Pooling } from '../nn/layers.ts';
import type { ScheduleName } from '../optim/schedule.ts';
import { SCHEDULES } from '../optim/schedule.ts';
import type { Precision } from '../runtime/devices.ts';
import { UndriftError, UsageError } from '../util/errors.ts';
import { exampleKind } from './examples/example-kinds.ts';

export type OptimizerName = 'adamw' | 'sgd' | 'lion';

/** Options of the training method; which of them there are, and their defaults, is the method's own affair. */
type MethodChoices = { [K in Exclude<keyof MethodOptions, 'loss'>]?: MethodOptions[K] | undefined } & {
  /** Its id, or what sentence-transformers calls it. */
  loss?: string | undefined;
};

/** What a training run can be told. Only `data` and `out` must be given; what is left out depends on the model. */
export interface TrainOptions extends MethodChoices {
  /** Data folder or file, or data in memory (see `loadData`, and `loadTexts` for methods on texts). */
  data: string | DataInMemory;
  /** Folder of the run: checkpoint, log, and the model in `model/`. */
  out: string;
  /** `static`, `transformer`, or a model to go on from: its folder, or its name on the hub. Default `static`. */
  model?: string | undefined;
  /** Id of a training method. Default `in-batch`. */
  method?: string | undefined;
  /** Passes over the training queries; default 12 for a new model, 3 for a given one. */
  epochs?: number | undefined;
  /** Updates, instead of epochs. */
  steps?: number | undefined;
  /** Queries per batch, B. Default 128 for `static`, else 32, for methods on texts 64. */
  batchSize?: number | undefined;
  /** Batches whose gradients are averaged into one update. Default 1. */
  accumulate?: number | undefined;
  /** Texts encoded at once by `grad-cache`: what bounds its memory. Default 32. */
  chunkSize?: number | undefined;
  /** Negatives of the data per query and batch, where the data has some. Default 0. */
  negatives?: number | undefined;

  /** Peak learning rate; default 0.01 for `static`, 5e-4 for a new transformer, 5e-5 for a given model. */
  lr?: number | undefined;
  optimizer?: OptimizerName | undefined;
  /** Dtype in which training multiplies matrices; weights, sums and the optimizer are f32. Default `f32`. */
  precision?: Precision | undefined;
  weightDecay?: number | undefined;
  /** Global norm to which gradients are clipped; 0 for no clipping. Default 1. */
  maxGradNorm?: number | undefined;
  schedule?: ScheduleName | undefined;
  /** Warm-up: a share of the run below 1, a number of steps from 1 on. Default 0.1. */
  warmup?: number | undefined;
  /** Softmax temperature τ. Default 0.05. */
  temperature?: number | undefined;
  learnTemperature?: boolean | undefined;
  dropout?: number | undefined;

  /** Of a given model: rank of the LoRA adapters that are trained in the place of its weights. Default: no adapters. */
  lora?: number | undefined;
  /** LoRA's α: adapters count α / rank times. Default twice the rank. */
  loraAlpha?: number | undefined;
  /** Linear layers that get adapters (see `TuningOptions`). Default: queries and values of the attention. */
  loraTargets?: readonly string[] | undefined;
  /** Parts of a given model that stay what they are: `embeddings`, `layers:0-3`, … (see `partMatcher`). */
  freeze?: readonly string[] | undefined;
  /** The only parts of a given model that are trained. */
  trainOnly?: readonly string[] | undefined;

  /** Width of a new model: embedding size for `static` (default 512), hidden size for `transformer` (default 256). */
  hidden?: number | undefined;
  layers?: number | undefined;
  heads?: number | undefined;
  towers?: 'shared' | 'separate' | undefined;
  pooling?: Pooling | undefined;
  normalize?: boolean | undefined;
  /** Size of a linear projection after pooling. */
  projection?: number | undefined;
  /** A `tokenizer.json` for a new model; default: a vocabulary is trained on the data. */
  tokenizer?: string | undefined;
  vocabulary?: 'wordpiece' | 'bpe' | undefined;
  vocabSize?: number | undefined;
  maxQueryTokens?: number | undefined;
  maxDocTokens?: number | undefined;
  queryPrompt?: string | undefined;
  docPrompt?: string | undefined;

  /**
   * Split for evaluation during training; `none` for none, as where the data has no `dev`. Default `dev`; for methods on texts
   * `held-out`, some documents that are not trained on.
   */
  evalSplit?: string | undefined;
  evalMetric?: string | undefined;
  /** Steps between evaluations; default about ten times a run. */
  evalEvery?: number | undefined;
  /** Dev queries per evaluation, evenly spaced over the split. Default 1000. */
  evalQueries?: number | undefined;
  /** Evaluations without a better one after which training stops; 0 for never. Default 0. */
  patience?: number | undefined;
  /** Steps between checkpoints; default: at each evaluation. */
  saveEvery?: number | undefined;
  /** Steps between measurements of what staleness does to the training; 0 for none. They change nothing. Default 0. */
  diagnose?: number | undefined;
  seed?: number | undefined;
}

/** The options with every default filled in: what a run is, as stored in its `settings.json`. */
export type TrainSettings = {
  [K in Exclude<keyof TrainOptions, OptionalSetting | 'data'>]-?: NonNullable<TrainOptions[K]>;
} & {
  /** The path of the data; `(memory)` for data in memory. */
  data: string;
} & { [K in OptionalSetting]: NonNullable<TrainOptions[K]> | null };

/** Settings for which "none" is an answer of its own. */
export type OptionalSetting =
  | keyof MethodOptions
  | 'steps'
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

/** Kinds of model that a run can make. */
export const NEW_MODELS = ['static', 'transformer'] as const;

export const isNewModel = (model: string): model is (typeof NEW_MODELS)[number] =>
  (NEW_MODELS as readonly string[]).includes(model);

/** Fills in defaults, which depend on the kind of model. A given model keeps its own shape, prompts and lengths. */
export function resolveSettings(options: TrainOptions): TrainSettings {
  const model = options.model ?? 'static';
  const isStatic = model === 'static';
  const fresh = isNewModel(model);
  if (options.steps !== undefined && options.epochs !== undefined) {
    throw new UsageError('--steps and --epochs both say how long to train', { help: 'give one of them' });
  }
  if (fresh) requireGivenModel(options);
  const schedule = options.schedule ?? 'linear';
  if (!SCHEDULES.includes(schedule)) throw new UsageError(`unknown schedule "${schedule}"`);
  const method = findMethod(options.method ?? 'in-batch');
  const kind = exampleKind(method);
  const evalMetric = options.evalMetric ?? kind.evalMetric;
  kind.checkMetric(evalMetric);
  return {
    ...methodSettings(method, options),
    data: typeof options.data === 'string' ? options.data : IN_MEMORY,
    out: options.out,
    model,
    method: method.id,
    epochs: options.epochs ?? (fresh ? 12 : 3),
    steps: options.steps ?? null,
    batchSize: options.batchSize ?? (isStatic ? 128 : (kind.batchSize ?? 32)),
    accumulate: options.accumulate ?? 1,
    chunkSize: options.chunkSize ?? 32,
    negatives: options.negatives ?? method.negatives ?? 0,
    lr: options.lr ?? (isStatic ? 0.01 : fresh || options.lora ? 5e-4 : 5e-5),
    optimizer: options.optimizer ?? 'adamw',
    precision: options.precision ?? 'f32',
    weightDecay: options.weightDecay ?? 0.01,
    maxGradNorm: options.maxGradNorm ?? 1,
    schedule,
    warmup: options.warmup ?? 0.1,
    temperature: options.temperature ?? 0.05,
    learnTemperature: options.learnTemperature ?? false,
    dropout: options.dropout ?? 0,
    lora: options.lora ?? null,
    loraAlpha: options.loraAlpha ?? (options.lora ? 2 * options.lora : null),
    loraTargets: options.loraTargets ?? null,
    freeze: options.freeze ?? null,
    trainOnly: options.trainOnly ?? null,
    hidden: options.hidden ?? (isStatic ? 512 : 256),
    layers: options.layers ?? 2,
    heads: options.heads ?? null,
    towers: options.towers ?? null,
    pooling: options.pooling ?? null,
    normalize: options.normalize ?? null,
    projection: options.projection ?? null,
    tokenizer: options.tokenizer ?? null,
    vocabulary: options.vocabulary ?? 'wordpiece',
    vocabSize: options.vocabSize ?? (isStatic ? 4096 : 8192),
    maxQueryTokens: options.maxQueryTokens ?? (fresh ? 64 : null),
    maxDocTokens: options.maxDocTokens ?? (fresh ? (isStatic ? 256 : 128) : null),
    queryPrompt: options.queryPrompt ?? (fresh ? '' : null),
    docPrompt: options.docPrompt ?? (fresh ? '' : null),
    evalSplit: options.evalSplit ?? kind.evalSplit,
    evalMetric,
    evalEvery: options.evalEvery ?? null,
    evalQueries: options.evalQueries ?? 1000,
    patience: options.patience ?? 0,
    saveEvery: options.saveEvery ?? null,
    diagnose: options.diagnose ?? 0,
    seed: options.seed ?? 1,
  };
}

/** @throws UsageError where a new model is asked to stay as it is in part: what it is, is random */
function requireGivenModel({ lora, loraAlpha, loraTargets, freeze, trainOnly }: TrainOptions): void {
  const asked = Object.entries({
    '--lora': lora,
    '--lora-alpha': loraAlpha,
    '--lora-targets': loraTargets,
    '--freeze': freeze,
    '--train-only': trainOnly,
  }).find(([, value]) => value !== undefined);
  if (!asked) return;
  throw new UsageError(`${asked[0]} keeps weights of a model as they are, and a new one has random weights`, {
    help: 'give a trained model: --model <folder>',
  });
}

/** The method's options with its defaults; null for those that it does not take. */
function methodSettings(method: Method, options: TrainOptions): Pick<TrainSettings, keyof MethodOptions> {
  const given = Object.fromEntries(METHOD_OPTION_NAMES.map((name) => [name, options[name]]));
  const resolved = resolveMethodOptions(method, given);
  const all = METHOD_OPTION_NAMES.map((name) => [name, resolved[name] ?? null]);
  return Object.fromEntries(all) as Pick<TrainSettings, keyof MethodOptions>;
}

/** The options of the method alone, as it takes them. */
export function methodOptions(settings: TrainSettings): Partial<MethodOptions> {
  const given = METHOD_OPTION_NAMES.filter((name) => (settings[name] ?? null) !== null);
  return Object.fromEntries(given.map((name) => [name, settings[name]]));
}

/** Settings that may differ between a run and its resumption: where the folders lie now, and what decides nothing about the model. */
const FREE = new Set<string>(['data', 'out', 'saveEvery', 'diagnose']);

/** @throws UndriftError listing what differs: a resumed run must be the run it resumes */
export function checkSameSettings(stored: TrainSettings, now: TrainSettings, out: string): void {
  const differing = (Object.keys(now) as (keyof TrainSettings)[]).filter(
    (key) => !FREE.has(key) && JSON.stringify(stored[key] ?? null) !== JSON.stringify(now[key] ?? null),
  );
  if (differing.length === 0) return;
  const list = differing.map(
    (key) => `${key}: ${JSON.stringify(stored[key])} then, ${JSON.stringify(now[key])} now`,
  );
  throw new UndriftError(`the run in ${out} was started with other settings\n  ${list.join('\n  ')}`, {
    help: 'resume with the same options (or give only --out and --resume), or start another run in another folder',
  });
}
