import type { Tokenizer } from '../../text/tokenizer.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';

/** Prompt for questions and answers. */
export const QUESTION_PROMPT = '{passage}\\n\\nQuestion: {query}\\nAnswer: {answer}';

/** Prompt for running text: a context and the text that follows it. */
export const CONTINUATION_PROMPT = '{passage}\\n\\n{query} {answer}';

const NAMES = ['passage', 'query', 'answer'] as const;

const PROMPT_HELP = `use {passage}, {query} and, at the end, {answer} once each: ${option('readerPrompt', QUESTION_PROMPT)}`;

/** Texts of a prompt. */
export interface PromptTexts {
  /** Passage to read; undefined for a prompt without one. */
  readonly passage: string | undefined;
  /** Question, or the text before the continuation. */
  readonly query: string;
  /** Answer or continuation, whose tokens are scored. */
  readonly answer: string;
}

/** Tokens of a prompt. */
export interface PromptTokens {
  /** Token ids of the whole prompt. */
  readonly ids: Int32Array;
  /** Position of the first token of the answer. */
  readonly from: number;
  /** Number of tokens up to the end of the passage: prompts of one passage begin with them, unless the query stands before it. */
  readonly passageEnd: number;
  /** Tokens of the passage that were cut off at its end, because the prompt would not have fitted. */
  readonly cutTokens: number;
}

/**
 * Prompt by which a language model reads a passage, a query and an answer: a text with `{passage}`, `{query}` and, at its end,
 * `{answer}`. The characters `\n` and `\t` stand for a line break and a tab.
 *
 * Passage, answer and the text around them are tokenised apart, so that the tokens of a passage do not depend on what follows it.
 * Special tokens count as such in the format alone; in passage, query and answer they are characters like others.
 * White space before the passage and before the answer belongs to them. A prompt without a passage leaves out the white space that
 * follows it.
 */
export class ReaderPrompt {
  /** Prompt as given. */
  readonly format: string;
  /** Texts before and after the passage, with `{query}` in one of them. */
  readonly #before: string;
  readonly #after: string;
  /** White space before passage and answer. */
  readonly #space: { readonly passage: string; readonly answer: string };

  /** @throws UsageError for a format that lacks a name, repeats one, or goes on after the answer */
  constructor(format: string = QUESTION_PROMPT) {
    checkPrompt(format);
    this.format = format;
    const text = format.replaceAll('\\n', '\n').replaceAll('\\t', '\t').slice(0, -'{answer}'.length);
    const [before, after] = text.split('{passage}') as [string, string];
    this.#before = before.trimEnd();
    this.#after = after.trimEnd();
    this.#space = {
      passage: before.slice(this.#before.length),
      answer: after.slice(this.#after.length),
    };
  }

  /**
   * Tokenises a prompt, with the special tokens before a text.
   *
   * @param options.maxTokens  largest number of tokens; a passage is cut at its end to fit
   * @throws UsageError where query and answer alone do not fit, and for an answer without a token
   */
  tokens(
    tokenizer: Tokenizer,
    { passage, query, answer }: PromptTexts,
    options: { readonly maxTokens?: number | undefined } = {},
  ): PromptTokens {
    const { maxTokens = Number.POSITIVE_INFINITY } = options;
    const { head, whole, tail } = this.#context(tokenizer, passage, query);
    const target = tokenizer.encodeParts([this.#space.answer, { ordinary: answer }]);
    if (target.length === 0) throw noAnswerToken({ query, answer });
    const rest = [...head, tail, target].reduce((sum, { length }) => sum + length, 0);
    const read = fittingPassage(whole, { rest, maxTokens, query });
    const ids = joined([...head, read, tail, target]);
    const from = ids.length - target.length;
    return { ids, from, passageEnd: from - tail.length, cutTokens: whole.length - read.length };
  }

  /**
   * Tokenises what stands before the answer, with the special tokens around a text, for readers that write the answer elsewhere.
   *
   * @param options.maxTokens  largest number of tokens; a passage is cut at its end to fit
   * @throws UsageError where the query alone does not fit
   */
  context(
    tokenizer: Tokenizer,
    { passage, query }: Omit<PromptTexts, 'answer'>,
    options: { readonly maxTokens?: number | undefined } = {},
  ): Int32Array {
    const { maxTokens = Number.POSITIVE_INFINITY } = options;
    const { head, whole, tail } = this.#context(tokenizer, passage, query);
    const ends = [tail, tokenizer.wrapper.after];
    const rest = [...head, ...ends].reduce((sum, { length }) => sum + length, 0);
    return joined([...head, fittingPassage(whole, { rest, maxTokens, query }), ...ends]);
  }

  /** Tokenises the passage, and what stands before and after it. */
  #context(tokenizer: Tokenizer, passage: string | undefined, query: string) {
    const filled = (text: string) => {
      const [before, ...after] = text.split('{query}');
      return tokenizer.encodeParts([before!, ...after.flatMap((part) => [{ ordinary: query }, part])]);
    };
    const isNothing = passage === undefined;
    return {
      head: [tokenizer.wrapper.before, filled(this.#before)],
      whole: isNothing
        ? new Int32Array(0)
        : tokenizer.encodeParts([this.#space.passage, { ordinary: passage }]),
      tail: filled(isNothing ? this.#space.passage + this.#after.trimStart() : this.#after),
    };
  }
}

/** Makes the error of an answer without a token. */
export const noAnswerToken = ({ query, answer }: Pick<PromptTexts, 'query' | 'answer'>): UsageError =>
  new UsageError(
    `the answer ${JSON.stringify(shortened(answer))} has no token: query ${JSON.stringify(shortened(query))}`,
    { help: 'leave out such answers, or use a reader whose tokenizer knows their characters' },
  );

/**
 * Cuts a passage at its end, so that it fits beside the rest of a prompt.
 *
 * @throws UsageError where the rest alone does not fit
 */
export function fittingPassage(
  passage: Int32Array,
  { rest, maxTokens, query }: { readonly rest: number; readonly maxTokens: number; readonly query: string },
): Int32Array {
  if (rest <= maxTokens) return passage.subarray(0, maxTokens - rest);
  throw new UsageError(
    `a prompt of ${rest} tokens without its passage, where ${maxTokens} are read: query ${JSON.stringify(shortened(query))}`,
    { help: 'shorten or leave out such queries and answers, or use a reader that reads more' },
  );
}

function joined(lists: readonly Int32Array[]): Int32Array {
  const ids = new Int32Array(lists.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const list of lists) {
    ids.set(list, at);
    at += list.length;
  }
  return ids;
}

/**
 * Checks the format of a prompt of a model that writes the answer.
 *
 * @throws UsageError where it lacks a name, repeats one, or goes on after the answer
 */
export function checkPrompt(format: string): void {
  checkPromptNames(format);
  if (format.endsWith('{answer}')) return;
  throw new UsageError(`the prompt goes on after {answer}: ${JSON.stringify(format)}`, { help: PROMPT_HELP });
}

/**
 * Checks that the format of a prompt has each name once.
 *
 * @throws UsageError where it lacks a name or repeats one
 */
export function checkPromptNames(format: string): void {
  const wrong = NAMES.find((name) => format.split(`{${name}}`).length !== 2);
  if (wrong === undefined) return;
  const isThere = format.includes(`{${wrong}}`);
  throw new UsageError(
    `the prompt has {${wrong}} ${isThere ? 'more than once' : 'nowhere'}: ${JSON.stringify(format)}`,
    { help: PROMPT_HELP },
  );
}

const shortened = (text: string): string => (text.length > 60 ? `${text.slice(0, 57)}…` : text);
