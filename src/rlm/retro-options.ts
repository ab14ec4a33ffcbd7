import type { OptionTable } from '../util/option-table.ts';
import { NEIGHBOUR_PARTS } from './chunk-neighbours.ts';
import { NEIGHBOUR_CHOICES } from './retro-system.ts';

/** Heading of the options of RETRO in the help. */
const group = 'RETRO';

/** Options of reading neighbours with a RETRO model. */
export const RETRO_READING_OPTIONS = {
  /** Neighbours of each chunk, k. Default: as in training, where it is 2. */
  chunkNeighbours: {
    type: 'integer',
    value: 'n',
    min: 1,
    max: 1000,
    defaultHelp: 'as in training, where it is 2',
    group,
    help: 'retro, rpt: neighbours that are read for each chunk; more than in training may help',
  },
  /** Neighbours that are read: those found (`true`), those of other chunks as a control (`shuffled`), or none (`off`). */
  neighbours: {
    type: 'choice',
    choices: NEIGHBOUR_CHOICES,
    default: 'true',
    group,
    help: 'retro: neighbours that are read: those found, those of other chunks as a control, or none, which is the base model',
  },
  /** Part of each neighbour that is read: the chunk found, the chunk after it, or both. Default `both`. */
  neighbourPart: {
    type: 'choice',
    choices: NEIGHBOUR_PARTS,
    default: 'both',
    group,
    help: 'retro: part of each neighbour that is read: the chunk found, its continuation in the document, or both',
  },
} as const satisfies OptionTable;

/** Options of the parts that RETRO adds to a language model. */
export const RETRO_SHAPE_OPTIONS = {
  /** Tokens of a chunk, m. A neighbour has twice as many: a chunk and its continuation. Default 64. */
  chunkTokens: {
    type: 'integer',
    value: 'n',
    min: 2,
    max: 4096,
    default: 64,
    group,
    help: 'retro, rpt: tokens of a chunk; a neighbour is a chunk and its continuation',
  },
  /** Layers of the model that read neighbours, counted from 1. Default: every third one from the middle on. */
  crossLayers: {
    type: 'numbers',
    whole: true,
    min: 1,
    defaultHelp: 'every third one from the middle on',
    group,
    help: 'retro, rpt: layers of the model that read neighbours, counted from 1',
  },
  /** Layers of the neighbour encoder, of which the first reads the chunk. Default 2. */
  encoderLayers: {
    type: 'integer',
    value: 'n',
    min: 1,
    max: 64,
    default: 2,
    group,
    help: 'retro, rpt: layers of the neighbour encoder, of which the first reads the chunk',
  },
} as const satisfies OptionTable;
