import { OPTIMIZERS } from '../optim/find-optimizer.ts';
import { SCHEDULES } from '../optim/schedule.ts';
import { BASELINE_OPTIONS } from '../retrieval/retrieval-options.ts';
import { PRECISIONS } from '../runtime/devices.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import type { OptionTable } from '../util/option-table.ts';

/** Options of the length of a run, and of the size of its batches. */
export const LENGTH_OPTIONS = {
  /** Passes over the training queries, > 0. Default 12 for a new model, 3 for a given one. */
  epochs: {
    type: 'number',
    above: 0,
    defaultHelp: '12; 3 for a given model',
    help: 'passes over the training queries',
    group: 'Length',
    aliases: ['num_train_epochs', 'numTrainEpochs', 'num_epochs', 'numEpochs'],
  },
  /** Updates of the parameters, as an alternative to `epochs`. */
  steps: {
    type: 'integer',
    min: 1,
    help: 'updates of the parameters, instead of --epochs',
    group: 'Length',
    aliases: ['max_steps', 'maxSteps', 'num_steps', 'numSteps', 'totalSteps'],
  },
  /** Queries in a batch, B. Default 128 for `static`, 32 for other models, 64 for methods on texts. */
  batchSize: {
    type: 'integer',
    min: 2,
    max: 65_536,
    defaultHelp: '128 for static, else 32; crop 64',
    help: 'queries in a batch',
    group: 'Length',
    aliases: ['per_device_train_batch_size', 'perDeviceTrainBatchSize', 'train_batch_size', 'trainBatchSize'],
  },
  /** Batches whose gradients are averaged into one update; the last update of the epochs may have fewer. Default 1. */
  accumulate: {
    type: 'integer',
    min: 1,
    max: 65_536,
    default: 1,
    help: 'batches whose gradients are averaged into one update',
    group: 'Length',
    aliases: ['gradient_accumulation_steps', 'gradientAccumulationSteps', 'accumulationSteps'],
  },
  /** Texts that `grad-cache` encodes at once; they limit its memory. Default 32. */
  chunkSize: {
    type: 'integer',
    min: 1,
    max: 65_536,
    default: 32,
    help: 'grad-cache: texts encoded at once',
    group: 'Length',
    aliases: ['mini_batch_size', 'miniBatchSize'],
  },
  /** Negatives of the data for each query of a batch, where the data has some. Default 0; 4 for `distill`. */
  negatives: {
    type: 'integer',
    min: 0,
    max: 1024,
    defaultHelp: '0; distill 4',
    help: 'negatives of the data for each query of a batch',
    group: 'Length',
    aliases: ['hardNegatives', 'num_hard_negatives', 'train_group_size'],
  },
  /** Stop after n evaluations without a new best one; 0 for never. Default 0. */
  patience: {
    type: 'integer',
    min: 0,
    default: 0,
    help: 'stop after n evaluations without a new best one; 0 for never',
    group: 'Length',
    aliases: ['early_stopping_patience', 'earlyStoppingPatience'],
  },
} as const satisfies OptionTable;

