import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import type { OptionTable, OptionValues } from '../../util/option-table.ts';
import type { Answerer } from './answerer.ts';
import { ChatAnswerer } from './chat-answerer.ts';

/** Options of the language model that answers questions. */
export const ANSWER_OPTIONS = {
  /** Address of an OpenAI-compatible chat service, up to `/v1`. */
  answerUrl: {
    type: 'text',
    value: 'url',
    nonEmpty: true,
    help: 'OpenAI-compatible chat service that answers questions from passages, such as http://localhost:11434/v1',
    group: 'Answers',
  },
  /** Model that the service is asked for. */
  answerModel: {
    type: 'text',
    value: 'name',
    nonEmpty: true,
    help: 'model of this service; its key is read from the environment variable UNDRIFT_ANSWER_KEY',
    group: 'Answers',
  },
} as const satisfies OptionTable;

/**
 * Makes the language model that the options name; undefined if they name none. Nothing is sent before the first question.
 *
 * @param key  key of the service; undefined where it needs none
 * @throws UsageError if one of the options is missing, or the address is none
 */
export function answererOf(
  { answerUrl: url, answerModel: model }: OptionValues<typeof ANSWER_OPTIONS>,
  key: string | undefined,
): Answerer | undefined {
  if (url === undefined && model === undefined) return undefined;
  if (url === undefined) throw new UsageError(`${option('answerModel')} needs ${option('answerUrl')}`);
  if (model === undefined) throw new UsageError(`${option('answerUrl')} needs ${option('answerModel')}`);
  const address = URL.canParse(url) ? new URL(url) : undefined;
  if (!address || !/^https?:$/.test(address.protocol)) {
    throw new UsageError(`${option('answerUrl')} must be an address that begins with http:// or https://`);
  }
  if (address.username !== '' || address.password !== '') {
    throw new UsageError(`${option('answerUrl')} contains a password`, {
      help: 'set the key in the environment variable UNDRIFT_ANSWER_KEY',
    });
  }
  return new ChatAnswerer({ url, model, key });
}
