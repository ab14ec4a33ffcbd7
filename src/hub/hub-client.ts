import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { UndriftError } from '../util/errors.ts';
import { type Asked, HubUnreachable, refusal } from './hub-error.ts';
import type { HubName } from './hub-name.ts';
import { patientFetch } from './patient-fetch.ts';
import { Stalled, steadyBytes } from './steady-bytes.ts';
import { type WaitLimits, waitLimits } from './wait-limits.ts';

/** Access to the hub, configured by the environment variables of Hugging Face's own programs. */
export interface HubClient {
  /** Address from `HF_ENDPOINT`. Undefined selects the default address of the library `@huggingface/hub`. */
  readonly hubUrl: string | undefined;
  /** Whether network requests are forbidden (`HF_HUB_OFFLINE`). */
  readonly isOffline: boolean;
  /**
   * Fetches like the global `fetch`, with the user's token and within limits (see `patientFetch`). Answers of the hub's
   * interface are received as a whole: at most 16 MiB each, and at most 1,000 pages of a listing.
   *
   * @throws HubError if the hub refuses the request.
   * @throws HubUnreachable if no answer arrives in time, an answer is too large or stalls, or the server is in trouble.
   */
  readonly fetch: typeof fetch;
}

/** Returns whether `HF_HUB_OFFLINE` forbids network requests. */
export const isOffline = (): boolean => /^(1|on|yes|true)$/i.test(process.env.HF_HUB_OFFLINE ?? '');

/** Largest answer of the hub's interface, in bytes. A page of a listing holds a thousand files, in about 300 kB. */
const MOST_ANSWER_BYTES = 16 * 2 ** 20;
/** Path of a page of a listing. */
const LISTING = /^\/api\/(models|datasets)\/.*\/tree\//;
/** Most pages of a listing. */
const MOST_PAGES = 1000;

/**
 * Makes a client for one repository. The repository is named in the client's errors.
 *
 * @param onWait  called ten times a second while the hub is waited for; an error that it throws ends the wait, and is passed on
 * @throws UndriftError if the stored token holds invalid characters.
 */
export function hubClient(name: HubName, onWait?: () => void): HubClient {
  const limits = waitLimits();
  const { env } = process;
  const hubUrl = env.HF_ENDPOINT?.replace(/\/+$/, '') || undefined;
  const token = readToken();
  const what = `the ${name.kind === 'model' ? 'model' : 'data set'} ${name.repo}`;
  const asked: Asked = { what, revision: name.revision, hasToken: token !== undefined };
  const pages = new Pages(what, limits);
  /** Origin of the first request. The token goes to this server only, never to one that it redirects to. */
  let home: string | undefined;
  return {
    hubUrl,
    isOffline: isOffline(),
    async fetch(input, init) {
      const url = new URL(input instanceof Request ? input.url : input);
      home ??= url.origin;
      const headers = new Headers(init?.headers);
      if (token !== undefined && url.origin === home && !headers.has('Authorization'))
        headers.set('Authorization', `Bearer ${token}`);
      const isApi = url.pathname.startsWith('/api/');
      if (LISTING.test(url.pathname)) pages.add(url);
      const response = await patientFetch(url, { ...init, headers }, limits, onWait);
      if (!response.ok) {
        await response.body?.cancel();
        throw refusal(response, asked);
      }
      return isApi ? await wholeAnswer(response, limits, onWait) : response;
    },
  };
}

/** Requests for the pages of a listing. */
class Pages {
  readonly #refuse: () => HubUnreachable;
  readonly #limitMs: number;
  readonly #seen = new Set<string>();
  #startMs: number | undefined;

  /** @param what  name of the repository in words */
  constructor(what: string, { listingMs }: WaitLimits) {
    this.#refuse = () => new HubUnreachable(`the hub’s list of the files of ${what} does not end`);
    this.#limitMs = 3 * listingMs;
  }

  /** @throws HubUnreachable for a page that was there before, and for more pages or time than a repository takes */
  add({ href }: URL): void {
    this.#startMs ??= performance.now();
    const late = performance.now() - this.#startMs > this.#limitMs;
    if (late || this.#seen.has(href) || this.#seen.size >= MOST_PAGES) throw this.#refuse();
    this.#seen.add(href);
  }
}

/** Receives an answer as a whole, within limits of size and time. */
async function wholeAnswer(response: Response, limits: WaitLimits, onWait?: () => void): Promise<Response> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  const start = performance.now();
  const refuse = (reason: string) => new HubUnreachable(`the hub’s answer ${reason}`);
  const watch = () => {
    onWait?.();
    if (performance.now() - start > limits.listingMs)
      throw refuse(`took more than ${limits.listingMs / 1000} s`);
  };
  try {
    for await (const chunk of response.body ? steadyBytes(response.body, limits, watch) : []) {
      size += chunk.length;
      if (size > MOST_ANSWER_BYTES) throw refuse(`is larger than ${MOST_ANSWER_BYTES / 2 ** 20} MiB`);
      chunks.push(chunk);
      watch();
    }
  } catch (error) {
    if (error instanceof Stalled) throw refuse(`broke off: ${error.message}`);
    throw error;
  }
  const { status, statusText, headers } = response;
  return new Response(Buffer.concat(chunks), { status, statusText, headers });
}

/** Token from `HF_TOKEN`, else the one stored by Hugging Face's login command. */
function readToken(): string | undefined {
  const { HF_TOKEN, HF_TOKEN_PATH, HF_HOME, XDG_CACHE_HOME } = process.env;
  if (HF_TOKEN !== undefined) return checkedToken(HF_TOKEN, 'HF_TOKEN');
  const home = HF_HOME ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface');
  const file = HF_TOKEN_PATH ?? join(home, 'token');
  try {
    return checkedToken(readFileSync(file, 'utf8'), file);
  } catch (error) {
    if (error instanceof UndriftError) throw error;
    return undefined;
  }
}

function checkedToken(text: string, where: string): string | undefined {
  const token = text.trim();
  if (/^[\x21-\x7e]*$/.test(token)) return token || undefined;
  // The message does not quote the token, because messages end up in logs.
  throw new UndriftError(`the token in ${where} holds characters that no token has`, {
    help: 'set HF_TOKEN to the token alone, or to nothing',
  });
}
