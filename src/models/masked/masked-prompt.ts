import { BLANK } from '../../data/spans.ts';
import type { TextPart } from '../../text/tokenizer.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import {
  checkPromptNames,
  fittingPassage,
  noAnswerToken,
  type PromptTexts,
} from '../language/reader-prompt.ts';
import type { MaskedLanguageModel } from './masked-language-model.ts';
import type { MaskedSequence } from './score-masked.ts';

/** Prompt for queries with a blank: the query, and a passage after it. */
export const CLOZE_PROMPT = '{query} {answer} {passage}';

/** Matches a blank: that of `undrift data spans`, or a longer one. */
const BLANKS = /_{3,}/u;

/** Facts on a masked language model that a prompt needs. */
export type MaskedPromptModel = Pick<MaskedLanguageModel, 'tokenizer' | 'maskId' | 'maskToken' | 'pairs'>;

/** Tokens of a prompt, and the position of the first token of the query's text. */
interface LaidText extends Pick<MaskedSequence, 'ids' | 'types'> {
  readonly start: number;
}

/**
 * Prompt by which a masked language model reads a passage and a query: a text with `{passage}` at its beginning or end, and `{query}` and
 * `{answer}` beside it. The characters `\n` and `\t` stand for a line break and a tab.
 *
 * Passage and query are the two texts of a pair, joined as the tokenizer joins pairs: `[CLS] query [SEP] passage [SEP]` for BERT. A
 * prompt without a passage is the query alone, `[CLS] query [SEP]`. Each token of the answer has a mask in the query: in the place of its
 * blank `___` (or of one mask, such as `[MASK]`), or else of `{answer}`. Special tokens count as such in the format alone; in passage, query
 * and answer they are characters like others.
 */
export class MaskedPrompt {
  /** Prompt as given. */
  readonly format: string;
  /** Whether the passage stands before the query. */
  readonly #passageFirst: boolean;
  /** Text with `{query}` and `{answer}`. */
  readonly #own: string;

  /** @throws UsageError for a format that lacks a name, repeats one, or has words on the other side of the passage */
  constructor(format: string = CLOZE_PROMPT) {
    checkPromptNames(format);
    this.format = format;
    const sides = format.replaceAll('\\n', '\n').replaceAll('\\t', '\t').split('{passage}');
    const own = sides.findIndex((side) => side.includes('{query}'));
    const [text, other] = [sides[own]!, sides[1 - own]!];
    if (!text.includes('{answer}') || other.trim() !== '') {
      throw new UsageError(
        `a masked language model reads the passage as a text of its own, beside one with {query} and {answer}: ${JSON.stringify(format)}`,
        {
          help: `put {passage} first or last, such as ${option('readerPrompt', CLOZE_PROMPT)}`,
        },
      );
    }
    this.#passageFirst = own === 1;
    this.#own = text.trim();
  }

  /**
   * Tokenises a prompt, with the special tokens around texts.
   *
   * @param options.maxTokens  largest number of tokens; a passage is cut at its end to fit
   * @throws UsageError where the query alone does not fit, for a query with several blanks, and for an answer without a token
   */
  tokens(
    model: MaskedPromptModel,
    { passage, query, answer }: PromptTexts,
    options: { readonly maxTokens?: number | undefined } = {},
  ): MaskedSequence {
    const { before } = this.#around(query, model.maskToken);
    const space = /\s*$/u.exec(textOf(before))![0];
    const ids = model.tokenizer.encodeParts([space, { ordinary: answer }]);
    if (ids.length === 0) throw noAnswerToken({ query, answer });
    return { ...this.masked(model, { passage, query }, ids.length, options), answer: ids };
  }

  /**
   * Tokenises a prompt with a number of masks, whose tokens are asked for. Its `answer` is empty.
   *
   * @throws UsageError as `tokens`
   */
  masked(
    model: MaskedPromptModel,
    { passage, query }: Omit<PromptTexts, 'answer'>,
    masks: number,
    { maxTokens = Number.POSITIVE_INFINITY }: { readonly maxTokens?: number | undefined } = {},
  ): MaskedSequence {
    const { tokenizer } = model;
    const { before, after } = this.#around(query, model.maskToken);
    const own = tokenizer.encodeParts([...before, model.maskToken.repeat(masks), ...after]);
    const found = own.reduce((count, id) => count + Number(id === model.maskId), 0);
    if (found !== masks) {
      throw new UsageError(`the prompt has ${found} masks for an answer of ${masks} tokens`, {
        help: `leave ${model.maskToken} out of the prompt: each token of the answer gets one`,
      });
    }
    const { start, ...laid } =
      passage === undefined
        ? alone(own, { tokenizer, maxTokens, query })
        : this.#pair(model, { own, passage: tokenizer.encodeOrdinary(passage), maxTokens, query });
    const places = [...own.keys()].filter((place) => own[place] === model.maskId);
    return { ...laid, places: Int32Array.from(places, (place) => start + place), answer: new Int32Array(0) };
  }

  /** Parts of the query's text before and after the masks. */
  #around(query: string, mask: string): { before: TextPart[]; after: TextPart[] } {
    const blanks = query.split(BLANKS).flatMap((part) => part.split(mask));
    if (blanks.length > 2) {
      throw new UsageError(`a query has ${blanks.length - 1} blanks: ${JSON.stringify(query)}`, {
        help: `leave one ${BLANK} or ${mask} in each query: the masks of the answer stand there`,
      });
    }
    const [first, second] = blanks as [string, string?];
    const isInQuery = second !== undefined;
    const text = isInQuery ? this.#own.replace(/\s*\{answer\}/u, '').trim() : this.#own;
    const [start, end] = text.split(isInQuery ? '{query}' : '{answer}') as [string, string];
    const filled = (part: string): TextPart[] => {
      const [head, ...tail] = part.split('{query}');
      return [head!, ...tail.flatMap((rest) => [{ ordinary: query }, rest])];
    };
    return isInQuery
      ? { before: [start, { ordinary: first }], after: [{ ordinary: second }, end] }
      : { before: filled(start), after: filled(end) };
  }

  /** Lays query and passage side by side. */
  #pair(
    { pairs }: MaskedPromptModel,
    given: { own: Int32Array; passage: Int32Array; maxTokens: number; query: string },
  ): LaidText {
    const { own, maxTokens, query } = given;
    const special = pairs.flatMap(({ content }) => (typeof content === 'number' ? [] : content)).length;
    const passage = fittingPassage(given.passage, { rest: own.length + special, maxTokens, query });
    const texts = this.#passageFirst ? [passage, own] : [own, passage];
    const ids: number[] = [];
    const types: number[] = [];
    let start = 0;
    for (const { content, type } of pairs) {
      const part = typeof content === 'number' ? texts[content]! : content;
      if (part === own) start = ids.length;
      ids.push(...part);
      types.push(...Array.from(part, () => type));
    }
    return { ids: Int32Array.from(ids), types: Int32Array.from(types), start };
  }
}

/** Puts special tokens around a text that is read alone. */
function alone(
  own: Int32Array,
  {
    tokenizer,
    maxTokens,
    query,
  }: Pick<MaskedPromptModel, 'tokenizer'> & { maxTokens: number; query: string },
): LaidText {
  const { before, after } = tokenizer.wrapper;
  const ids = Int32Array.from([...before, ...own, ...after]);
  fittingPassage(new Int32Array(0), { rest: ids.length, maxTokens, query });
  return { ids, types: new Int32Array(ids.length), start: before.length };
}

const textOf = (parts: readonly TextPart[]): string =>
  parts.map((part) => (typeof part === 'string' ? part : part.ordinary)).join('');
