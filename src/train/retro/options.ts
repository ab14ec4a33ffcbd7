import type { DataInMemory } from '../../data/data-in-memory.ts';
import { ANY_DATA_OPTIONS } from '../../data/load-options.ts';
import { NEIGHBOUR_SOURCE_OPTIONS } from '../../rlm/neighbour-source.ts';
import { RETRO_READING_OPTIONS, RETRO_SHAPE_OPTIONS } from '../../rlm/retro-options.ts';
import { SOURCE_OPTIONS } from '../../rlm/source-options.ts';
import { TRAIN_COMPUTE_OPTIONS } from '../../runtime/compute-options.ts';
import { type GivenOptions, type OptionTable, pickOptions, withDefaults } from '../../util/option-table.ts';
import { FOLDER_OPTIONS, SUBJECT_OPTIONS } from '../options.ts';
import { EVALUATION_OPTIONS, LENGTH_OPTIONS, OPTIMISATION_OPTIONS } from '../run-options.ts';

const DATA = pickOptions(ANY_DATA_OPTIONS, 'columns', 'skipBadRows');

/** Options of the texts of a run. */
const TEXTS = {
  /** Documents whose chunks are neighbours. Default: those of `data`. */
  passageData: { ...SOURCE_OPTIONS.passageData, defaultHelp: 'the documents of --data' },
  /** File of the neighbours of all training chunks, which is written if it is absent and read if it is there. Default: in `out`. */
  neighbourFile: {
    type: 'text',
    value: 'file',
    nonEmpty: true,
    group: 'Passages',
    defaultHelp: 'in --out',
    help: 'file of the neighbours of all training chunks, written if absent, so that several runs share it',
  },
  /** Tokens of a window, a multiple of `chunkTokens`. Default: 16 chunks, or what the model reads. */
  window: {
    type: 'integer',
    value: 'n',
    min: 4,
    defaultHelp: '16 chunks, or what the model reads',
    help: 'tokens of a window, a multiple of the tokens of a chunk',
    group: 'Length',
  },
  /** Tokens after which no further document of `data` is read. Default: all are read. */
  limitTokens: {
    type: 'integer',
    value: 'n',
    min: 1,
    help: 'tokens after which no further document of --data is read',
    group: 'Length',
  },
  /** Tokens of `evalData` that an evaluation reads. Default 20,000. */
  evalTokens: {
    type: 'integer',
    value: 'n',
    min: 1,
    default: 20_000,
    help: 'tokens of --eval-data that an evaluation reads',
    group: 'Evaluation',
  },
} as const satisfies OptionTable;

const LENGTHS = withDefaults(
  pickOptions(LENGTH_OPTIONS, 'epochs', 'steps', 'batchSize', 'accumulate', 'patience'),
  { epochs: 1, batchSize: 8 },
);
const OPTIMISATION = withDefaults(
  pickOptions(
    OPTIMISATION_OPTIONS,
    ...(['lr', 'optimizer', 'weightDecay', 'maxGradNorm', 'schedule', 'warmup', 'seed'] as const),
  ),
  { lr: 1e-3 },
);
const EVALUATION = pickOptions(EVALUATION_OPTIONS, 'evalEvery', 'saveEvery');

/** Base: there is none by default. */
const { default: _static, ...MODEL } = SUBJECT_OPTIONS.model;

/** All options of `trainRetro`, with their defaults, in the order of the documentation. */
export const RETRO_TRAIN_OPTIONS = {
  ...pickOptions(SUBJECT_OPTIONS, 'data', 'out'),
  model: MODEL,
  evalData: { ...SUBJECT_OPTIONS.evalData, defaultHelp: 'none, and the last weights are kept' },
  ...DATA,
  ...FOLDER_OPTIONS,
  ...LENGTHS,
  ...OPTIMISATION,
  ...RETRO_SHAPE_OPTIONS,
  ...RETRO_READING_OPTIONS,
  ...NEIGHBOUR_SOURCE_OPTIONS,
  ...TEXTS,
  ...EVALUATION,
  ...TRAIN_COMPUTE_OPTIONS,
} as const satisfies OptionTable;

/** Options of the training of RETRO's added parts. Only `data`, `out` and `model` are required. */
export interface RetroTrainOptions
  extends GivenOptions<typeof DATA>,
    GivenOptions<typeof FOLDER_OPTIONS>,
    GivenOptions<typeof LENGTHS>,
    GivenOptions<typeof OPTIMISATION>,
    GivenOptions<typeof RETRO_SHAPE_OPTIONS>,
    GivenOptions<typeof RETRO_READING_OPTIONS>,
    GivenOptions<typeof NEIGHBOUR_SOURCE_OPTIONS>,
    GivenOptions<typeof TEXTS>,
    GivenOptions<typeof EVALUATION>,
    GivenOptions<typeof TRAIN_COMPUTE_OPTIONS> {
  /** Documents to train on: a path, or `{ texts }` in memory (see `streamTextCorpus`). */
  readonly data: string | DataInMemory;
  /** Documents to measure the perplexity of during training. Default: none, and the last weights are kept. */
  readonly evalData?: string | DataInMemory | undefined;
  /** Folder of the run: checkpoint, log, and the model in `model/`. */
  readonly out: string;
  /** Language model to start from, which is frozen: its folder, a run, or its name on the hub. */
  readonly model: string;
}
