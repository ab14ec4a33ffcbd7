import type { StoreHit } from '../store/store-searcher.ts';
import { UndriftError } from '../util/errors.ts';
import type { Json } from '../util/json-objects.ts';
import { type Answerer, citedIn } from './answer/answerer.ts';
import { EventResponse } from './event-response.ts';
import { HttpError } from './http-error.ts';
import { ANSWER_BODY, bodySchema } from './request-options.ts';
import type { Backend, Route, RouteRequest } from './route.ts';

/** Answers that are written at once at most. */
const MOST_ANSWERS = 4;
/** Longest time for one answer, in milliseconds. */
const LONGEST_MS = 5 * 60_000;

/** Passages that were found for a question. */
export interface Found {
  readonly query: string;
  readonly results: readonly StoreHit[];
}

/**
 * Makes the route that answers questions. It sends `passages`, then `text` for each part of the answer, and `done` with the numbers of
 * the passages that the answer cites, or `error`.
 *
 * @param find  finds the passages of a request
 */
export function answerRoute(
  { answerer, closing, metrics }: Backend,
  find: (request: RouteRequest) => Promise<Found>,
): Route {
  let running = 0;
  metrics.gauge('undrift_answers_running', 'Answers that are being written.', () => running);
  return {
    method: 'post',
    path: '/answer',
    summary: 'Answer a question from passages, by the language model of the server, as server-sent events.',
    body: bodySchema(ANSWER_BODY),
    streams: true,
    async run(request) {
      if (!answerer) {
        throw new HttpError(404, 'this server has no language model', {
          help: 'start it with --answer-model, and with --answer-url for a model of a service',
        });
      }
      if (running >= MOST_ANSWERS) throw new HttpError(503, 'too many answers are being written');
      running += 1;
      const leaving = new AbortController();
      let hasEnded = false;
      const end = () => {
        if (hasEnded) return;
        hasEnded = true;
        running -= 1;
        leaving.abort();
      };
      try {
        const found = await find(request);
        const signal = AbortSignal.any([
          leaving.signal,
          request.signal,
          closing,
          AbortSignal.timeout(LONGEST_MS),
        ]);
        return new EventResponse(answerEvents(answerer, found, signal), end);
      } catch (error) {
        end();
        throw error;
      }
    },
  };
}

/** Streams the answer to a question. An error is the last event. */
async function* answerEvents(
  answerer: Answerer,
  { query, results }: Found,
  signal: AbortSignal,
): AsyncGenerator<{ event: string; data: Json }> {
  const startMs = performance.now();
  const passages = results.map((hit, i) => ({ number: i + 1, ...hit }));
  yield { event: 'passages', data: { model: answerer.name, passages } };
  if (results.length === 0) {
    yield { event: 'error', data: { message: 'no passage was found to answer from' } };
    return;
  }
  let text = '';
  let isCut = false;
  try {
    for await (const part of answerer.answer(query, results, signal)) {
      text += part.text;
      isCut ||= part.isCut === true;
      if (part.text !== '') yield { event: 'text', data: { text: part.text } };
    }
    const seconds = Number(((performance.now() - startMs) / 1000).toFixed(3));
    yield { event: 'done', data: { citations: citedIn(text, results.length), isCut, seconds } };
  } catch (error) {
    yield { event: 'error', data: failureOf(error) };
  }
}

function failureOf(error: unknown): Json {
  if (error instanceof UndriftError) {
    const [message] = error.message.split('\n  help: ');
    return { message, ...(error.help !== undefined && { help: error.help }) };
  }
  const { name } = error as Error;
  if (name === 'TimeoutError') {
    return { message: `the answer has taken longer than ${LONGEST_MS / 60_000} minutes` };
  }
  return { message: name === 'AbortError' ? 'the answer was stopped' : 'internal error' };
}
