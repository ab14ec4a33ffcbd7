import { UndriftError } from '../../util/errors.ts';
import { isObject } from '../../util/json-objects.ts';
import { readEvents } from '../browser/event-stream.ts';
import { type Answerer, type AnswerPart, INSTRUCTIONS, questionText } from './answerer.ts';

/** Settings of a {@link ChatAnswerer}. */
export interface ChatAnswererOptions {
  /** Address of an OpenAI-compatible service, up to `/v1`. */
  readonly url: string;
  /** Model that the service is asked for. */
  readonly model: string;
  /** Key of the service; undefined where it needs none. */
  readonly key?: string | undefined;
  /** Longest wait for the first part of an answer, in milliseconds. Default 60,000. */
  readonly firstMs?: number | undefined;
  /** Longest wait for each further part, in milliseconds. Default 30,000. */
  readonly nextMs?: number | undefined;
}

/** Longest answer, in characters. A model that repeats itself is stopped there. */
const LONGEST = 20_000;
/** Characters of a service's error message that are shown. */
const ERROR_CHARACTERS = 300;

/** Language model behind the chat route of an OpenAI-compatible service, such as llama.cpp, vLLM, Ollama or OpenAI's own. */
export class ChatAnswerer implements Answerer {
  readonly name: string;
  private readonly options: ChatAnswererOptions;

  constructor(options: ChatAnswererOptions) {
    this.options = options;
    this.name = options.model;
  }

  async *answer(...[question, passages, signal]: Parameters<Answerer['answer']>): AsyncGenerator<AnswerPart> {
    const { firstMs = 60_000, nextMs = 30_000 } = this.options;
    const wait = new Deadline(firstMs, signal);
    try {
      const response = await this.ask(question, passages, wait.signal);
      let length = 0;
      for await (const part of partsOf(response)) {
        wait.extend(nextMs);
        yield part;
        length += part.text.length;
        if (length <= LONGEST) continue;
        yield { text: '', isCut: true };
        return;
      }
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (wait.hasPassed) {
        throw new UndriftError(`${this.where} has sent nothing for ${wait.seconds} s`, { cause: error });
      }
      if (error instanceof UndriftError) throw error;
      const { message, cause } = error as Error;
      throw new UndriftError(`${this.where} failed: ${cause instanceof Error ? cause.message : message}`, {
        help: 'look whether the service of --answer-url is running',
        cause: error,
      });
    } finally {
      wait.end();
    }
  }

  private get where(): string {
    return `the language model ${this.name}`;
  }

  private async ask(
    question: string,
    passages: Parameters<Answerer['answer']>[1],
    signal: AbortSignal,
  ): Promise<Response> {
    const { url, model, key } = this.options;
    const response = await fetch(`${url.replace(/\/+$/, '')}/chat/completions`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'text/event-stream',
        ...(key !== undefined && { authorization: `Bearer ${key}` }),
      },
      body: JSON.stringify({
        model,
        stream: true,
        messages: [
          { role: 'system', content: INSTRUCTIONS },
          { role: 'user', content: questionText(question, passages) },
        ],
      }),
      signal,
    });
    if (response.ok) return response;
    const reason = errorText(await firstCharacters(response, 4 * ERROR_CHARACTERS));
    throw new UndriftError(
      `${this.where} answered with status ${response.status}${reason && `: ${reason}`}`,
      {
        ...(response.status === 401 && {
          help: 'set the key in the environment variable UNDRIFT_ANSWER_KEY',
        }),
        ...(response.status === 404 && {
          help: 'check --answer-url, which usually ends in /v1, and --answer-model',
        }),
      },
    );
  }
}

/** Signal that is aborted when a time has passed, or when another signal is. */
class Deadline {
  hasPassed = false;
  seconds = 0;
  private readonly controller = new AbortController();
  private readonly parent: AbortSignal;
  private timer: NodeJS.Timeout | undefined;

  constructor(ms: number, parent: AbortSignal) {
    this.parent = parent;
    if (parent.aborted) this.leave();
    parent.addEventListener('abort', this.leave);
    this.extend(ms);
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Starts the time anew. */
  extend(ms: number): void {
    clearTimeout(this.timer);
    this.seconds = ms / 1000;
    this.timer = setTimeout(() => {
      this.hasPassed = true;
      this.controller.abort();
    }, ms);
  }

  /** Ends the time, and whatever still waits for the signal. */
  end(): void {
    clearTimeout(this.timer);
    this.parent.removeEventListener('abort', this.leave);
    this.controller.abort();
  }

  private readonly leave = () => this.controller.abort(this.parent.reason);
}

/** Reads the parts of an answer from a stream of chunks, or from one JSON object of a service that does not stream. */
async function* partsOf(response: Response): AsyncGenerator<AnswerPart> {
  if (!/event-stream/i.test(response.headers.get('content-type') ?? '')) {
    yield* chunkParts(JSON.parse(await firstCharacters(response, 8 * LONGEST)));
    return;
  }
  for await (const { data } of readEvents(response.body!)) {
    if (data === '[DONE]') return;
    yield* chunkParts(JSON.parse(data));
  }
}

function* chunkParts(chunk: unknown): Generator<AnswerPart> {
  if (!isObject(chunk)) throw new UndriftError('the language model sent something other than an answer');
  if (chunk.error !== undefined && chunk.error !== null) {
    throw new UndriftError(`the language model failed: ${errorText(JSON.stringify(chunk))}`);
  }
  const [choice] = Array.isArray(chunk.choices) ? chunk.choices : [];
  if (!isObject(choice)) return;
  const message = isObject(choice.delta) ? choice.delta : choice.message;
  const text = isObject(message) && typeof message.content === 'string' ? message.content : '';
  const isCut = choice.finish_reason === 'length';
  if (text !== '' || isCut) yield { text, ...(isCut && { isCut }) };
}

/** Finds the message in the body of an error. */
function errorText(body: string): string {
  let found: unknown = body;
  try {
    const json = JSON.parse(body);
    const error = isObject(json) ? (json.error ?? json.message ?? json.detail) : json;
    found = isObject(error) ? error.message : error;
  } catch {}
  const text = typeof found === 'string' ? found : body;
  return text.replace(/\s+/g, ' ').trim().slice(0, ERROR_CHARACTERS);
}

async function firstCharacters(response: Response, most: number): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const bytes of response.body ?? []) {
    text += decoder.decode(bytes, { stream: true });
    if (text.length > most) break;
  }
  return text;
}
