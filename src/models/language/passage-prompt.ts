import { UsageError } from '../../util/errors.ts';
import { count } from '../../util/format.ts';
import { option } from '../../util/option-name.ts';
import type { LanguageModel } from './language-model.ts';

/** Passage that a prompt may hold. */
export interface PromptPassage {
  readonly id: string;
  /** Title, empty if there is none. */
  readonly title: string;
  readonly text: string;
}

/** Prompt with passages, and what became of each of them. */
export interface PassagePrompt {
  /** Token ids. */
  readonly ids: ArrayLike<number>;
  /** For each passage, whether it is in the prompt, and whether its end was cut off. */
  readonly passages: readonly { readonly read: boolean; readonly cut: boolean }[];
}

/** Settings of {@link passagePrompt}. */
export interface PassagePromptOptions {
  /** Number of new tokens to leave room for. */
  readonly tokens: number;
  /** Largest number of tokens of a passage; a longer one is cut at its end. Default 256. */
  readonly passageTokens?: number | undefined;
  /** Longest text that is read, in tokens; undefined if there is no limit. Default: that of the model. */
  readonly maxTokens?: number | undefined;
  /** Writes the prompt with some of the passages, as token ids. */
  readonly write: (passages: readonly PromptPassage[]) => ArrayLike<number>;
}

/**
 * Writes passages in front of a text as a language model reads running text: title and text of each passage, an empty line, then the text.
 * The best passage comes first. Special tokens in passages are characters like others.
 *
 * @param options.specialTokens  whether special tokens that are written in the text count as such. Default false
 */
export function passagesBefore(
  model: LanguageModel,
  text: string,
  passages: readonly PromptPassage[],
  { specialTokens = false }: { readonly specialTokens?: boolean | undefined } = {},
): number[] {
  const written = passages.map(({ title, text }) => `${title === '' ? '' : `${title}\n`}${text}\n\n`);
  const ordinary = { ordinary: written.join('') };
  return [
    ...model.tokenizer.wrapper.before,
    ...model.tokenizer.encodeParts([ordinary, specialTokens ? text : { ordinary: text }]),
  ];
}

/**
 * Makes a prompt of the passages that fit, beside the text and the new tokens, into what the model reads. Each passage is cut to
 * `passageTokens`. Then they are taken in their order, and those that do not fit any more are left out.
 *
 * @param passages  best first
 * @throws UsageError when no passage fits
 */
export function passagePrompt(
  model: LanguageModel,
  passages: readonly PromptPassage[],
  { tokens, passageTokens = 256, write, ...options }: PassagePromptOptions,
): PassagePrompt {
  const { maxTokens = Number.POSITIVE_INFINITY } = 'maxTokens' in options ? options : model.decoder;
  const room = maxTokens - tokens;
  const cut = passages.map((passage) => cutPassage(model, passage, passageTokens));
  let chosen: PromptPassage[] = [];
  let ids = write([]);
  const alone = ids.length;
  const read = cut.map(({ passage }) => {
    const more = [...chosen, passage];
    const longer = write(more);
    if (longer.length > room) return false;
    [chosen, ids] = [more, longer];
    return true;
  });
  if (passages.length > 0 && chosen.length === 0) {
    const best = passages[0]!;
    const length = write([cut[0]!.passage]).length - alone;
    throw new UsageError(
      `passage ${JSON.stringify(best.id)} of ${count(length)} tokens does not fit: the model reads ${count(maxTokens)} tokens, ` +
        `of which the text takes ${count(alone)} and the new tokens ${count(tokens)}`,
      { help: `cut passages by a smaller ${option('passageTokens')}, or ask for fewer ${option('tokens')}` },
    );
  }
  return { ids, passages: read.map((isRead, i) => ({ read: isRead, cut: cut[i]!.isCut })) };
}

/** Cuts the end off a passage that has more than a number of tokens, where no character is broken. */
function cutPassage(
  { tokenizer }: LanguageModel,
  passage: PromptPassage,
  tokens: number,
): { passage: PromptPassage; isCut: boolean } {
  const ids = tokenizer.encodeOrdinary(passage.text, tokens + 1);
  if (ids.length <= tokens) return { passage, isCut: false };
  const text = tokenizer.decode(ids.subarray(0, tokens)).replace(/\ufffd+$/, '');
  return { passage: { ...passage, text }, isCut: true };
}
