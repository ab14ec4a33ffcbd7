import type { DataInMemory } from '../../data/data-in-memory.ts';
import { DOCUMENT_OPTIONS } from '../../data/load-options.ts';
import { NEW_LANGUAGE_MODELS } from '../../models/language/create-language-model.ts';
import { TUNING_OPTIONS } from '../../models/retriever/tuning-options.ts';
import { TRAIN_COMPUTE_OPTIONS } from '../../runtime/compute-options.ts';
import { type GivenOptions, type OptionTable, pickOptions } from '../../util/option-table.ts';
import { MODEL_OPTIONS, TEXT_OPTIONS } from '../model-options.ts';
import { FOLDER_OPTIONS, SUBJECT_OPTIONS } from '../options.ts';
import { EVALUATION_OPTIONS, LENGTH_OPTIONS, OPTIMISATION_OPTIONS } from '../run-options.ts';

/** Value of `evalData` for no evaluation during training. */
export const NO_EVALUATION = 'none';

/** Options of what a run trains, on which texts, and into which folder. */
const SUBJECT = {
  /** Texts: JSONL, CSV, TSV or Parquet with a column `text`, text files and folders of them, or a data set (see `streamTextCorpus`). */
  data: {
    ...SUBJECT_OPTIONS.data,
    value: 'path',
    help: 'texts: JSONL, CSV, TSV or Parquet with a column text; text or Markdown files, each one document, and folders of them; or the documents of a data set',
  },
  out: SUBJECT_OPTIONS.out,
  /**
   * Texts to measure the perplexity on during training, like `data`; `none` for no evaluation. Default: 5 % of the text of `data`, at
   * most a million characters, which is then not trained on.
   */
  evalData: {
    ...SUBJECT_OPTIONS.evalData,
    value: 'path',
    defaultHelp: '5 % of the text of --data, held out',
    help: 'texts to measure the perplexity on during training; none: keep the last model, not the best',
  },
  /** Architecture of a new model (`llama`, `gpt2`), or a model to start from: its folder, a run, or its name on the hub. Default `llama`. */
  model: {
    type: 'text',
    value: 'model',
    default: 'llama',
    help: `architecture of a new model (${NEW_LANGUAGE_MODELS.join(', ')}), or a model to start from: a folder, a run, or a name on the Hugging Face hub`,
    aliases: [...SUBJECT_OPTIONS.model.aliases, 'arch', 'architecture', 'init', 'model_type'],
  },
} as const satisfies OptionTable;

const LENGTH = {
  /** Passes over the texts, > 0. Default 1. */
  epochs: {
    ...LENGTH_OPTIONS.epochs,
    default: 1,
    defaultHelp: '1',
    help: 'passes over the texts',
  },
  steps: LENGTH_OPTIONS.steps,
  /** Windows in a batch. Default 16 for a new model, 4 for a given one. */
  batchSize: {
    ...LENGTH_OPTIONS.batchSize,
    min: 1,
    defaultHelp: '16 for a new model, 4 for a given one',
    help: 'windows in a batch',
  },
  ...pickOptions(LENGTH_OPTIONS, 'accumulate', 'patience'),
} as const satisfies OptionTable;

const OPTIMISATION = {
  /** Peak learning rate. Default 1e-3 for a new model, 2e-4 with LoRA, 5e-5 for a given model. */
  lr: {
    ...OPTIMISATION_OPTIONS.lr,
    defaultHelp: '1e-3 for a new model, 2e-4 with --lora, 5e-5 for a given model',
  },
  ...pickOptions(
    OPTIMISATION_OPTIONS,
    ...([
      'optimizer',
      'precision',
      'weightDecay',
      'maxGradNorm',
      'schedule',
      'warmup',
      'dropout',
      'seed',
    ] as const),
  ),
} as const satisfies OptionTable;

const { hidden, layers, heads } = MODEL_OPTIONS;

