import { TRAIN_COMPUTE_NAMES } from '../../runtime/compute-options.ts';
import { type GivenOptions, type OptionTable, pickOptions } from '../../util/option-table.ts';
import { LANGUAGE_MODEL_OPTIONS, type LanguageModelTrainOptions } from '../language-model/options.ts';
import { TEXT_OPTIONS } from '../model-options.ts';

/** Kind of model that a run creates. */
export const MASKED_NEW_MODEL = 'bert';

const SHARED = pickOptions(
  LANGUAGE_MODEL_OPTIONS,
  ...([
    'data',
    'out',
    'evalData',
    'skipBadRows',
    'columns',
    'resume',
    'overwrite',
    'epochs',
    'steps',
    'batchSize',
    'accumulate',
    'patience',
    'optimizer',
    'precision',
    'weightDecay',
    'maxGradNorm',
    'schedule',
    'warmup',
    'seed',
    'freeze',
    'trainOnly',
    'hidden',
    'layers',
    'heads',
    'tokenizer',
    'evalEvery',
    'saveEvery',
    ...TRAIN_COMPUTE_NAMES,
  ] as const),
);

/** Options of `trainMasked` that are its own or have other defaults. */
const OWN = {
  /** `bert` for a new BERT, or a model to start from, masked or an encoder, which gets a new head: its folder, a run, or its name on the hub. Default `bert`. */
  model: {
    ...LANGUAGE_MODEL_OPTIONS.model,
    default: MASKED_NEW_MODEL,
    help: 'bert for a new BERT, or a model to start from, masked or an encoder, which gets a new head: a folder, a run, or a name on the Hugging Face hub',
  },
  /** Peak learning rate. Default 5e-4 for a new model, 3e-5 for a given model. */
  lr: { ...LANGUAGE_MODEL_OPTIONS.lr, defaultHelp: '5e-4 for a new model, 3e-5 for a given model' },
  /** Width inside the feed-forward part of a new model. Default: 4 times the width. */
  intermediate: { ...LANGUAGE_MODEL_OPTIONS.intermediate, defaultHelp: '4 times the width' },
  /** Longest piece of a document with its special tokens, in tokens; a new model reads no longer texts later. Default 128. */
  window: { ...LANGUAGE_MODEL_OPTIONS.window, min: 8, default: 128 },
  /** Largest number of tokens of a trained vocabulary, WordPiece. Default 8192. */
  vocabSize: { ...TEXT_OPTIONS.vocabSize, default: 8192, defaultHelp: '8192' },
  /** Share of the tokens that are predicted. Default 0.15. */
  maskShare: {
    type: 'number',
    min: 0.01,
    max: 0.9,
    default: 0.15,
    help: 'share of the tokens that are predicted: most of them are masked, some replaced or left as they are',
    group: 'Masked language model',
    aliases: ['mlm_probability', 'mlmProbability', 'mask_prob'],
  },
  /** Largest number of tokens that an evaluation reads, in pieces evenly spaced over the texts. Default 32,768. */
  evalTokens: {
    ...LANGUAGE_MODEL_OPTIONS.evalTokens,
    help: 'tokens that an evaluation reads at most, in pieces evenly spaced over the texts',
  },
} as const satisfies OptionTable;

/** All options of `trainMasked`, with their defaults. */
export const MASKED_TRAIN_OPTIONS = { ...SHARED, ...OWN } as const satisfies OptionTable;

/** Options of training a masked language model. Only `data` and `out` are required; some defaults depend on the model. */
export interface MaskedTrainOptions
  extends Pick<LanguageModelTrainOptions, keyof typeof SHARED>,
    GivenOptions<typeof OWN> {}
