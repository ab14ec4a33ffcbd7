import { setTimeout as sleep } from 'node:timers/promises';
import { HubUnreachable, unreachable } from './hub-error.ts';
import { REPORT_MS, type WaitLimits } from './wait-limits.ts';

/** Answers after which the same request may succeed a little later. */
const PASSING: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504]);
/** Errors of connections after which the same request may succeed. */
const PASSING_ERRORS: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET']);
/** Number of times that a request is sent. */
const TRIES = 4;

/**
 * Fetches like the global `fetch`, within limits. A request that fails for a passing reason (429, 503, a lost connection) is
 * repeated up to three times, after the pause that the server asks for, or longer and longer pauses.
 *
 * @param onWait  called ten times a second while the server is waited for; an error that it throws ends the wait, and is passed on
 * @returns the answer, of any status; reading its body is up to the caller
 * @throws HubUnreachable if no answer begins within `answerMs`, or the server asks for a pause of more than `mostPauseMs`
 */
export async function patientFetch(
  url: URL,
  init: RequestInit,
  limits: WaitLimits,
  onWait?: () => void,
): Promise<Response> {
  for (let tries = 1; ; tries++) {
    const last = tries === TRIES;
    let askedMs: number | undefined;
    try {
      const response = await fetchOnce(url, init, limits, onWait);
      if (last || !PASSING.has(response.status)) return response;
      askedMs = pauseOf(response);
      if (askedMs !== undefined && askedMs > limits.mostPauseMs) {
        await response.body?.cancel();
        throw new HubUnreachable(
          `${url.origin} answered ${response.status} and asks for a pause of ${Math.ceil(askedMs / 1000)} s`,
          { help: 'run the command again after that time: what has arrived is kept' },
        );
      }
      await response.body?.cancel();
    } catch (error) {
      if (last || !(error instanceof HubUnreachable) || !PASSING_ERRORS.has(innerCode(error))) throw error;
    }
    await pause(Math.max(askedMs ?? 0, limits.pauseMs * 2 ** (tries - 1)), onWait);
  }
}

async function fetchOnce(
  url: URL,
  init: RequestInit,
  { answerMs }: WaitLimits,
  onWait: (() => void) | undefined,
): Promise<Response> {
  const stop = new AbortController();
  const start = performance.now();
  let stopped: { error: unknown } | undefined;
  const timer = setInterval(
    () => {
      try {
        onWait?.();
        if (performance.now() - start > answerMs) stop.abort(new Error(`no answer in ${answerMs / 1000} s`));
      } catch (error) {
        stopped = { error };
        stop.abort();
      }
    },
    Math.min(REPORT_MS, answerMs),
  );
  try {
    const signal = init.signal ? AbortSignal.any([init.signal, stop.signal]) : stop.signal;
    return await fetch(url, { ...init, signal });
  } catch (error) {
    throw stopped ? stopped.error : unreachable(error, url.origin);
  } finally {
    clearInterval(timer);
  }
}

/** Pause that a server asks for, in milliseconds: seconds or a date in `Retry-After`, or the reset of its `RateLimit`. */
function pauseOf({ headers }: Response): number | undefined {
  const text = headers.get('Retry-After')?.trim() || /;\s*t=(\d+)/.exec(headers.get('RateLimit') ?? '')?.[1];
  if (!text) return undefined;
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}

async function pause(ms: number, onWait: (() => void) | undefined): Promise<void> {
  for (const end = performance.now() + ms; ; ) {
    onWait?.();
    const left = end - performance.now();
    if (left <= 0) return;
    await sleep(Math.min(left, REPORT_MS));
  }
}

function innerCode(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause !== undefined) inner = inner.cause;
  return (inner as NodeJS.ErrnoException | undefined)?.code ?? '';
}
