import { ANSWERS_HELP } from '../data/answers.ts';
import type { RetrievalData } from '../data/retrieval-data.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import { DataError, UsageError } from '../util/errors.ts';
import { evenlySpaced } from '../util/evenly-spaced.ts';
import type { NoteListener } from '../util/option-name.ts';
import { option } from '../util/option-name.ts';
import type { OptionTable } from '../util/option-table.ts';
import type { Question, Segment } from './language-system.ts';
import { withLineBreaks } from './passage-front.ts';

/** Options of making questions of a data set. */
export const QUESTION_OPTIONS = {
  prompt: {
    type: 'text',
    value: 'text',
    default: 'Question: {question}\nAnswer:',
    help: 'text that the model continues with the answer; {question} stands for the question, and passages are put in place of {passages}, by default at the beginning; \\n is a line break',
  },
  limitQueries: {
    type: 'integer',
    value: 'n',
    min: 1,
    defaultHelp: 'all',
    help: 'questions to answer, evenly spaced over the split',
  },
} as const satisfies OptionTable;

/** Places in a prompt. */
const [QUESTION, PASSAGES] = ['{question}', '{passages}'];

/**
 * Makes the questions of a split. What the model reads is
 *
 *     start token · prompt before {passages} · passages · rest of the prompt · answer
 *
 * with the start token where the tokenizer begins texts with one. Prompt and answer are tokenised apart from each other; a space stands
 * before the answer, unless the prompt ends in white space or in a special token. Special tokens count as such in the prompt alone; in
 * questions and answers they are characters like others. The passages are the system's: see `PassageFront`.
 *
 * @throws DataError for data without answers, or where no question of the split has one
 * @throws UsageError for a prompt without `{question}`, and a question that is longer than the model reads
 */
export function questionsOf(
  model: LanguageModel,
  data: RetrievalData,
  {
    split = 'test',
    prompt = QUESTION_OPTIONS.prompt.default,
    limitQueries,
    onNote,
  }: {
    readonly split?: string | undefined;
    readonly prompt?: string | undefined;
    readonly limitQueries?: number | undefined;
    readonly onNote?: NoteListener | undefined;
  } = {},
): Question[] {
  const { answers } = data;
  if (!answers)
    throw new DataError('the data has no answers to its queries', { file: data.name, help: ANSWERS_HELP });
  const parts = promptParts(prompt);
  const { queryRows, positives } = data.examples(split);
  const answered = [...queryRows.keys()].filter((i) => answers(queryRows[i]!).length > 0);
  if (answered.length === 0) {
    throw new DataError(`no query of the split "${split}" has an answer`, {
      file: data.name,
      help: ANSWERS_HELP,
    });
  }
  if (answered.length < queryRows.length) {
    onNote?.(`left out ${queryRows.length - answered.length} queries of "${split}" without an answer`);
  }
  return evenlySpaced(answered, limitQueries).map((i) => {
    const row = queryRows[i]!;
    const [id, query] = [data.queries.id(row), data.queries.text(row)];
    const texts = answers(row);
    const segment = segmentOf(model, parts, query, texts[0]!);
    const { maxTokens = Number.POSITIVE_INFINITY } = model.decoder;
    if (segment.ids.length > maxTokens) {
      throw new UsageError(
        `the question ${id} has ${segment.ids.length} tokens with its answer, and the model reads ${maxTokens}`,
        { help: `leave it out of the data, or shorten ${option('prompt')}` },
      );
    }
    return {
      id,
      answers: texts,
      segment: { ...segment, query, gold: positives.rows[positives.offsets[i]!], room: maxTokens },
      right: positives.rows.subarray(positives.offsets[i]!, positives.offsets[i + 1]!),
    };
  });
}

interface PromptParts {
  /** Text before the passages. */
  readonly head: string;
  /** Text after the passages. */
  readonly rest: string;
}

function promptParts(prompt: string): PromptParts {
  const [before, ...after] = withLineBreaks(prompt).split(PASSAGES!);
  const [head, rest] = after.length === 0 ? ['', before!] : [before!, after.join(PASSAGES)];
  if (rest.split(QUESTION!).length === 2 && after.length < 2) return { head, rest };
  throw new UsageError(
    `${option('prompt')} must contain ${QUESTION} once, and ${PASSAGES} at most once, before it`,
    { help: `for example ${JSON.stringify(QUESTION_OPTIONS.prompt.default)}` },
  );
}

function segmentOf(
  { tokenizer }: LanguageModel,
  { head, rest }: PromptParts,
  question: string,
  answer: string,
): Pick<Segment, 'ids' | 'from' | 'head'> {
  const [before, after] = rest.split(QUESTION!);
  const front = [...tokenizer.wrapper.before, ...tokenizer.encodeRaw(head)];
  const context = [...front, ...tokenizer.encodeParts([before!, { ordinary: question }, after!])];
  const isOpen = /\s$/.test(rest) || tokenizer.decode(context.slice(-1)) === '';
  const target = tokenizer.encodeOrdinary(isOpen ? answer : ` ${answer}`);
  return { ids: Int32Array.from([...context, ...target]), from: context.length, head: front.length };
}
