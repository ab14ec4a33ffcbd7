import { median } from './statistics.ts';

/** Resident memory over many steps. */
export interface ResidentMemory {
  /** Median time of a step, in milliseconds. */
  readonly medianMs: number;
  /** Largest resident memory between one mark and the next, in bytes. */
  readonly residentBytes: readonly { readonly step: number; readonly bytes: number }[];
  /** Relative growth from the first mark, at a twentieth of the steps, to the last. */
  readonly growthRatio: number;
}

/** Runs `count` steps and follows the resident memory of this process. */
export async function followMemory(count: number, step: () => Promise<unknown>): Promise<ResidentMemory> {
  const marks = [0.05, 0.1, 0.25, 0.5, 0.75, 1].map((part) => Math.round(part * count));
  const residentBytes: { step: number; bytes: number }[] = [];
  const timesMs: number[] = [];
  let [mark, largest] = [0, 0];
  for (let i = 1; i <= count; i++) {
    const startMs = performance.now();
    await step();
    timesMs.push(performance.now() - startMs);
    // Garbage collection makes a saw-tooth curve, so the maximum since the last mark is taken.
    if (i % 10 === 0) largest = Math.max(largest, process.memoryUsage.rss());
    if (i === marks[mark]) {
      residentBytes.push({ step: i, bytes: largest });
      [mark, largest] = [mark + 1, 0];
    }
  }
  const [first, last] = [residentBytes[0]!.bytes, residentBytes.at(-1)!.bytes];
  return { medianMs: median(timesMs), residentBytes, growthRatio: last / first - 1 };
}
