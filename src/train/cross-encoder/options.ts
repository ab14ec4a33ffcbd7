import type { DataInMemory } from '../../data/data-in-memory.ts';
import { ANY_DATA_OPTIONS } from '../../data/load-options.ts';
import { LOSS_OPTIONS } from '../../methods/contract/loss-names.ts';
import { NEGATIVE_OPTIONS } from '../../methods/contract/negative-options.ts';
import { RERANK_DEPTH } from '../../retrieval/rerank.ts';
import { TRAIN_COMPUTE_OPTIONS } from '../../runtime/compute-options.ts';
import { BM25_OPTIONS } from '../../text/bm25-options.ts';
import { type GivenOptions, type OptionTable, pickOptions, withDefaults } from '../../util/option-table.ts';
import { FOLDER_OPTIONS, SUBJECT_OPTIONS } from '../options.ts';
import { EVALUATION_OPTIONS, LENGTH_OPTIONS, OPTIMISATION_OPTIONS } from '../run-options.ts';

/** Sources of the negatives of a query. */
export const NEGATIVE_SOURCES = ['data', 'bm25', 'random'] as const;
/** Source of the negatives of a query. */
export type NegativeSource = (typeof NEGATIVE_SOURCES)[number];

/** Options that only the training of a cross-encoder has. */
export const CROSS_ENCODER_OPTIONS = {
  /** Source of each query's negatives: the data, the best documents of BM25, or any documents. Default: the data where it has negatives, else `bm25`. */
  negativesFrom: {
    type: 'choice',
    choices: NEGATIVE_SOURCES,
    defaultHelp: 'data where it has negatives, else bm25',
    help: 'cross-encoder: where the negatives of each query come from',
    group: 'Cross-encoder',
  },
  /** Longest pair of a query and a document, in tokens; the longer text is cut first. Default: as the model says. */
  maxTokens: {
    type: 'integer',
    min: 1,
    max: 65_536,
    defaultHelp: 'as the model says',
    help: 'cross-encoder: longest pair of a query and a document, in tokens; the longer text is cut first',
    group: 'Cross-encoder',
  },
  /** Documents of BM25 that are reranked for each query of an evaluation. Default 50. */
  rerankDepth: {
    ...RERANK_DEPTH,
    help: 'cross-encoder: documents of BM25 that an evaluation reranks for each query',
    group: 'Cross-encoder',
  },
} as const satisfies OptionTable;

const LENGTHS = withDefaults(
  pickOptions(LENGTH_OPTIONS, 'epochs', 'steps', 'batchSize', 'accumulate', 'negatives', 'patience'),
  { epochs: 1, batchSize: 8, negatives: 4 },
);
const OPTIMISATION = withDefaults(
  pickOptions(
    OPTIMISATION_OPTIONS,
    ...([
      'lr',
      'optimizer',
      'precision',
      'weightDecay',
      'maxGradNorm',
      'schedule',
      'warmup',
      'dropout',
    ] as const),
    'seed',
  ),
  { lr: 2e-5 },
);
const NEGATIVES = withDefaults(pickOptions(NEGATIVE_OPTIONS, 'rankFrom', 'rankTo'), { rankTo: 100 });
const EVALUATION = withDefaults(
  pickOptions(
    EVALUATION_OPTIONS,
    'evalSplit',
    'evalMetric',
    'evalEvery',
    'evalQueries',
    'baseline',
    'saveEvery',
  ),
  { evalQueries: 100 },
);

/** All options of `trainCrossEncoder`, with their defaults, in the order of the documentation. */
export const CROSS_ENCODER_TRAIN_OPTIONS = {
  ...pickOptions(SUBJECT_OPTIONS, 'data', 'out', 'evalData', 'model'),
  ...ANY_DATA_OPTIONS,
  ...FOLDER_OPTIONS,
  ...LENGTHS,
  ...OPTIMISATION,
  ...LOSS_OPTIONS,
  ...CROSS_ENCODER_OPTIONS,
  ...NEGATIVES,
  ...BM25_OPTIONS,
  ...EVALUATION,
  ...TRAIN_COMPUTE_OPTIONS,
} as const satisfies OptionTable;

/** Options of the training of a cross-encoder. Only `data`, `out` and `model` are required. */
export interface CrossEncoderTrainOptions
  extends GivenOptions<typeof ANY_DATA_OPTIONS>,
    GivenOptions<typeof FOLDER_OPTIONS>,
    GivenOptions<typeof LENGTHS>,
    GivenOptions<typeof OPTIMISATION>,
    GivenOptions<typeof LOSS_OPTIONS>,
    GivenOptions<typeof CROSS_ENCODER_OPTIONS>,
    GivenOptions<typeof NEGATIVES>,
    GivenOptions<typeof BM25_OPTIONS>,
    GivenOptions<typeof EVALUATION>,
    GivenOptions<typeof TRAIN_COMPUTE_OPTIONS> {
  /**
   * Path of a data folder or file, name of a data set, or data in memory: queries with their documents (see `loadData`), or pairs of
   * texts with a score each (see `loadScoredPairs`).
   */
  readonly data: string | DataInMemory;
  /** Data to evaluate on during training, like `data`. Nothing is held out of `data` then. */
  readonly evalData?: string | DataInMemory | undefined;
  /** Folder of the run: checkpoint, log, and the model in `model/`. */
  readonly out: string;
  /** Model to start from: an encoder, which gets a new classification head, or a cross-encoder. Its folder, a run, or its name on the hub. */
  readonly model: string;
}
