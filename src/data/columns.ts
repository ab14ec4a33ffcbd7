/** Column of a table, or field of a record. */
export interface Column {
  /** Names that are recognised, the canonical one first. */
  readonly names: readonly string[];
  /** Matches further names, such as `negative_1`. */
  readonly pattern?: RegExp;
  /** Pattern in words. */
  readonly patternHelp?: string;
  /** Content, for the documentation. */
  readonly holds: string;
}

/**
 * Columns of all layouts, by role. Readers, the option `columns`, error messages and docs/data.md are made from this table.
 */
export const COLUMNS = {
  query: {
    names: ['query', 'anchor', 'question', 'query_text', 'queries'],
    holds: 'the query',
  },
  positive: {
    names: [
      'positive',
      'positives',
      'pos',
      'positive_text',
      'positive_passages',
      'document',
      'passage',
      'answer',
    ],
    holds:
      'a passage that answers the query; in JSONL and Parquet also a list, of texts or of `{"title", "text"}`',
  },
  negative: {
    names: ['negative', 'negatives', 'neg', 'negative_text', 'negative_passages', 'hard_negatives'],
    pattern: /^negative_\d+$/,
    patternHelp: '`negative_1`, `negative_2`, …',
    holds: 'a passage that does not answer it; in JSONL and Parquet also a list',
  },
  label: {
    names: ['label', 'score', 'relevance', 'grade'],
    holds: 'whole number: 0 makes the passage a negative of the query, 1 or more a positive',
  },
  scores: {
    names: ['scores', 'teacher_scores'],
    holds: "a teacher's scores: a list, first of the positives, then of the negatives",
  },
  positiveScores: {
    names: ['positive_scores', 'pos_scores'],
    holds: "a teacher's scores of the positives alone",
  },
  negativeScores: {
    names: ['negative_scores', 'neg_scores'],
    holds: "a teacher's scores of the negatives alone",
  },
  split: {
    names: ['split'],
    holds: 'split of the row: `train`, `dev` (or `validation`, `valid`, `val`), `test`, or another name',
  },
  sentence1: {
    names: ['sentence1', 'text1', 'sentence_1', 'text_1', 'query', 'anchor'],
    holds: 'the first text',
  },
  sentence2: {
    names: ['sentence2', 'text2', 'sentence_2', 'text_2', 'document', 'passage'],
    holds: 'the second text',
  },
  score: {
    names: ['score', 'label', 'similarity', 'similarity_score'],
    holds: 'number: how similar the two texts are',
  },
  id: {
    names: ['_id', 'id', 'docid', 'doc_id', 'docno', 'pid', 'qid'],
    holds: 'unique id: a text or a whole number',
  },
  title: { names: ['title'], holds: 'title, put before the text with a space between' },
  text: {
    names: ['text', 'contents', 'content', 'body', 'passage', 'document'],
    holds: 'the text',
  },
  queryId: {
    names: ['query-id', 'query_id', 'queryId', 'queryid', 'qid', 'query'],
    holds: 'id of a query',
  },
  docId: {
    names: [
      'corpus-id',
      'corpus_id',
      'doc-id',
      'doc_id',
      'docId',
      'docid',
      'docno',
      'pid',
      'document-id',
      'document_id',
    ],
    holds: 'id of a document',
  },
  answers: {
    names: ['answers'],
    holds:
      'answers to the query in words: a text, a list of texts or `{"text": […]}`; read by methods that need them, such as `replug-lsr`',
  },
  grade: {
    names: ['score', 'grade', 'rel', 'relevance', 'label'],
    holds: 'number: above 0 the document answers the query; 1 where the column is absent',
  },
} as const satisfies Readonly<Record<string, Column>>;

/** Role of a column. */
export type Role = keyof typeof COLUMNS;

/** Columns of each kind of table: those that it needs, and those that it may have. */
export const TABLES = {
  pairs: {
    needs: ['query', 'positive'],
    takes: ['negative', 'label', 'scores', 'positiveScores', 'negativeScores', 'answers', 'split'],
  },
  'scored pairs': { needs: ['sentence1', 'sentence2', 'score'], takes: ['split'] },
  documents: { needs: ['text'], takes: ['id', 'title'] },
  judgements: { needs: ['queryId', 'docId'], takes: ['grade'] },
  answers: { needs: ['id', 'answers'], takes: [] },
} as const satisfies Readonly<Record<string, { needs: readonly Role[]; takes: readonly Role[] }>>;

/** Kind of table. */
export type TableKind = keyof typeof TABLES;

/** Roles of the columns of a kind of table. */
export const rolesOf = (kind: TableKind): readonly Role[] => [...TABLES[kind].needs, ...TABLES[kind].takes];

/** Tells whether a role takes several columns at once. */
export const takesSeveral = (role: Role): boolean => role === 'positive' || role === 'negative';

/** Names of all columns of all layouts. */
const KNOWN: ReadonlySet<string> = new Set(Object.values(COLUMNS).flatMap(({ names }) => names));

/** Tells whether a name is that of a column of any layout. */
export const isColumnName = (name: string): boolean => KNOWN.has(name) || COLUMNS.negative.pattern.test(name);
