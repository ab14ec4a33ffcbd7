import { UndriftError } from '../util/errors.ts';

/** Waits; an aborted signal ends the wait. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return;
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener('abort', end, { once: true });
  });
}

/** Waits for work, but no longer than until the signal is aborted, whose reason is then thrown. The work goes on unheard. */
export async function unlessAborted<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return await work;
  const stop = new AbortController();
  work.catch(() => {});
  try {
    return await Promise.race([
      work,
      new Promise<never>((_, reject) => {
        const end = () => reject(signal.reason);
        if (signal.aborted) end();
        else signal.addEventListener('abort', end, { once: true, signal: stop.signal });
      }),
    ]);
  } finally {
    stop.abort();
  }
}

/** Waits for work that may never end because the server is gone, at most for some time. Its failure is no matter. */
export async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  const stop = new AbortController();
  await Promise.race([work.catch(() => {}), pause(ms, stop.signal)]);
  stop.abort();
}

/** Time for a farewell to the server. */
export const FAREWELL_MS = 3000;

const TRIES = 60;
const PAUSE_MS = 500;

/**
 * Works, and tries again for half a minute while the connection or the server fails. Errors of Undrift are not tried again.
 */
export async function persist<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (error instanceof UndriftError || tries === TRIES || signal?.aborted) throw error;
      await pause(PAUSE_MS, signal);
    }
  }
}

/** Text of an error in one line, without its help. */
export const reasonOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split('\n')[0]!;
