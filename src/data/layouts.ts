import type { TableKind } from './columns.ts';

/** Layout of data: the files that it consists of. */
export interface Layout {
  /** Name for messages and the documentation. */
  readonly name: string;
  /** Files, for messages. */
  readonly files: string;
  /** Kinds of table in these files. */
  readonly tables: readonly TableKind[];
  /** What reads it, for the documentation. */
  readonly use: string;
}

/** Formats of files of records, for messages and the documentation. */
export const RECORD_FORMATS = 'JSONL, CSV, TSV (each also .gz) or Parquet';

/** Layouts of data sets, in the order in which they are looked for in a folder. The last ones are documents alone. */
export const LAYOUTS: readonly Layout[] = [
  {
    name: 'BEIR',
    files: 'corpus.jsonl, queries.jsonl, qrels/<split>.tsv, perhaps answers.jsonl (also CSV, .gz or Parquet)',
    tables: ['documents', 'judgements', 'answers'],
    use: 'every command',
  },
  {
    name: 'MS MARCO',
    files: 'collection.tsv, queries.<split>.tsv, qrels.<split>.tsv (plain or .gz), without headers',
    tables: [],
    use: 'every command',
  },
  {
    name: 'pairs',
    files:
      'train.jsonl and perhaps dev.jsonl, test.jsonl; or one file (JSONL, CSV, TSV, each also .gz, or Parquet)',
    tables: ['pairs'],
    use: 'every command',
  },
  {
    name: 'scored pairs',
    files: 'files like those of pairs',
    tables: ['scored pairs'],
    use: '`train --method scored-pairs`, `eval --metrics spearman`; `search`, `encode` and `index` take the second texts',
  },
  {
    name: 'documents',
    files:
      'one file (JSONL, CSV, TSV, each also .gz, or Parquet); corpus.jsonl in a folder; TSV without a header: id, text',
    tables: ['documents'],
    use: '`search`, `encode`, `index`, `train --method crop`',
  },
  {
    name: 'plain text',
    files: 'one file, one document a line (plain or .gz); its line number is the id',
    tables: [],
    use: '`search`, `encode`, `index`, `train --method crop`',
  },
  {
    name: 'folder of files',
    files:
      'texts and Markdown (.txt, .md, each also .gz), cut into passages, and tables with a column of texts (JSONL, CSV, TSV, each also .gz, or Parquet), in folders; or one .md file',
    tables: ['documents'],
    use: '`search`, `encode`, `index`, `train --method crop`',
  },
];
