import { CLUSTER_OPTIONS } from '../cluster/cluster-options.ts';
import { ANY_DATA_OPTIONS } from '../data/load-options.ts';
import { methods } from '../methods/methods.ts';
import { METHOD_OPTIONS } from '../methods/options.ts';
import { TUNING_OPTIONS } from '../models/retriever/tuning-options.ts';
import { TRAIN_COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { CROSS_ENCODER_OPTIONS } from '../train/cross-encoder/options.ts';
import { MODEL_OPTIONS, TEXT_OPTIONS } from '../train/model-options.ts';
import { FOLDER_OPTIONS, SUBJECT_OPTIONS } from '../train/options.ts';
import { EVALUATION_OPTIONS, LENGTH_OPTIONS, OPTIMISATION_OPTIONS } from '../train/run-options.ts';
import { type OptionTable, withoutDefaults } from '../util/option-table.ts';
import { defaultsByMethod } from './defaults-by-method.ts';

const { data, out, ...SUBJECT } = SUBJECT_OPTIONS;
const { required: _, ...DATA } = data;

/**
 * All options of `undrift train`, on the command line and in a config file: those of `trainRetriever`, and
 * `--corpus`.
 *
 * The table contains no defaults. A resumed run has its own stored settings, and `resolveSettings` fills in
 * the defaults of a new run.
 */
export const TRAIN_OPTIONS = {
  data: DATA,
  corpus: {
    type: 'text',
    value: 'file',
    help: 'crop: documents alone, instead of --data: plain text (one a line), JSONL or Parquet with text, or a folder',
  },
  out,
  ...withoutDefaults(SUBJECT),
  ...withoutDefaults(ANY_DATA_OPTIONS),
  ...FOLDER_OPTIONS,
  ...withoutDefaults(LENGTH_OPTIONS),
  ...withoutDefaults(OPTIMISATION_OPTIONS),
  ...withoutDefaults(TUNING_OPTIONS),
  ...withoutDefaults(defaultsByMethod(METHOD_OPTIONS, methods)),
  ...withoutDefaults(CROSS_ENCODER_OPTIONS),
  ...withoutDefaults(MODEL_OPTIONS),
  ...withoutDefaults(TEXT_OPTIONS),
  ...withoutDefaults(EVALUATION_OPTIONS),
  // Device and number of threads depend on the machine, so they are not stored with the run. Nor is the cluster.
  ...TRAIN_COMPUTE_OPTIONS,
  ...CLUSTER_OPTIONS,
} as const satisfies OptionTable;