/** Options of how gradients move the parameters. */
export const OPTIMISATION_OPTIONS = {
  /** Peak learning rate. Default 0.01 for static models; 5e-4 for a new transformer and with LoRA; 5e-5 for a given one. */
  lr: {
    type: 'number',
    above: 0,
    defaultHelp: '0.01 for a static model; transformer: 5e-4 new or with --lora, 5e-5 given',
    help: 'peak learning rate',
    group: 'Optimisation',
    aliases: ['learning_rate', 'learningRate'],
  },
  /** Softmax temperature τ, by which scores are divided. Default 0.05. */
  temperature: {
    type: 'number',
    above: 0,
    default: 0.05,
    help: 'softmax temperature τ, which scores are divided by',
    group: 'Optimisation',
    aliases: ['scale', 'tau', 'logit_scale', 'logitScale'],
  },
  /** Whether the temperature is trained as a parameter. Default false. */
  learnTemperature: {
    type: 'switch',
    default: false,
    help: 'train the temperature as a parameter too',
    group: 'Optimisation',
  },
  /** Formula by which gradients move the parameters. Default `adamw`. */
  optimizer: {
    type: 'choice',
    choices: OPTIMIZERS,
    default: 'adamw',
    help: 'formula by which gradients move the parameters',
    group: 'Optimisation',
    aliases: ['optim', 'optimiser'],
  },
  /** Dtype in which training multiplies matrices; weights, sums and the optimizer stay f32. Default `f32`. */
  precision: {
    type: 'choice',
    choices: PRECISIONS,
    default: 'f32',
    help: 'f16: multiply matrices in half precision, with a loss scale; for webgpu and cuda',
    group: 'Optimisation',
    aliases: ['fp16', 'bf16', 'dtype', 'torch_dtype'],
  },
  /** Decoupled weight decay, 0 to 10; norms and biases get none. Default 0.01. */
  weightDecay: {
    type: 'number',
    min: 0,
    max: 10,
    default: 0.01,
    help: 'decoupled weight decay; norms and biases get none',
    group: 'Optimisation',
    aliases: ['weight_decay'],
  },
  /** Global norm to which gradients are clipped; 0 for no clipping. Default 1. */
  maxGradNorm: {
    type: 'number',
    min: 0,
    default: 1,
    help: 'global norm to which gradients are clipped; 0 for no clipping',
    group: 'Optimisation',
    aliases: ['max_grad_norm', 'clipGradNorm', 'maxGradientNorm', 'gradientClipping'],
  },
  /** Change of the learning rate after the warm-up, as in transformers: the last update still has a rate above 0. Default `linear`. */
  schedule: {
    type: 'choice',
    choices: SCHEDULES,
    default: 'linear',
    help: 'how the learning rate falls after the warm-up',
    group: 'Optimisation',
    aliases: ['lr_scheduler_type', 'lrSchedulerType', 'scheduler', 'lrScheduler'],
  },
  /** Length of the warm-up: a share of the run below 1, a number of steps from 1 on. Default 0.1. */
  warmup: {
    type: 'number',
    min: 0,
    default: 0.1,
    check: checkWarmup,
    help: 'warm-up: below 1 a share of the run, from 1 on a number of steps',
    group: 'Optimisation',
    aliases: ['warmup_ratio', 'warmupRatio', 'warmup_steps', 'warmupSteps'],
  },
  /** Share of hidden units dropped in training, in [0, 1). Default 0. */
  dropout: {
    type: 'number',
    min: 0,
    below: 1,
    default: 0,
    help: 'share of hidden units dropped in training',
    group: 'Optimisation',
    aliases: ['hidden_dropout_prob', 'attention_probs_dropout_prob'],
  },
  /** Seed of all randomness: the same seed gives the same bytes. Default 1. */
  seed: {
    type: 'integer',
    min: 0,
    max: 2 ** 32 - 1,
    default: 1,
    help: 'seed of all randomness: the same seed gives the same bytes',
    group: 'Optimisation',
    aliases: ['data_seed', 'randomSeed'],
  },
} as const satisfies OptionTable;

/** Options of measuring and saving during a run. */
export const EVALUATION_OPTIONS = {
  /**
   * Split to evaluate on during training; `none` for no evaluation. Default `dev`, and no evaluation where the data has none; for
   * methods on texts `held-out`, documents that are not trained on.
   */
  evalSplit: {
    type: 'text',
    value: 'name',
    defaultHelp: 'dev; crop: held-out documents',
    help: 'split that is evaluated during training; none: keep the last model, not the best',
    group: 'Evaluation',
    aliases: ['eval_dataset', 'evalDataset'],
  },
  /** Metric that decides which model is the best. Default `ndcg@10`; `spearman` for scored pairs. */
  evalMetric: {
    type: 'text',
    value: 'metric',
    defaultHelp: 'ndcg@10; scored-pairs: spearman',
    help: 'metric that decides which model is the best; for scored-pairs spearman or pearson; replug-lsr also: expectedScore, teacherAgreement',
    group: 'Evaluation',
    aliases: ['metric_for_best_model', 'metricForBestModel', 'metric', 'evalMetrics'],
  },
  /** Steps between evaluations. Default: a tenth of the run. */
  evalEvery: {
    type: 'integer',
    min: 1,
    defaultHelp: 'a tenth of the run',
    help: 'steps between evaluations',
    group: 'Evaluation',
    aliases: ['eval_steps', 'evalSteps', 'evaluation_steps', 'evaluationSteps'],
  },
  /** Largest number of queries of an evaluation, evenly spaced over the split. Default 1000. */
  evalQueries: {
    type: 'integer',
    min: 1,
    default: 1000,
    help: 'queries of an evaluation at most, evenly spaced over the split',
    group: 'Evaluation',
    aliases: ['max_eval_samples', 'maxEvalSamples'],
  },
  ...BASELINE_OPTIONS,
  /** Steps between checkpoints. Default: at each evaluation. */
  saveEvery: {
    type: 'integer',
    min: 1,
    defaultHelp: 'at every evaluation',
    help: 'steps between checkpoints',
    group: 'Evaluation',
    aliases: ['save_steps', 'saveSteps', 'checkpoint_save_steps'],
  },
  /**
   * Steps between measurements of how stale embeddings affect the gradient; 0 for none. They do not change the run, except that a
   * corrector found worse than none is bypassed. Default 0.
   */
  diagnose: {
    type: 'integer',
    min: 0,
    default: 0,
    help: 'steps between measurements of what stale caches do to the gradient; 0 for none',
    group: 'Evaluation',
  },
} as const satisfies OptionTable;

function checkWarmup(warmup: number): void {
  if (warmup <= 1 || Number.isInteger(warmup)) return;
  throw new UsageError(
    `${option('warmup')} should be below 1 (a share of the run) or a whole number of steps, found "${warmup}"`,
  );
}
