import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { UndriftError } from '../util/errors.ts';
import { type Asked, refusal, unreachable } from './hub-error.ts';
import type { HubName } from './hub-name.ts';

/** How the hub is spoken to, by the environment variables that Hugging Face's own programs obey. */
export interface HubClient {
  /** `HF_ENDPOINT`; undefined: the library's own. */
  readonly hubUrl: string | undefined;
  /** `HF_HUB_OFFLINE`: nothing is asked of the network. */
  readonly isOffline: boolean;
  /** Adds the token, and turns what is no success into errors of ours. */
  readonly fetch: typeof fetch;
}

/** Whether nothing is to be asked of the network (`HF_HUB_OFFLINE`). */
export const isOffline = (): boolean => /^(1|on|yes|true)$/i.test(process.env.HF_HUB_OFFLINE ?? '');

/** Time without an answer's first byte after which the hub counts as unreachable. */
const ANSWER_MS = 30_000;

/** A client for one repository, which its errors name. */
export function hubClient(name: HubName): HubClient {
  const { env } = process;
  const hubUrl = env.HF_ENDPOINT?.replace(/\/+$/, '') || undefined;
  const token = readToken();
  const what = `the ${name.kind === 'model' ? 'model' : 'data set'} ${name.repo}`;
  const asked: Asked = { what, revision: name.revision, hasToken: token !== undefined };
  /** Where the token may go: to the server that was asked first, never to one it sends us on to. */
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

/** The token of `HF_TOKEN`, else the one that Hugging Face's log-in command has stored. */
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
  // The token itself is not for logs.
  throw new UndriftError(`the token in ${where} holds characters that no token has`, {
    help: 'set HF_TOKEN to the token alone, or to nothing',
  });
}
