import { CLUSTER_OPTIONS } from '../cluster/cluster-options.ts';
import type { DataInMemory } from '../data/data-in-memory.ts';
import { ANY_DATA_OPTIONS, DATA_HELP } from '../data/load-options.ts';
import type { Method } from '../methods/contract/method.ts';
import { methods } from '../methods/methods.ts';
import { METHOD_OPTIONS, type MethodOptions } from '../methods/options.ts';
import { TUNING_OPTIONS } from '../models/retriever/tuning-options.ts';
import { TRAIN_COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import type { GivenOptions, OptionTable } from '../util/option-table.ts';
import { MODEL_OPTIONS, TEXT_OPTIONS } from './model-options.ts';
import { EVALUATION_OPTIONS, LENGTH_OPTIONS, OPTIMISATION_OPTIONS } from './run-options.ts';

/** Id by which `undrift train --method` names the training of a cross-encoder; see `trainCrossEncoder`. */
export const CROSS_ENCODER_METHOD = 'cross-encoder';

/** Options of what a run trains, on which data, and into which folder. */
export const SUBJECT_OPTIONS = {
  /** Path of a data folder or file, or the name of a data set (see `loadData`, and `loadTexts` for methods on texts). */
  data: {
    type: 'text',
    value: 'folder',
    required: true,
    help: DATA_HELP,
    aliases: ['dataset', 'train_dataset', 'trainDataset', 'train_data', 'trainData'],
  },
  /** Folder of the run: checkpoint, log, and the model in `model/`. */
  out: {
    type: 'text',
    value: 'folder',
    required: true,
    help: 'folder of the run: model, checkpoint, logs',
    aliases: ['output_dir', 'outputDir', 'output', 'folder'],
  },
  /**
   * Store whose passages are the documents, in place of those of `data`: judgements name them by their ids, pairs by their texts. A
   * method with a table starts it from the vectors of the store, where the model that the run starts from has made them. Texts and
   * token ids then lie in a file in `out`, not in memory. With a method on texts, `data` can be left out.
   */
  store: {
    type: 'text',
    value: 'folder',
    nonEmpty: true,
    help: 'store whose passages are the documents, in place of those of --data, for a corpus larger than memory; its vectors fill the first table of a method that has one',
  },
  /**
   * Data to evaluate on during training, like `data`. Nothing is held out of `data` then. Default: the splits of `data`, or those held
   * out of it.
   */
  evalData: {
    type: 'text',
    value: 'folder',
    defaultHelp: 'that of --data',
    help: 'data set whose split is evaluated on during training; nothing is then held out of --data',
    aliases: ['validation_data', 'validationData', 'dev_data', 'devData'],
  },
  /**
   * Kind of a new model (`static`, `transformer`), or a model to start from: its folder, a run, or its name on the hub. Default
   * `static`.
   */
  model: {
    type: 'text',
    value: 'model',
    default: 'static',
    help: 'static, transformer, or a model to start from: a folder, a run, or a name on the Hugging Face hub',
    aliases: ['model_name_or_path', 'modelNameOrPath', 'modelName', 'base_model'],
  },
  /** Training method, by its id or an alias. Default `in-batch`. */
  method: {
    type: 'text',
    value: 'id',
    default: 'in-batch',
    help: `training method: ${methods.map(({ id }) => id).join(', ')}; ${CROSS_ENCODER_METHOD} trains a model that reranks`,
  },
} as const satisfies OptionTable;

/** Options for a folder that holds a run already. */
export const FOLDER_OPTIONS = {
  /** Whether to continue the run in `out` from its checkpoint. Default false. */
  resume: {
    type: 'switch',
    default: false,
    help: 'continue the run in --out from its checkpoint',
    aliases: ['resume_from_checkpoint', 'resumeFromCheckpoint'],
  },
  /** Whether to replace a run in `out`. Default false. */
  overwrite: {
    type: 'switch',
    default: false,
    help: 'replace the run in --out',
    aliases: ['overwrite_output_dir', 'overwriteOutputDir', 'force'],
  },
} as const satisfies OptionTable;

/** Options of a run except those of its method, in the order of the documentation. */
export const RUN_OPTIONS = {
  ...SUBJECT_OPTIONS,
  ...ANY_DATA_OPTIONS,
  ...FOLDER_OPTIONS,
  ...LENGTH_OPTIONS,
  ...OPTIMISATION_OPTIONS,
  ...TUNING_OPTIONS,
  ...MODEL_OPTIONS,
  ...TEXT_OPTIONS,
  ...EVALUATION_OPTIONS,
  ...TRAIN_COMPUTE_OPTIONS,
  ...CLUSTER_OPTIONS,
} as const satisfies OptionTable;

/** Options of `trainRetriever`, including those of all methods, in the order of the documentation. */
export const TRAIN_OPTIONS = {
  ...SUBJECT_OPTIONS,
  ...ANY_DATA_OPTIONS,
  ...FOLDER_OPTIONS,
  ...LENGTH_OPTIONS,
  ...OPTIMISATION_OPTIONS,
  ...TUNING_OPTIONS,
  ...METHOD_OPTIONS,
  ...MODEL_OPTIONS,
  ...TEXT_OPTIONS,
  ...EVALUATION_OPTIONS,
  ...TRAIN_COMPUTE_OPTIONS,
  ...CLUSTER_OPTIONS,
} as const satisfies OptionTable;

/** Options of a training run. Only `data` and `out` are required; defaults depend on the model and the method. */
export interface TrainOptions
  extends MethodOptions,
    GivenOptions<typeof ANY_DATA_OPTIONS>,
    GivenOptions<typeof LENGTH_OPTIONS>,
    GivenOptions<typeof OPTIMISATION_OPTIONS>,
    GivenOptions<typeof TUNING_OPTIONS>,
    GivenOptions<typeof MODEL_OPTIONS>,
    GivenOptions<typeof TEXT_OPTIONS>,
    GivenOptions<typeof EVALUATION_OPTIONS> {
  /**
   * Path of a data folder or file, name of a data set, or data in memory (see `loadData`, and `loadTexts` for methods on texts). A
   * method on texts can do without where there is a `store`.
   */
  data?: string | DataInMemory | undefined;
  /**
   * Store whose passages are the documents, in place of those of `data`: judgements name them by their ids, pairs by their texts. A
   * method with a table starts it from the vectors of the store, where the model that the run starts from has made them. Texts and
   * token ids then lie in a file in `out`, not in memory.
   */
  store?: string | undefined;
  /**
   * Data to evaluate on during training, like `data`. Nothing is held out of `data` then. Default: the splits of `data`, or those held
   * out of it.
   */
  evalData?: string | DataInMemory | undefined;
  /** Folder of the run: checkpoint, log, and the model in `model/`. */
  out: string;
  /**
   * Kind of a new model (`static`, `transformer`), or a model to start from: its folder, a run, or its name on the hub. Default
   * `static`.
   */
  model?: string | undefined;
  /** Training method: one of the library's by its id or an alias, or a `Method` object of your own. Default `in-batch`. */
  method?: string | Method | undefined;
  /** Options of your own `Method` that no method of the library has, by name. They are stored with the settings of the run. */
  methodOptions?: Readonly<Record<string, unknown>> | undefined;
}
