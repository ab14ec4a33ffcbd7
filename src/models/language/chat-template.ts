import { Template } from '@huggingface/jinja';
import type { TextPart } from '../../text/tokenizer.ts';
import { DataError, UsageError } from '../../util/errors.ts';
import { isObject } from '../../util/json-objects.ts';
import { option } from '../../util/option-name.ts';
import type { LanguageModel } from './language-model.ts';

/** One message of a chat. */
export interface ChatMessage {
  /** Who speaks: instructions (`system`), the person (`user`) or the model (`assistant`). */
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** Settings of {@link chatPrompt}. */
export interface ChatPromptOptions {
  /** Template in Jinja. Default that of the model's folder. */
  readonly template?: string | undefined;
  /** Name of the template in messages. Default `chat_template` of the model. */
  readonly source?: string | undefined;
}

/** Tokens that templates refer to. */
const TOKENS = ['bos_token', 'eos_token', 'pad_token', 'unk_token', 'sep_token', 'cls_token'];

/**
 * Writes messages as the model has been trained to read them, up to the place where its answer begins.
 *
 * The template is that of the model's folder: `chat_template.jinja`, or else `chat_template` of `tokenizer_config.json`. It is rendered as
 * transformers does it, and no special tokens are added to those that it writes itself. Special tokens that stand in messages are
 * characters like others: a message cannot end its turn.
 *
 * @returns token ids of the prompt
 * @throws UsageError when there is no template
 * @throws DataError when the template is damaged, or refuses the messages
 */
export function chatPrompt(
  model: Pick<LanguageModel, 'settings' | 'tokenizer'>,
  messages: readonly ChatMessage[],
  { template = model.settings.chatTemplate, source = 'chat_template of the model' }: ChatPromptOptions = {},
): Int32Array {
  if (template === undefined) {
    throw new UsageError(
      'the model has no chat template: neither chat_template.jinja nor "chat_template" in tokenizer_config.json',
      {
        help: `name a file with one by ${option('chatTemplate')}, or give a plain text; a model without a template was probably not trained to chat`,
      },
    );
  }
  const tokens = model.settings.tokenizerConfig ?? {};
  const texts = TOKENS.flatMap((name) => {
    const token = tokens[name];
    const text = isObject(token) ? token.content : token;
    return typeof text === 'string' ? [[name, text]] : [];
  });
  const special = anyOf(model.tokenizer.specialTokens);
  const mark = unusedMark([template, ...messages.map(({ content }) => content)]);
  const marked =
    special === undefined
      ? messages
      : messages.map(({ role, content }) => ({
          role,
          content: content.replace(new RegExp(`(?=${special})`, 'g'), mark),
        }));
  let written: string;
  try {
    written = new Template(template).render({
      ...Object.fromEntries(texts),
      messages: marked,
      add_generation_prompt: true,
    });
  } catch (cause) {
    throw new DataError(
      `the chat template fails: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        file: source,
        help: 'some templates allow no system message, or no other than alternating messages of user and assistant',
        cause,
      },
    );
  }
  return model.tokenizer.encodeParts(partsOf(written, { mark, special }));
}

/** First and last of the characters for private use, of which one that no text has serves as mark. */
const MARKS = [0xe000, 0xf8ff] as const;

/** Returns a character that stands in none of the texts. @throws UsageError when all are in use */
function unusedMark(texts: readonly string[]): string {
  for (let code = MARKS[0]; code <= MARKS[1]; code++) {
    const mark = String.fromCharCode(code);
    if (!texts.some((text) => text.includes(mark))) return mark;
  }
  throw new UsageError('the messages use every character for private use (U+E000 to U+F8FF)', {
    help: 'leave these characters out of the messages',
  });
}

/** Returns an expression that matches the longest special token at a place; undefined where there is none. */
function anyOf(tokens: ReadonlySet<string>): string | undefined {
  const texts = [...tokens].filter((token) => token !== '').sort((a, b) => b.length - a.length);
  if (texts.length === 0) return undefined;
  return texts.map((text) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('|');
}

/**
 * Cuts what a template has written into its own text and the special tokens that stood in messages. A mark stands before each of these.
 */
function partsOf(
  written: string,
  { mark, special }: { readonly mark: string; readonly special: string | undefined },
): TextPart[] {
  if (special === undefined || !written.includes(mark)) return [written];
  const [first, ...others] = written.split(mark);
  const rest = others.join('');
  const longest = new RegExp(special, 'y');
  const parts: TextPart[] = [first!];
  // Tokens may overlap: the text is ordinary up to the end of the last one that has begun.
  let ordinary = '';
  let until = 0;
  let at = 0;
  for (const text of others) {
    longest.lastIndex = at;
    until = Math.max(until, at + (longest.exec(rest)?.[0].length ?? 0));
    const end = Math.min(text.length, Math.max(0, until - at));
    ordinary += text.slice(0, end);
    if (end < text.length) {
      parts.push({ ordinary }, text.slice(end));
      ordinary = '';
    }
    at += text.length;
  }
  if (ordinary !== '') parts.push({ ordinary });
  return parts;
}
