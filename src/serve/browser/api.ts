/**
 * @file Requests of the page to its server.
 */
import { byId, fieldOf } from './dom.ts';
import { readEvents } from './event-stream.ts';

/** Passage as `POST /search` gives it. */
export interface Hit {
  readonly id: string;
  readonly title: string;
  readonly text: string;
  readonly rank: number;
  readonly score: number;
  readonly metadata: Readonly<Record<string, unknown>> | null;
  readonly parts?: Readonly<Record<string, number | undefined>>;
  /** Shard of a cluster that has the passage. */
  readonly shard?: string;
}

declare const sessionStorage: {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
};

const TOKEN = 'undrift-token';

/** Shows the token of this tab, and keeps it when it is changed. */
export function keepToken(onChange: () => void): void {
  const field = fieldOf('token');
  field.value = sessionStorage.getItem(TOKEN) ?? '';
  field.addEventListener('change', () => {
    sessionStorage.setItem(TOKEN, field.value);
    onChange();
  });
}

/** Calls a route with a JSON body, or without one. */
export async function call<T>(path: string, body?: object, signal?: AbortSignal): Promise<T> {
  const response = await send(path, body, signal);
  return (await response.json()) as T;
}

/** Calls a route that answers with events, and yields their data as JSON. */
export async function* stream(
  path: string,
  body: object,
  signal: AbortSignal,
): AsyncGenerator<{ event: string; data: Record<string, unknown> }> {
  const response = await send(path, body, signal);
  for await (const { event, data } of readEvents(chunksOf(response.body!))) {
    yield { event, data: JSON.parse(data) };
  }
}

async function send(
  path: string,
  body: object | undefined,
  signal: AbortSignal | undefined,
): Promise<Response> {
  const token = fieldOf('token').value;
  const response = await fetch(path, {
    method: body ? 'POST' : 'GET',
    headers: {
      ...(body && { 'content-type': 'application/json' }),
      ...(token !== '' && { authorization: `Bearer ${token}` }),
    },
    ...(body && { body: JSON.stringify(body) }),
    ...(signal && { signal }),
  }).catch((error: Error) => {
    throw error.name === 'AbortError' ? error : new Error('the server does not answer');
  });
  if (response.ok) return response;
  if (response.status === 401) {
    byId('token-row').hidden = false;
    throw new Error('this server asks for a token');
  }
  const { error } = (await response.json().catch(() => ({}))) as {
    error?: { message: string; help?: string };
  };
  if (!error) throw new Error(`the server answered with status ${response.status}`);
  throw new Error(error.help === undefined ? error.message : `${error.message} (${error.help})`);
}

/** Reads a body in parts. Not every browser can iterate over one. */
async function* chunksOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
