import { TRAIN_COMPUTE_NAMES } from '../../runtime/compute-options.ts';
import { type GivenOptions, type OptionTable, pickOptions } from '../../util/option-table.ts';
import { LANGUAGE_MODEL_OPTIONS, type LanguageModelTrainOptions } from '../language-model/options.ts';
import { TEXT_OPTIONS } from '../model-options.ts';
import { EVALUATION_OPTIONS, OPTIMISATION_OPTIONS } from '../run-options.ts';

const GROUP = { group: 'NPM' } as const;

/** Ways of putting pieces of documents into batches. */
export const NPM_BATCHINGS = ['same-document', 'random'] as const;

/** Kind of model that a run creates: a BERT. */
export const NPM_NEW_MODEL = 'transformer';

const SHARED = pickOptions(
  LANGUAGE_MODEL_OPTIONS,
  ...([
    ...['data', 'out', 'evalData', 'skipBadRows', 'columns', 'resume', 'overwrite'],
    ...['epochs', 'steps', 'accumulate', 'patience'],
    ...['optimizer', 'precision', 'weightDecay', 'maxGradNorm', 'schedule', 'warmup', 'dropout', 'seed'],
    ...['lora', 'loraAlpha', 'loraTargets', 'freeze', 'trainOnly'],
    ...['hidden', 'layers', 'heads', 'tokenizer'],
    ...TRAIN_COMPUTE_NAMES,
  ] as const as readonly NpmSharedOption[]),
);

/** Options that training of a nonparametric masked model shares with that of a decoder. */
type NpmSharedOption = Exclude<
  keyof typeof LANGUAGE_MODEL_OPTIONS,
  | 'model'
  | 'batchSize'
  | 'lr'
  | 'window'
  | 'vocabSize'
  | 'keyHeads'
  | 'intermediate'
  | 'evalEvery'
  | 'evalTokens'
  | 'saveEvery'
>;

/** Options of `trainNpm` that are its own or have other defaults. */
const OWN = {
  /** `transformer` for a new BERT, or a model to start from: its folder, a run, or its name on the hub. Default `transformer`. */
  model: {
    ...LANGUAGE_MODEL_OPTIONS.model,
    default: NPM_NEW_MODEL,
    help: 'transformer for a new BERT, or a masked language model or encoder to start from: a folder, a run, or a name on the Hugging Face hub',
  },
  /** Pieces of a document in a batch, ≥ 2. Default 8. */
  batchSize: {
    ...LANGUAGE_MODEL_OPTIONS.batchSize,
    min: 2,
    default: 8,
    defaultHelp: '8',
    help: 'pieces of a document in a batch',
  },
  /** Peak learning rate. Default 5e-4 for a new model, 2e-4 with LoRA, 3e-5 for a given model. */
  lr: {
    ...LANGUAGE_MODEL_OPTIONS.lr,
    defaultHelp: '5e-4 for a new model, 2e-4 with --lora, 3e-5 for a given model',
  },
  /** Longest piece of a document with its masks and special tokens, in tokens; a new model reads no longer texts later. Default 128. */
  window: { ...LANGUAGE_MODEL_OPTIONS.window, min: 8, default: 128 },
  /** Largest number of tokens of a trained vocabulary, WordPiece. Default 8192. */
  vocabSize: { ...TEXT_OPTIONS.vocabSize, default: 8192, defaultHelp: '8192' },
  /** Pieces that share a batch: those of one document, or random ones as an ablation. Default `same-document`. */
  batching: {
    ...GROUP,
    type: 'choice',
    choices: NPM_BATCHINGS,
    default: 'same-document',
    help: 'pieces that share a batch: those of one document, or random ones (an ablation)',
  },
  /** Batching by document: documents that share a batch, each with up to `batchSize` pieces, ≥ 1. Default 1. */
  batchDocuments: {
    ...GROUP,
    type: 'integer',
    value: 'n',
    min: 1,
    defaultHelp: '1',
    help: 'same-document batching: documents that share a batch, each with up to --batch-size pieces; phrases are looked for in all of them',
  },
  /** Softmax temperature τ, by which scores are divided, besides √D. Default 1, as in the paper. */
  temperature: { ...OPTIMISATION_OPTIONS.temperature, default: 1 },
  /** Whether the states of the tokens that are searched get no gradient, for ablations. Default false. */
  detachKeys: {
    ...GROUP,
    type: 'switch',
    default: false,
    help: 'give the states of the tokens that are searched no gradient (an ablation)',
  },
  evalEvery: EVALUATION_OPTIONS.evalEvery,
  /** Largest number of tokens that an evaluation reads, in groups of pieces evenly spaced over the documents. Default 32,768. */
  evalTokens: {
    ...LANGUAGE_MODEL_OPTIONS.evalTokens,
    help: 'tokens that an evaluation reads at most, in groups of pieces evenly spaced over the documents',
  },
  saveEvery: EVALUATION_OPTIONS.saveEvery,
} as const satisfies OptionTable;

/** All options of `trainNpm`, with their defaults. */
export const NPM_TRAIN_OPTIONS = { ...SHARED, ...OWN } as const satisfies OptionTable;

/** Options of training a nonparametric masked language model. Only `data` and `out` are required; some defaults depend on the model. */
export interface NpmTrainOptions
  extends Pick<LanguageModelTrainOptions, NpmSharedOption>,
    GivenOptions<typeof OWN> {}
