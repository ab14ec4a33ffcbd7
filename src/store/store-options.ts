import type { OptionTable } from '../util/option-table.ts';

/** Option that names a store. */
export const STORE_OPTION = {
  store: {
    type: 'text',
    value: 'folder',
    nonEmpty: true,
    help: 'folder of the store, or its address in an object store, such as s3://bucket/prefix',
  },
} as const satisfies OptionTable;

/** Options of a search in a store. */
export const STORE_SEARCH_OPTIONS = {
  /** Way of finding passages. */
  mode: {
    type: 'choice',
    choices: ['dense', 'bm25', 'hybrid'],
    default: 'hybrid',
    help: 'way of finding passages in a store: by vectors, by words, or by both',
    group: 'Store',
  },
  /** Conditions on the metadata of a passage, all of which must hold. */
  filter: {
    type: 'list',
    help: 'conditions on the fields of passages in a store, such as year>=2020,lang=en,tags~draft',
    group: 'Store',
  },
  /** Weight of the vectors in a hybrid search, in [0, 1]. Default: fusion by ranks. */
  denseWeight: {
    type: 'number',
    min: 0,
    max: 1,
    help: 'hybrid: add scaled scores, those of the vectors with this weight (default: fuse by ranks)',
    group: 'Store',
  },
  /** Smallest score of a passage that is found, in dense and BM25 searches. */
  minScore: {
    type: 'number',
    help: 'smallest score of a passage that is found; with --mode dense or bm25',
    group: 'Store',
  },
  /** Use the index for approximate search. */
  approximate: {
    type: 'switch',
    default: false,
    help: 'search the vectors approximately, by the index that undrift index --approximate has built',
    group: 'Store',
  },
  /** Partitions that an approximate search looks into. */
  probes: {
    type: 'integer',
    min: 1,
    default: 32,
    help: 'approximate: partitions to look into; more find more of the best passages',
    group: 'Store',
  },
} as const satisfies OptionTable;
