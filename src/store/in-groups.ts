/**
 * Works on values, a number of them at once, and returns the results in the order of the values. After an error, no work is begun, and
 * what has begun is waited for.
 */
export async function inGroups<T, R>(
  values: readonly T[],
  atOnce: number,
  work: (value: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(values.length);
  let next = 0;
  const run = async () => {
    while (next < values.length) {
      const i = next++;
      try {
        results[i] = await work(values[i]!, i);
      } catch (error) {
        next = values.length;
        throw error;
      }
    }
  };
  const runs = await Promise.allSettled(Array.from({ length: Math.min(atOnce, values.length) }, run));
  for (const ended of runs) if (ended.status === 'rejected') throw ended.reason;
  return results;
}
