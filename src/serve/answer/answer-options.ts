import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import type { OptionTable, OptionValues } from '../../util/option-table.ts';
import type { Answerer } from './answerer.ts';
import { ChatAnswerer } from './chat-answerer.ts';
import { LocalAnswerer } from './local-answerer.ts';

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
  /** Model that the service is asked for; without a service, a language model that runs in a thread of the server. */
  answerModel: {
    type: 'text',
    value: 'name',
    nonEmpty: true,
    help: 'model of this service, whose key is read from the environment variable UNDRIFT_ANSWER_KEY; without --answer-url, a language model that the server runs itself: a folder, a run, or a name on the Hugging Face hub',
    group: 'Answers',
  },
} as const satisfies OptionTable;

/**
 * Makes the language model that the options name; undefined if they name none. Nothing is sent to a service before the first question. A
 * model without a service is loaded at once.
 *
 * @param options.threads  threads of a model without a service, inside one operation
 * @param key  key of the service; undefined where it needs none
 * @throws UsageError if the model is missing, or the address is none
 * @throws UndriftError if a model without a service cannot be loaded
 */
export async function answererOf(
  { answerUrl: url, answerModel: model }: OptionValues<typeof ANSWER_OPTIONS>,
  key: string | undefined,
  { threads }: { threads?: number | undefined } = {},
): Promise<Answerer | undefined> {
  if (url === undefined && model === undefined) return undefined;
  if (model === undefined) throw new UsageError(`${option('answerUrl')} needs ${option('answerModel')}`);
  if (url === undefined) return await LocalAnswerer.start(model, { threads });
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
