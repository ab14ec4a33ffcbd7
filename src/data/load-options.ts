import type { GivenOptions, OptionTable } from '../util/option-table.ts';
import type { Progress } from '../util/progress.ts';
import type { BadRows } from './bad-rows.ts';
import { COLUMNS, type Role } from './columns.ts';
import type { Corpus } from './corpus.ts';

/** Values of an option that takes data, for help texts. */
export const DATA_HELP = 'data set: BEIR, MS MARCO, or pairs; or its name: beir/NAME, hf:organisation/name';

/** Options for faults in data. */
export const FAULT_OPTIONS = {
  /**
   * Treatment of judgements whose document is not in the corpus. `count` (default): the document is judged and cannot be found, as in
   * trec_eval, BEIR and MTEB. `drop`: leave the judgement out. `error`: throw.
   */
  missingDocuments: {
    type: 'choice',
    choices: ['count', 'drop', 'error'],
    default: 'count',
    help: 'judgements of documents that are not in the corpus: count them in the metrics as never found, drop them, or refuse the data',
  },
  /** Number of bad lines, rows or items to leave out, over all files of the data. With more of them the data is refused. Default 0. */
  skipBadRows: {
    type: 'integer',
    min: 0,
    default: 0,
    help: 'bad rows to leave out, such as blank ones; with more of them the data is refused, and the error lists them',
  },
} as const satisfies OptionTable;

/** Options for the layout of data. */
export const LAYOUT_OPTIONS = {
  /**
   * Names of columns by role, where they are not recognised: `{ query: 'prompt', positive: 'reply' }`. Roles `positive` and
   * `negative` also take a list of names. The empty name stands for no column of the role. Default: columns are recognised by the
   * names in `COLUMNS`.
   */
  columns: {
    type: 'map',
    choices: Object.keys(COLUMNS) as Role[],
    value: 'role=name,…',
    help: 'names of your columns, such as query=prompt,positive=reply; docs/data.md lists the roles and the names that are recognised',
    aliases: ['column_names', 'columnNames', 'fields', 'column_mapping'],
  },
} as const satisfies OptionTable;

/** Options for cutting text and Markdown files into passages. */
export const PASSAGE_OPTIONS = {
  /** Largest number of words of a passage of a text or Markdown file. Default 150. */
  passageWords: {
    type: 'integer',
    min: 8,
    max: 10_000,
    default: 150,
    help: 'folders of text and Markdown: largest number of words of a passage',
  },
  /** Largest number of words that a passage repeats of the one before, in whole sentences. Default 30, or half of a shorter passage. */
  passageOverlap: {
    type: 'integer',
    min: 0,
    max: 5000,
    default: 30,
    help: 'folders of text and Markdown: largest number of words that a passage repeats of the one before, in whole sentences',
  },
} as const satisfies OptionTable;

/** Options for reading documents alone. */
export const DOCUMENT_OPTIONS = {
  skipBadRows: FAULT_OPTIONS.skipBadRows,
  ...LAYOUT_OPTIONS,
  ...PASSAGE_OPTIONS,
} as const satisfies OptionTable;

/** Options for reading data of any kind. */
export const ANY_DATA_OPTIONS = {
  ...FAULT_OPTIONS,
  ...LAYOUT_OPTIONS,
  ...PASSAGE_OPTIONS,
} as const satisfies OptionTable;

/** Options for reading a data set. */
export const READ_OPTIONS = { ...FAULT_OPTIONS, ...LAYOUT_OPTIONS } as const satisfies OptionTable;

/** Documents that take the place of those of a data set, such as the passages of a store. */
export interface GivenDocuments {
  /** Name for messages: `the store stores/docs`. */
  readonly name: string;
  /** Documents. Their ids are those of the judgements; pairs name them by their texts. */
  readonly corpus: Corpus;
  /** Short digest of ids and texts. */
  readonly fingerprint: string;
}

/** Settings of the functions that load data. */
export interface LoadOptions extends GivenOptions<typeof ANY_DATA_OPTIONS> {
  /** Documents to use in place of those of the data, which are then not read. Default: those of the data. */
  documents?: GivenDocuments | undefined;
  /** Splits whose judgements are read. Default all. The fingerprint covers all files in any case. */
  splits?: readonly string[] | undefined;
  /**
   * Splits whose faults are errors at once. A fault in the judgements of another split is a note, and an error where that split is
   * used. Default all.
   */
  neededSplits?: readonly string[] | undefined;
  /**
   * Whether answers to the queries are read, where the data has some; see `RetrievalData.answers`. The fingerprint of a folder
   * covers them in any case. Default false.
   */
  answers?: boolean | undefined;
  /**
   * Treatment of judgements with an unknown query id. `error` (default): throw. `skip`: leave them out and count them in the notes.
   * For unknown document ids it is the default of `missingDocuments`: `skip` means `drop`, and `error` given here means `error`.
   */
  unknownIds?: 'error' | 'skip' | undefined;
  /**
   * Share of the queries of pairs held out as split dev, if dev has no file, in [0, 1). Queries are chosen by
   * a hash of their text. Default 0.05.
   */
  devFraction?: number | undefined;
  /** Share of the queries of pairs held out as split test, if test has no file, in [0, 1). Default 0.05. */
  testFraction?: number | undefined;
  /** Longest line accepted, in bytes. Default 64 MiB. */
  maxLineBytes?: number | undefined;
  /**
   * Progress in bytes: stage `download` for named data sets, then stage `read` after every block of each file. For data in memory:
   * stage `read`, in records.
   */
  onProgress?: ((progress: Progress) => void) | undefined;
  /** Called with a note if a named data set came from another place than asked. */
  onNote?: ((note: string) => void) | undefined;
}

/** Settings of a load and the bad rows that it has met. */
export interface ReadingOptions extends LoadOptions {
  /** Collects bad rows. Default: the first bad row throws. */
  badRows?: BadRows | undefined;
  /** Whether a text or Markdown file is one document, instead of one for each line or passage. Default false. */
  wholeFiles?: boolean | undefined;
}
