import type { GivenOptions, OptionTable } from '../../util/option-table.ts';
import { LANGUAGE_MODEL_OPTIONS, type LanguageModelTrainOptions } from '../language-model/options.ts';
import { TRIME_MEMORIES } from './memory-marks.ts';

const GROUP = { group: 'TRIME' } as const;

/** Ways of putting windows into batches. */
export const TRIME_BATCHINGS = ['random', 'consecutive', 'bm25'] as const;

/** Options of the memory. */
export const TRIME_OPTIONS = {
  /** Tokens that the softmax also chooses from: see `TRIME_MEMORIES`. Default `local`. */
  memory: {
    ...GROUP,
    type: 'choice',
    choices: TRIME_MEMORIES,
    default: 'local',
    help: 'tokens of the batch that the softmax also chooses from: local, earlier ones of the window; long, earlier ones of the document; external, those of other windows',
  },
  /** Order of the windows. Default `random` with the local memory, `consecutive` with the long and `bm25` with the external one. */
  batching: {
    ...GROUP,
    type: 'choice',
    choices: TRIME_BATCHINGS,
    defaultHelp: 'local: random; long: consecutive; external: bm25',
    help: 'windows that share a batch: random ones, consecutive ones of a document, or similar ones by BM25',
  },
  /** Consecutive windows of a document that share a batch, at most `batchSize`. Default `batchSize`. */
  consecutiveWindows: {
    ...GROUP,
    type: 'integer',
    value: 'n',
    min: 1,
    defaultHelp: 'those of a batch',
    help: 'consecutive batching: windows of a document in a row that share a batch',
  },
  /** Share of the batches, at the beginning, that are trained with an empty memory, from 0 to 1. Default 0.05. */
  memoryWarmup: {
    ...GROUP,
    type: 'number',
    min: 0,
    max: 1,
    default: 0.05,
    help: 'share of the batches at the beginning that are trained without memory, on cross-entropy',
  },
  /** External memory: probability that a batch leaves out the earlier tokens of the window itself. Default 0.9. */
  localOff: {
    ...GROUP,
    type: 'number',
    value: 'p',
    min: 0,
    max: 1,
    defaultHelp: 'external: 0.9',
    help: 'external memory: probability that a batch leaves out the earlier tokens of the window itself',
  },
  /** External memory: whether it has tokens of other documents only, as a datastore has at test time. Default false. */
  otherDocuments: {
    ...GROUP,
    type: 'switch',
    default: false,
    help: 'external memory: only tokens of other documents, as a datastore has; with bm25, only windows of other documents are neighbours',
  },
  /** Whether the tokens of the memory get no gradient, for ablations. Default false. */
  detachMemory: {
    ...GROUP,
    type: 'switch',
    default: false,
    help: 'give the states of the memory no gradient (an ablation: they are then not trained to be found)',
  },
} as const satisfies OptionTable;

/** All options of `trainTrime`, with their defaults, in the order of the documentation. */
export const TRIME_TRAIN_OPTIONS = {
  ...LANGUAGE_MODEL_OPTIONS,
  ...TRIME_OPTIONS,
} as const satisfies OptionTable;

/** Options of training with a memory: those of `trainLanguageModel`, and those of the memory. */
export interface TrimeTrainOptions extends LanguageModelTrainOptions, GivenOptions<typeof TRIME_OPTIONS> {}
