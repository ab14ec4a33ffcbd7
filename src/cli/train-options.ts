import { REFRESH_HELP } from '../cache/refresh-policy.ts';
import { CORRECTOR_KINDS } from '../correctors/corrector.ts';
import { CORRECTOR_LOSSES } from '../correctors/corrector-options.ts';
import { DISTANCES } from '../losses/distances.ts';
import {
  BATCH_LOSSES,
  DISTILLATION_LOSSES,
  LOSS_FORMS,
  PAIR_LOSSES,
} from '../methods/contract/loss-names.ts';
import { CORRECTED_FROM, SAMPLER_KINDS } from '../methods/contract/method-options.ts';
import { methods } from '../methods/methods.ts';
import { POOLINGS } from '../nn/layers.ts';
import { SCHEDULES } from '../optim/schedule.ts';
import { PRECISIONS } from '../runtime/devices.ts';
import { CROP_TASKS } from '../text/crops.ts';
import type { OptionTable } from '../util/option-table.ts';
import { COMPUTE_OPTIONS, DATA_HELP } from './shared-options.ts';

/**
 * Every option of `undrift train`, on the command line and in a config file. Where a default depends on the model it is no part of
 * the table: `resolveSettings` of the training run fills it in, and the help says what it is.
 */
export const TRAIN_OPTIONS = {
  data: { type: 'text', value: 'folder', help: DATA_HELP },
  corpus: {
    type: 'text',
    value: 'file',
    help: 'crop: documents alone, instead of --data: plain text (one a line), JSONL or Parquet with text, or a folder',
  },
  out: { type: 'text', value: 'folder', required: true, help: 'folder of the run: model, checkpoint, logs' },
  model: {
    type: 'text',
    value: 'model',
    help: 'static, transformer, or what to go on from: a model folder, a run, or a name on the Hugging Face hub (default static)',
  },
  method: {
    type: 'text',
    value: 'id',
    help: `training method (default in-batch): ${methods.map(({ id }) => id).join(', ')}`,
  },
  resume: { type: 'switch', default: false, help: 'go on with the run in --out' },
  overwrite: { type: 'switch', default: false, help: 'replace the run in --out' },

  epochs: {
    type: 'number',
    above: 0,
    help: 'passes over the training queries (default 12; 3 for a given model)',
    group: 'Length',
  },
  steps: { type: 'integer', min: 1, help: 'updates, instead of --epochs', group: 'Length' },
  batchSize: {
    type: 'integer',
    min: 2,
    max: 65_536,
    help: 'queries in a batch (default 128 for static, else 32; crop 64)',
    group: 'Length',
  },
  accumulate: {
    type: 'integer',
    min: 1,
    max: 65_536,
    help: 'batches averaged into one update (default 1)',
    group: 'Length',
  },
  chunkSize: {
    type: 'integer',
    min: 1,
    max: 65_536,
    help: 'grad-cache: texts encoded at once (default 32)',
    group: 'Length',
  },
  negatives: {
    type: 'integer',
    min: 0,
    max: 1024,
    help: 'negatives from the data for each query (default 0; distill 4)',
    group: 'Length',
  },
  patience: {
    type: 'integer',
    min: 0,
    help: 'evaluations without a better one after which to stop (default 0: never)',
    group: 'Length',
  },

  lr: {
    type: 'number',
    above: 0,
    help: 'peak learning rate (default 0.01 for static, 5e-4 for transformer, 5e-5 for a given model, 5e-4 with --lora)',
    group: 'Optimisation',
  },
  temperature: {
    type: 'number',
    above: 0,
    help: 'softmax temperature τ: scores are divided by it (default 0.05)',
    group: 'Optimisation',
  },
  learnTemperature: { type: 'switch', help: 'learn the temperature too', group: 'Optimisation' },
  optimizer: {
    type: 'choice',
    choices: ['adamw', 'sgd', 'lion'],
    help: 'how gradients move parameters (default adamw)',
    group: 'Optimisation',
  },
  precision: {
    type: 'choice',
    choices: PRECISIONS,
    help: 'f16: multiply matrices in half precision, with a loss scale; webgpu and cuda (default f32)',
    group: 'Optimisation',
  },
  weightDecay: {
    type: 'number',
    min: 0,
    max: 10,
    help: 'decoupled weight decay, not on norms and biases (default 0.01)',
    group: 'Optimisation',
  },
  maxGradNorm: {
    type: 'number',
    min: 0,
    help: 'global norm to which gradients are clipped; 0 for no clipping (default 1)',
    group: 'Optimisation',
  },
  schedule: {
    type: 'choice',
    choices: SCHEDULES,
    help: 'how the learning rate falls after the warm-up (default linear)',
    group: 'Optimisation',
  },
  warmup: {
    type: 'number',
    min: 0,
    help: 'warm-up: below 1 a share of the run, from 1 on a number of steps (default 0.1)',
    group: 'Optimisation',
  },
  dropout: {
    type: 'number',
    min: 0,
    below: 1,
    help: 'share of hidden units dropped in training (default 0)',
    group: 'Optimisation',
  },
  seed: {
    type: 'integer',
    min: 0,
    max: 2 ** 32 - 1,
    help: 'same seed, same bytes (default 1)',
    group: 'Optimisation',
  },

  lora: {
    type: 'integer',
    min: 1,
    max: 4096,
    help: 'rank of LoRA adapters, trained in the place of the weights (default: none)',
    group: 'Parts of a given model',
  },
  loraAlpha: {
    type: 'number',
    above: 0,
    help: 'adapters count alpha / rank times (default: twice the rank)',
    group: 'Parts of a given model',
  },
  loraTargets: {
    type: 'list',
    value: 'names',
    help: 'linear layers that get adapters, by the ends of their names; all-linear for all (default: queries and values)',
    group: 'Parts of a given model',
  },
  freeze: {
    type: 'list',
    value: 'parts',
    help: 'parts that stay as they are: embeddings, layers:0-3, query, document, or names with *',
    group: 'Parts of a given model',
  },
  trainOnly: {
    type: 'list',
    value: 'parts',
    help: 'the only parts that are trained, in the same words',
    group: 'Parts of a given model',
  },

  loss: {
    type: 'text',
    value: 'id',
    help:
      `what is made of the scores: ${BATCH_LOSSES.join(', ')} (in-batch, grad-cache); ${DISTILLATION_LOSSES.join(', ')} (distill); ` +
      `${PAIR_LOSSES.join(', ')} (scored-pairs); ${LOSS_FORMS.join(', ')} (sampled negatives)`,
    group: 'Loss',
  },
  margin: {
    type: 'number',
    min: 0,
    help: 'triplet: by how much a positive is to be nearer than a negative',
    group: 'Loss',
  },
  distance: { type: 'choice', choices: DISTANCES, help: 'triplet: what is near', group: 'Loss' },
  guide: {
    type: 'text',
    value: 'model',
    help: 'gist: model or run that tells likely right answers; the margins below are then by its similarities',
    group: 'Loss',
  },
  teacherTemperature: {
    type: 'number',
    above: 0,
    help: "kl: temperature of the teacher's softmax",
    group: 'Loss',
  },
  matryoshka: {
    type: 'numbers',
    min: 1,
    help: 'smaller sizes of the embeddings that are trained besides the full one, such as 256,128,64',
    group: 'Loss',
  },
  matryoshkaWeights: {
    type: 'numbers',
    min: 0,
    help: 'weight of the loss at each of these sizes (default: 1, as for the full one)',
    group: 'Loss',
  },
  sampler: {
    type: 'choice',
    choices: SAMPLER_KINDS,
    help: 'how negatives are picked by their scores in the cache',
    group: 'Method',
  },
  samples: { type: 'integer', min: 1, max: 4096, help: 'negatives picked for each query', group: 'Method' },
  uniformSamples: {
    type: 'integer',
    min: 0,
    max: 4096,
    help: 'further negatives for each query, uniformly from the cache',
    group: 'Method',
  },
  rankFrom: {
    type: 'integer',
    min: 0,
    help: 'rank-range, and mining: first rank to pick from, 0 the best',
    group: 'Method',
  },
  rankTo: {
    type: 'integer',
    min: 1,
    help: 'rank-range, and mining: rank before which it ends',
    group: 'Method',
  },
  absoluteMargin: {
    type: 'number',
    min: 0,
    help: 'leave out candidates whose similarity is not this far below the positive (0: none)',
    group: 'Method',
  },
  relativeMargin: {
    type: 'number',
    min: 0,
    max: 1,
    help: 'the same as a share of the similarity of the positive',
    group: 'Method',
  },
  cacheSize: {
    type: 'integer',
    min: 0,
    help: 'documents in the cache; 0 for the whole corpus',
    group: 'Method',
  },
  cacheStorage: {
    type: 'choice',
    choices: ['f32', 'f16'],
    help: 'how cached embeddings are stored; f16 takes half the memory',
    group: 'Method',
  },
  eviction: {
    type: 'choice',
    choices: ['lru', 'fifo'],
    help: 'lru: embedding a cached document again makes it young; fifo: only insertion does',
    group: 'Method',
  },
  prefill: {
    type: 'switch',
    negative: true,
    help: 'start with an empty cache instead of embedding documents for it',
    group: 'Method',
  },
  refresh: {
    type: 'text',
    value: 'policy',
    help: `cached embeddings to renew: ${REFRESH_HELP}`,
    group: 'Method',
  },
  writeBackWithoutDropout: {
    type: 'switch',
    help: 'embed again without dropout what is written back to the cache',
    group: 'Method',
  },
  momentum: {
    type: 'number',
    min: 0,
    below: 1,
    help: 'share of its weights that the slow encoder keeps at each update',
    group: 'Method',
  },
  positives: {
    type: 'choice',
    choices: ['momentum', 'fresh'],
    help: 'encoder of the positives: the slow one, or the trained one',
    group: 'Method',
  },
  mineFrom: {
    type: 'text',
    value: 'model',
    help: 'who ranks for mining: bm25, self (the weights that are trained), or a model',
    group: 'Method',
  },
  mineEvery: {
    type: 'integer',
    min: 0,
    help: 'steps after which the weights as they then are mine again; 0 for never',
    group: 'Method',
  },
  snapshotEvery: {
    type: 'integer',
    min: 1,
    help: 'steps after which to draw the snapshot anew',
    group: 'Method',
  },
  cropTask: {
    type: 'choice',
    choices: CROP_TASKS,
    help: 'independent: two spans of a document; inverse-cloze: a sentence and the text around it',
    group: 'Crops',
  },
  cropMin: {
    type: 'number',
    above: 0,
    max: 1,
    help: 'tokens of a crop at least, as a share of its window',
    group: 'Crops',
  },
  cropMax: {
    type: 'number',
    above: 0,
    max: 1,
    help: 'tokens of a crop at most, as a share of its window',
    group: 'Crops',
  },
  cropWindow: {
    type: 'integer',
    min: 8,
    max: 65_536,
    help: 'tokens of a document that both crops are cut from, at a random place',
    group: 'Crops',
  },
  cropDelete: {
    type: 'number',
    min: 0,
    below: 1,
    help: 'probability with which each token of a crop is left out',
    group: 'Crops',
  },
  cropRemove: {
    type: 'number',
    min: 0,
    max: 1,
    help: 'inverse-cloze: probability with which the sentence is taken out of its text',
    group: 'Crops',
  },
  queueSize: {
    type: 'integer',
    min: 0,
    help: 'earlier positives that are negatives too, embedded by a slow encoder; 0: only those of the batch',
    group: 'Crops',
  },
  corrector: {
    type: 'choice',
    choices: CORRECTOR_KINDS,
    help: 'what moves cached embeddings to where they would be now',
    group: 'Corrector',
  },
  correctorHidden: {
    type: 'integer',
    min: 0,
    max: 65_536,
    help: 'mlp: width of its hidden layers; 0 for twice the embedding size',
    group: 'Corrector',
  },
  correctorDepth: { type: 'integer', min: 1, max: 16, help: 'mlp: hidden layers', group: 'Corrector' },
  correctorRank: {
    type: 'integer',
    min: 1,
    help: 'low-rank: rank of the correction',
    group: 'Corrector',
  },
  correctorLr: { type: 'number', above: 0, help: 'mlp: learning rate', group: 'Corrector' },
  correctorLoss: {
    type: 'choice',
    choices: CORRECTOR_LOSSES,
    help: 'mlp: match fresh embeddings, the distribution of queries over them, or both',
    group: 'Corrector',
  },
  correctorAge: {
    type: 'switch',
    help: 'mlp: tell it how old each row is, for caches that are partly refreshed',
    group: 'Corrector',
  },
  refitEvery: {
    type: 'integer',
    min: 1,
    help: 'other correctors: steps after which they are fitted anew',
    group: 'Corrector',
  },
  reservoir: {
    type: 'integer',
    min: 1,
    help: 'other correctors: latest pairs of embeddings that they are fitted to',
    group: 'Corrector',
  },
  teachingSamples: {
    type: 'integer',
    min: 0,
    max: 65_536,
    help: 'random documents embedded at each step, without a gradient, for the corrector to learn from',
    group: 'Corrector',
  },
  correctedRows: {
    type: 'integer',
    min: 0,
    help: 'rows of the cache to correct and to draw from at each step; 0 for all',
    group: 'Corrector',
  },
  correctedFrom: {
    type: 'choice',
    choices: CORRECTED_FROM,
    help: 'these rows: random ones, or also the nearest to the queries before correction',
    group: 'Corrector',
  },
  uniformSteps: {
    type: 'integer',
    min: 0,
    help: 'steps at first with random negatives and those of the batch',
    group: 'Corrector',
  },

  hidden: {
    type: 'integer',
    min: 1,
    max: 16_384,
    help: 'width of a new model (default 512 for static, 256 for transformer)',
    group: 'Model',
  },
  layers: { type: 'integer', min: 1, max: 256, help: 'transformer: layers (default 2)', group: 'Model' },
  heads: {
    type: 'integer',
    min: 1,
    max: 1024,
    help: 'transformer: attention heads; they divide --hidden (default: 32 dimensions each, above a hidden size of 384 of 64)',
    group: 'Model',
  },
  towers: {
    type: 'choice',
    choices: ['shared', 'separate'],
    help: 'one encoder for queries and documents, or one each (default shared)',
    group: 'Model',
  },
  pooling: {
    type: 'choice',
    choices: POOLINGS,
    help: 'how token vectors become one (default: as the model says, mean for a new one)',
    group: 'Model',
  },
  normalize: {
    type: 'switch',
    negative: true,
    help: 'do not scale vectors to length one: scores are dot products, not cosines',
    group: 'Model',
  },
  projection: {
    type: 'integer',
    min: 1,
    max: 16_384,
    help: 'size of a linear map after the pooling (default: none)',
    group: 'Model',
  },

  tokenizer: {
    type: 'text',
    value: 'file',
    help: 'tokenizer.json for a new model (default: learnt from the data)',
    group: 'Text',
  },
  vocabulary: {
    type: 'choice',
    choices: ['wordpiece', 'bpe'],
    help: 'kind of vocabulary to learn (default wordpiece)',
    group: 'Text',
  },
  vocabSize: {
    type: 'integer',
    min: 64,
    max: 1_000_000,
    help: 'tokens of a learnt vocabulary at most (default 4096 for static, 8192 for transformer)',
    group: 'Text',
  },
  maxQueryTokens: {
    type: 'integer',
    min: 1,
    max: 65_536,
    help: 'longer queries are cut (default 64)',
    group: 'Text',
  },
  maxDocTokens: {
    type: 'integer',
    min: 1,
    max: 65_536,
    help: 'longer documents are cut (default 256 for static, 128 for transformer)',
    group: 'Text',
  },
  queryPrompt: { type: 'text', help: 'put before every query, such as "query: "', group: 'Text' },
  docPrompt: { type: 'text', help: 'put before every document', group: 'Text' },

  evalSplit: {
    type: 'text',
    value: 'name',
    help: 'split to evaluate on while training (default dev; crop: held-out documents); none: keep the last model, not the best',
    group: 'Evaluation',
  },
  evalMetric: {
    type: 'text',
    value: 'metric',
    help: 'metric that decides which model is the best (default ndcg@10; scored-pairs: spearman, or pearson)',
    group: 'Evaluation',
  },
  evalEvery: {
    type: 'integer',
    min: 1,
    help: 'steps between evaluations (default: a tenth of the run)',
    group: 'Evaluation',
  },
  evalQueries: {
    type: 'integer',
    min: 1,
    help: 'queries of an evaluation at most, evenly spaced over the split (default 1000)',
    group: 'Evaluation',
  },
  saveEvery: {
    type: 'integer',
    min: 1,
    help: 'steps between checkpoints (default: at every evaluation)',
    group: 'Evaluation',
  },
  diagnose: {
    type: 'integer',
    min: 0,
    help: 'steps between measurements of what stale caches do to the gradient; 0 for none (default 0)',
    group: 'Evaluation',
  },
  // The device and the number of threads are not stored with the run: they are what this machine has.
  ...COMPUTE_OPTIONS,
} as const satisfies OptionTable;
