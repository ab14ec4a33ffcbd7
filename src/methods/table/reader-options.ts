import { KL_DIRECTIONS } from '../../losses/teacher-divergence.ts';
import { READER_SCORES } from '../../models/language/language-teacher.ts';
import { checkPromptNames, QUESTION_PROMPT } from '../../models/language/reader-prompt.ts';
import { CLOZE_PROMPT } from '../../models/masked/masked-prompt.ts';
import type { OptionTable } from '../../util/option-table.ts';

/** Scores that a method takes from its reader: the reader's own, or, as a control, those of a query in random order. */
export const TEACHER_SCORES = ['reader', 'shuffled'] as const;

/** Options of methods that a frozen language model teaches. */
export const READER_OPTIONS = {
  /** Language model that reads and teaches: a folder, a run, or a name on the hub. */
  reader: {
    type: 'text',
    value: 'model',
    nonEmpty: true,
    help: 'language model that scores the right answer given each candidate: a folder, a run, or a name on the hub',
    group: 'Reader',
  },
  /** Temperature β of the softmax over the reader's scores. */
  readerTemperature: {
    type: 'number',
    above: 0,
    default: 0.1,
    help: "temperature of the softmax over the reader's scores",
    group: 'Reader',
  },
  /** Score of an answer: the mean log-probability of its tokens, or the sum. */
  readerScore: {
    type: 'choice',
    choices: READER_SCORES,
    default: 'mean',
    help: "score of an answer: mean or sum of its tokens' log-probabilities",
    group: 'Reader',
  },
  /** Prompt of the reader; see `ReaderPrompt`, and `MaskedPrompt` for masked language models. */
  readerPrompt: {
    type: 'text',
    value: 'text',
    defaultHelp: `${QUESTION_PROMPT}; ${CLOZE_PROMPT} for masked language models`,
    check: checkPromptNames,
    help: 'prompt of the reader, with {passage}, {query} and at its end {answer}; of a masked language model with {passage} first or last; \\n is a line break',
    group: 'Reader',
  },
  /** Longest prompt, in tokens. Passages are cut at their end to fit. */
  readerTokens: {
    type: 'integer',
    min: 8,
    defaultHelp: 'what the reader reads',
    help: 'longest prompt, in tokens; passages are cut at their end to fit',
    group: 'Reader',
  },
  /** Folder of the reader's scores, which several runs may share. Default: inside the folder of the run. */
  readerCache: {
    type: 'text',
    value: 'folder',
    nonEmpty: true,
    defaultHelp: 'in the folder of the run',
    help: "folder for the reader's scores, which several runs may share",
    group: 'Reader',
  },
  /** Candidates of each query, K. */
  candidates: {
    type: 'integer',
    min: 2,
    max: 4096,
    default: 20,
    help: 'best documents of the cache that are the candidates of a query',
    group: 'Reader',
  },
  /** Evaluation queries of which reader and retriever are compared, with each evaluation; 0 for none. Default 32. */
  readerEvalQueries: {
    type: 'integer',
    value: 'n',
    min: 0,
    default: 32,
    help: 'queries of each evaluation on which reader and retriever are measured together; 0 for none',
    group: 'Reader',
  },
  /** Direction of the divergence between reader (Q) and retriever (P): `forward` is KL(Q‖P), `reverse` KL(P‖Q). */
  kl: {
    type: 'choice',
    choices: KL_DIRECTIONS,
    default: 'forward',
    help: 'divergence of reader Q and retriever P: forward KL(Q‖P), reverse KL(P‖Q)',
    group: 'Reader',
  },
  /** Scores that are learnt: the reader's, or, as a control, those of a query in random order among its candidates. */
  teacherScores: {
    type: 'choice',
    choices: TEACHER_SCORES,
    default: 'reader',
    help: "scores to learn: the reader's, or as a control the same ones shuffled among the candidates of each query",
    group: 'Reader',
  },
  /** Whether the positive of the data is a candidate too. */
  goldCandidate: {
    type: 'switch',
    default: false,
    help: 'make the right document of the data a candidate too, in addition to those of the cache',
    group: 'Reader',
  },
  /** Whether right documents of the data, and their copies, are never candidates, such as the passages of a context's own text. */
  leaveOutPositives: {
    type: 'switch',
    default: false,
    help: "never make right documents of the data candidates, such as the passages of a context's own text",
    group: 'Reader',
  },
} as const satisfies OptionTable;
