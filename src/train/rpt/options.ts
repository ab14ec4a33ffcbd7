import type { DataInMemory } from '../../data/data-in-memory.ts';
import { ANY_DATA_OPTIONS } from '../../data/load-options.ts';
import { CHUNK_GRADE_OPTIONS, RPT_SHAPE_OPTIONS } from '../../rlm/rpt-options.ts';
import { TRAIN_COMPUTE_OPTIONS } from '../../runtime/compute-options.ts';
import { type GivenOptions, type OptionTable, pickOptions, withDefaults } from '../../util/option-table.ts';
import { LANGUAGE_MODEL_OPTIONS } from '../language-model/options.ts';
import { FOLDER_OPTIONS, SUBJECT_OPTIONS } from '../options.ts';
import { RETRO_TRAIN_OPTIONS } from '../retro/options.ts';
import { EVALUATION_OPTIONS, LENGTH_OPTIONS, OPTIMISATION_OPTIONS } from '../run-options.ts';

const DATA = pickOptions(ANY_DATA_OPTIONS, 'columns', 'skipBadRows');

/** Heading of the options of RPT in the help. */
const group = 'RPT';

/** Grades from which the retriever learns: those of the reference model, or BM25 scores. */
export const RPT_LABELS = ['semantic', 'lexical'] as const;

/**
 * Neighbours that are read in training: the best by grade at first and the retriever's at the end (`scheduled`), or those of one kind
 * throughout.
 */
export const RPT_SAMPLINGS = ['scheduled', 'gold', 'predicted'] as const;

/** Options of what the retriever learns from. */
const SUPERVISION = {
  /** Grades from which the retriever learns. Default `semantic`. */
  labels: {
    type: 'choice',
    choices: RPT_LABELS,
    default: 'semantic',
    group,
    help: 'rpt: grades from which the retriever learns: semantic, those of the reference model; lexical, BM25 scores',
  },
  ...CHUNK_GRADE_OPTIONS,
  reference: { ...CHUNK_GRADE_OPTIONS.reference, defaultHelp: 'the model that the run starts from' },
  scoreCache: { ...CHUNK_GRADE_OPTIONS.scoreCache, defaultHelp: 'in --out' },
  /** Weight α of the ranking loss beside the language-model loss. Default 1. */
  rankWeight: {
    type: 'number',
    value: 'α',
    min: 0,
    default: 1,
    group,
    help: 'rpt: weight of the ranking loss; 0 leaves the retriever untrained',
  },
  /** Share of the batches over which the weight of the ranking loss rises from 0. Default 0.2. */
  rankWarmup: {
    type: 'number',
    min: 0,
    max: 1,
    default: 0.2,
    group,
    help: 'rpt: share of the batches over which the weight of the ranking loss rises from 0',
  },
  /** Margin τ of the ranking loss at the end, to which it rises from 1. Default 2. */
  rankMargin: {
    type: 'number',
    value: 'τ',
    min: 1,
    default: 2,
    group,
    help: 'rpt: margin of the ranking loss at the end, to which it rises from 1',
  },
  /** Neighbours that are read in training. Default `scheduled`. */
  sampling: {
    type: 'choice',
    choices: RPT_SAMPLINGS,
    default: 'scheduled',
    group,
    help: "rpt: neighbours that are read in training: gold, the best by grade; predicted, the retriever's; scheduled, gold ones at first and ever fewer of them",
  },
} as const satisfies OptionTable;

/** Options of the texts of a run. */
const TEXTS = {
  /** Tokens of a long sequence: documents are cut into sequences, in which neighbours are sought. Default 16 windows. */
  sequence: {
    type: 'integer',
    value: 'n',
    min: 8,
    defaultHelp: '16 windows',
    help: 'rpt: tokens of a long sequence at most; longer documents are cut, and neighbours are sought in the sequence',
    group: 'Length',
  },
  ...pickOptions(RETRO_TRAIN_OPTIONS, 'limitTokens', 'evalTokens'),
} as const satisfies OptionTable;

const LENGTHS = withDefaults(
  {
    ...pickOptions(LENGTH_OPTIONS, 'epochs', 'steps', 'accumulate', 'patience'),
    /** Long sequences of a batch. Default 1. */
    batchSize: { ...LANGUAGE_MODEL_OPTIONS.batchSize, help: 'long sequences of a batch' },
  },
  { epochs: 1, batchSize: 1 },
);

const OPTIMISATION = {
  ...withDefaults(
    pickOptions(
      OPTIMISATION_OPTIONS,
      ...(['lr', 'optimizer', 'weightDecay', 'maxGradNorm', 'schedule', 'warmup', 'seed'] as const),
    ),
    { lr: 1e-3 },
  ),
  /** Learning rate of the model that the run starts from; 0 to freeze it. Default 5e-5. */
  baseLr: {
    type: 'number',
    min: 0,
    default: 5e-5,
    group: 'Optimisation',
    help: 'rpt: learning rate of the given model itself, beside that of the added parts; 0 freezes it',
  },
} as const satisfies OptionTable;

const EVALUATION = pickOptions(EVALUATION_OPTIONS, 'evalEvery', 'saveEvery');

/** Base: there is none by default. */
const { default: _static, ...MODEL } = SUBJECT_OPTIONS.model;

/** All options of `trainRpt`, with their defaults, in the order of the documentation. */
export const RPT_TRAIN_OPTIONS = {
  ...pickOptions(SUBJECT_OPTIONS, 'data', 'out'),
  model: MODEL,
  evalData: { ...SUBJECT_OPTIONS.evalData, defaultHelp: 'none, and the last weights are kept' },
  ...DATA,
  ...FOLDER_OPTIONS,
  ...LENGTHS,
  ...OPTIMISATION,
  ...RPT_SHAPE_OPTIONS,
  ...SUPERVISION,
  ...TEXTS,
  ...EVALUATION,
  ...TRAIN_COMPUTE_OPTIONS,
} as const satisfies OptionTable;

/** Options of training RPT. Only `data`, `out` and `model` are required. */
export interface RptTrainOptions
  extends GivenOptions<typeof DATA>,
    GivenOptions<typeof FOLDER_OPTIONS>,
    GivenOptions<typeof LENGTHS>,
    GivenOptions<typeof OPTIMISATION>,
    GivenOptions<typeof RPT_SHAPE_OPTIONS>,
    GivenOptions<typeof SUPERVISION>,
    GivenOptions<typeof TEXTS>,
    GivenOptions<typeof EVALUATION>,
    GivenOptions<typeof TRAIN_COMPUTE_OPTIONS> {
  /** Documents to train on: a path, or `{ texts }` in memory (see `streamTextCorpus`). */
  readonly data: string | DataInMemory;
  /** Documents to measure the perplexity of during training. Default: none, and the last weights are kept. */
  readonly evalData?: string | DataInMemory | undefined;
  /** Folder of the run: checkpoint, log, and the model in `model/`. */
  readonly out: string;
  /** Language model to start from: its folder, a run, or its name on the hub. */
  readonly model: string;
}
