import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { UndriftError } from '../util/errors.ts';
import { type Asked, refusal, unreachable } from './hub-error.ts';
import type { HubName } from './hub-name.ts';

/** Access to the hub, configured by the environment variables of Hugging Face's own programs. */
export interface HubClient {
  /** Address from `HF_ENDPOINT`. Undefined selects the default address of the library `@huggingface/hub`. */
  readonly hubUrl: string | undefined;
  /** Whether network requests are forbidden (`HF_HUB_OFFLINE`). */
  readonly isOffline: boolean;
  /**
   * Fetches like the global `fetch`, with the user's token.
   *
   * @throws HubError if the hub refuses the request.
   * @throws HubUnreachable if no answer arrives within 30 s, or the server is in trouble.
   */
  readonly fetch: typeof fetch;
}

/** Returns whether `HF_HUB_OFFLINE` forbids network requests. */
export const isOffline = (): boolean => /^(1|on|yes|true)$/i.test(process.env.HF_HUB_OFFLINE ?? '');

/** Time in milliseconds that the hub has to begin its answer, before it counts as unreachable. */
const ANSWER_MS = 30_000;

/**
 * Makes a client for one repository. The repository is named in the client's errors.
 *
 * @throws UndriftError if the stored token holds invalid characters.
 */
export function hubClient(name: HubName): HubClient {
  const { env } = process;
  const hubUrl = env.HF_ENDPOINT?.replace(/\/+$/, '') || undefined;
  const token = readToken();
  const what = `the ${name.kind === 'model' ? 'model' : 'data set'} ${name.repo}`;
  const asked: Asked = { what, revision: name.revision, hasToken: token !== undefined };
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
      const stop = new AbortController();
      const timer = setTimeout(() => stop.abort(new Error(`no answer in ${ANSWER_MS / 1000} s`)), ANSWER_MS);
      let response: Response;
      try {
        const signal = init?.signal ? AbortSignal.any([init.signal, stop.signal]) : stop.signal;
        response = await fetch(url, { ...init, headers, signal });
      } catch (error) {
        throw unreachable(error, url.origin);
      } finally {
        clearTimeout(timer);
      }
      if (response.ok) return response;
      await response.body?.cancel();
      throw refusal(response, asked);
    },
  };
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
