import { Template } from '@huggingface/jinja';
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
 * transformers does it, and no special tokens are added to those that it writes itself.
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
  let written: string;
  try {
    written = new Template(template).render({
      ...Object.fromEntries(texts),
      messages,
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
  return model.tokenizer.encodeRaw(written);
}
