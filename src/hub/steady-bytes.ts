import { LEAST_SPEED, REPORT_MS, type WaitLimits } from './wait-limits.ts';

/** Error of an answer that has stopped, or is so slow that it does not end. */
export class Stalled extends Error {}

/**
 * Streams the bytes of an answer.
 *
 * Time that the caller takes for a chunk does not count. The answer is cancelled at an error, and when the caller stops early.
 *
 * @param onWait  called ten times a second while a chunk is waited for; an error that it throws ends the wait, and is passed on
 * @throws Stalled if no byte arrives for `silenceMs`, or fewer than 1,000 a second over `speedMs`
 */
export async function* steadyBytes(
  body: ReadableStream<Uint8Array>,
  { silenceMs, speedMs }: WaitLimits,
  onWait?: () => void,
): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  let failure: { error: unknown } | undefined;
  /** Start of the present wait; undefined while the caller works. */
  let since: number | undefined;
  /** Time waited, and bytes received, since the speed was measured. */
  let waitedMs = 0;
  let received = 0;
  const look = () => {
    if (since === undefined) return;
    const now = performance.now() - since;
    try {
      onWait?.();
      if (now > silenceMs) throw new Stalled(`nothing arrived for ${silenceMs / 1000} s`);
      if (waitedMs + now > speedMs) {
        if (received < (LEAST_SPEED * speedMs) / 1000) {
          throw new Stalled(`fewer than ${LEAST_SPEED} bytes a second arrived for ${speedMs / 1000} s`);
        }
        since += now;
        waitedMs = received = 0;
      }
    } catch (error) {
      failure = { error };
      clearInterval(timer);
      // This ends the pending read.
      void reader.cancel(error).catch(() => {});
    }
  };
  const timer = setInterval(look, Math.min(REPORT_MS, silenceMs));
  try {
    for (;;) {
      since = performance.now();
      const { done, value } = await reader.read();
      if (failure) throw failure.error;
      if (done) return;
      waitedMs += performance.now() - since;
      since = undefined;
      received += value.length;
      yield value;
    }
  } finally {
    clearInterval(timer);
    void reader.cancel().catch(() => {});
  }
}
