/** Longest wait for the commit of another process, in milliseconds. */
export const LOCK_WAIT_MS = 30_000;
/** Pauses between two tries, in milliseconds: they grow to the second. */
const PAUSES_MS = [20, 1000] as const;

/**
 * Tries until something is taken.
 *
 * @param waitMs  time after which a try is the last
 * @param take  returns undefined while another has it; throws where `isLate`
 */
export async function takenInTime<T>(
  waitMs: number,
  take: (isLate: boolean) => Promise<T | undefined>,
): Promise<T> {
  const startMs = performance.now();
  for (let pauseMs = PAUSES_MS[0] as number; ; pauseMs = Math.min(PAUSES_MS[1], 1.2 * pauseMs)) {
    const taken = await take(performance.now() - startMs > waitMs);
    if (taken !== undefined) return taken;
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}
