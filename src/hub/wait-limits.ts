import { UsageError } from '../util/errors.ts';

/** Limits on waiting for a server, and the observer of the wait. */
export interface WaitLimits {
  /** Time that a server has to begin its answer, in milliseconds. */
  readonly answerMs: number;
  /** Time without a byte of the answer after which it counts as broken off, in milliseconds. */
  readonly silenceMs: number;
  /** Time over which the speed of an answer is measured, in milliseconds. */
  readonly speedMs: number;
  /** Time that an answer that lists something may take as a whole, in milliseconds. */
  readonly listingMs: number;
  /** Pause before the first repetition of a request, in milliseconds. Each further pause is twice as long. */
  readonly pauseMs: number;
  /** Longest pause that a server may ask for, in milliseconds. */
  readonly mostPauseMs: number;
}

/** Lowest speed of an answer that counts as alive, in bytes per second. */
export const LEAST_SPEED = 1000;

/** Time between two reports while a server is waited for, in milliseconds. */
export const REPORT_MS = 100;

/**
 * Limits from the environment: `HF_HUB_DOWNLOAD_TIMEOUT` and `HF_HUB_ETAG_TIMEOUT` are those of Hugging Face's own programs, in seconds.
 *
 * @throws UsageError for a value that is no time
 */
export function waitLimits(): WaitLimits {
  const silenceMs = secondsOf('HF_HUB_DOWNLOAD_TIMEOUT', 20) * 1000;
  return {
    answerMs: secondsOf('HF_HUB_ETAG_TIMEOUT', 20) * 1000,
    silenceMs,
    speedMs: 2 * silenceMs,
    listingMs: 6 * silenceMs,
    pauseMs: Math.min(1000, silenceMs / 10),
    mostPauseMs: 3 * silenceMs,
  };
}

function secondsOf(name: string, otherwise: number): number {
  const text = process.env[name]?.trim();
  if (!text) return otherwise;
  const seconds = Number(text);
  if (seconds > 0 && seconds <= 86_400) return seconds;
  throw new UsageError(`${name} is ${JSON.stringify(text)}, expected seconds above 0`, {
    help: `set it to a number of seconds, such as ${otherwise}, or to nothing`,
  });
}