/** Options of the shape of a new model. A given model keeps its own. */
const MODEL = {
  /** Width of the hidden states of a new model. Default 256. */
  hidden: { ...hidden, default: 256, defaultHelp: '256' },
  /** Layers of a new model. Default 6. */
  layers: { ...layers, default: 6, help: 'layers of a new model' },
  /** Attention heads of a new model. Default: heads of 32 dimensions; of 64 dimensions from a width of 512 on. */
  heads: {
    ...heads,
    defaultHelp: '32 dimensions each, from a width of 512 on 64 each',
    help: 'attention heads of a new model; their number must divide --hidden',
  },
  /** Heads of keys and values of a new `llama`, each of which serves an equal share of the attention heads. Default: as many as `heads`. */
  keyHeads: {
    type: 'integer',
    min: 1,
    max: 1024,
    defaultHelp: 'as many as --heads',
    help: 'llama: heads of keys and values; their number must divide --heads',
    group: 'Model',
    aliases: ['num_key_value_heads', 'kvHeads'],
  },
  /** Width inside the feed-forward part of a new model. Default: 8/3 of the width for `llama`, 4 times the width for `gpt2`. */
  intermediate: {
    type: 'integer',
    min: 1,
    max: 65_536,
    defaultHelp: 'llama: 8/3 of the width; gpt2: 4 times the width',
    help: 'width inside the feed-forward part of a new model',
    group: 'Model',
    aliases: ['intermediate_size', 'n_inner'],
  },
} as const satisfies OptionTable;

const TEXT = {
  /** Longest piece of a document that the model reads at once, in tokens; a new model reads no longer texts later. Default 256. */
  window: {
    type: 'integer',
    min: 2,
    max: 65_536,
    default: 256,
    help: 'tokens that the model reads at once; a new model reads no longer texts later',
    group: 'Text',
    aliases: ['block_size', 'blockSize', 'max_seq_length', 'maxSeqLength', 'context_length', 'n_positions'],
  },
  tokenizer: TEXT_OPTIONS.tokenizer,
  /** Largest number of tokens of a trained vocabulary, byte-level BPE. Default 8192. */
  vocabSize: { ...TEXT_OPTIONS.vocabSize, min: 257, default: 8192, defaultHelp: '8192' },
} as const satisfies OptionTable;

const EVALUATION = {
  evalEvery: EVALUATION_OPTIONS.evalEvery,
  /** Largest number of tokens that an evaluation predicts, in windows evenly spaced over the texts. Default 32,768. */
  evalTokens: {
    type: 'integer',
    min: 2,
    default: 32_768,
    help: 'tokens that an evaluation predicts at most, in windows evenly spaced over the texts',
    group: 'Evaluation',
    aliases: ['max_eval_samples', 'evalSize'],
  },
  saveEvery: EVALUATION_OPTIONS.saveEvery,
} as const satisfies OptionTable;

/** All options of `trainLanguageModel`, with their defaults, in the order of the documentation. */
export const LANGUAGE_MODEL_OPTIONS = {
  ...SUBJECT,
  ...pickOptions(DOCUMENT_OPTIONS, 'skipBadRows', 'columns'),
  ...FOLDER_OPTIONS,
  ...LENGTH,
  ...OPTIMISATION,
  ...TUNING_OPTIONS,
  ...MODEL,
  ...TEXT,
  ...EVALUATION,
  ...TRAIN_COMPUTE_OPTIONS,
} as const satisfies OptionTable;

/** Options of the training of a language model. Only `data` and `out` are required; some defaults depend on the model. */
export interface LanguageModelTrainOptions
  extends Omit<GivenOptions<typeof LANGUAGE_MODEL_OPTIONS>, 'data' | 'evalData' | 'out'> {
  /** Texts: a path (see `streamTextCorpus`), the name of a data set, or `{ texts }` in memory. */
  readonly data: string | DataInMemory;
  /**
   * Texts to measure the perplexity on during training, like `data`; `none` for no evaluation. Default: 5 % of the text of `data`, at
   * most a million characters, which is then not trained on.
   */
  readonly evalData?: string | DataInMemory | undefined;
  /** Folder of the run: checkpoint, log, and the model in `model/`. */
  readonly out: string;
}
