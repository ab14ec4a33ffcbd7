import { type OptionTable, pickOptions, withDefaults } from '../util/option-table.ts';
import { CHUNK_RETRIEVALS } from './chunk-choice.ts';
import { RETRO_READING_OPTIONS, RETRO_SHAPE_OPTIONS } from './retro-options.ts';

/** Heading of the options of RPT in the help. */
const group = 'RPT';

/** Options of grading chunks as neighbours. */
export const CHUNK_GRADE_OPTIONS = {
  /** Language model that grades chunks as neighbours, frozen. Default: the model that the run starts from. */
  reference: {
    type: 'text',
    value: 'model',
    nonEmpty: true,
    group,
    help: 'rpt: frozen language model that grades chunks by how much they help to predict the next one',
  },
  /** Candidates of each chunk that are graded, the best ones by BM25. Default 20. */
  chunkCandidates: {
    type: 'integer',
    value: 'n',
    min: 1,
    max: 1000,
    default: 20,
    group,
    help: 'rpt: chunks that are graded as neighbours of each chunk, the best ones by BM25',
  },
  /** Folder of the grades, which several runs may share. */
  scoreCache: {
    type: 'text',
    value: 'folder',
    nonEmpty: true,
    group,
    help: 'rpt: folder for the scores of the reference model, which several runs may share',
  },
} as const satisfies OptionTable;

/** Options of reading with an RPT model. */
export const RPT_READING_OPTIONS = {
  ...pickOptions(RETRO_READING_OPTIONS, 'chunkNeighbours'),
  /** Way of choosing neighbours: see `CHUNK_RETRIEVALS`. Default: as in training. */
  retrieval: {
    type: 'choice',
    choices: CHUNK_RETRIEVALS,
    defaultHelp: 'as in training',
    group,
    help: 'rpt: neighbours of a chunk among earlier chunks of the text: by the learned retriever, by BM25, the best by the reference model (oracle), random ones, or none',
  },
  ...CHUNK_GRADE_OPTIONS,
} as const satisfies OptionTable;

/** Options of the parts that RPT adds to a language model, and of how it reads long texts. */
export const RPT_SHAPE_OPTIONS = {
  ...withDefaults(RETRO_SHAPE_OPTIONS, { encoderLayers: 1 }),
  crossLayers: { ...RETRO_SHAPE_OPTIONS.crossLayers, defaultHelp: 'those of the upper half' },
  ...pickOptions(RETRO_READING_OPTIONS, 'chunkNeighbours'),
  /** Tokens of a window, a multiple of `chunkTokens`. Default: 32 chunks, or what the model reads. */
  window: {
    type: 'integer',
    value: 'n',
    min: 4,
    defaultHelp: '32 chunks, or what the model reads',
    help: 'tokens of a window, a multiple of the tokens of a chunk; no chunk in it is a neighbour',
    group: 'Length',
  },
  /** Tokens between the beginnings of windows, a multiple of `chunkTokens`. Default: half a window. */
  stride: {
    type: 'integer',
    value: 'n',
    min: 2,
    defaultHelp: 'half a window',
    help: 'rpt: tokens between the beginnings of windows, a multiple of the tokens of a chunk',
    group: 'Length',
  },
  /** Smallest gate η of a neighbour. Default 0.1. */
  gateFloor: {
    type: 'number',
    min: 0,
    max: 1,
    default: 0.1,
    group,
    help: 'rpt: smallest gate of a neighbour, by which its states are multiplied',
  },
  /** Whether neighbours have gates. Default true. */
  gates: {
    type: 'switch',
    default: true,
    negative: true,
    group,
    help: 'rpt: read neighbours without gates',
  },
  /** Way of choosing neighbours: see `CHUNK_RETRIEVALS`. Default `learned`. */
  ...withDefaults(pickOptions(RPT_READING_OPTIONS, 'retrieval'), { retrieval: 'learned' }),
} as const satisfies OptionTable;
