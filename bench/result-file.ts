import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { dirname } from 'node:path';

/** Machine of a measurement. Fields that early result files lack are optional. */
export interface Machine {
  /** Name of the processor. */
  readonly processor?: string;
  /** Version of Node. */
  readonly node?: string;
  /** Threads of each program. */
  readonly threads: number;
  /**
   * Load averages of the last minute, before and after the measurement. A load before it means that other processes shared the cores.
   */
  readonly load?: { readonly before: number; readonly after?: number };
  /** Day of the measurement, as `2026-11-30`. */
  readonly date?: string;
}

/**
 * Describes this machine before a measurement.
 *
 * @returns  function that describes it afterwards, with both loads
 */
export function startMachine(threads: number): () => Machine {
  const before = loadavg()[0]!;
  return () => ({
    processor: cpus()[0]?.model.trim() ?? 'unknown processor',
    node: process.version,
    threads,
    load: { before, after: loadavg()[0]! },
    date: new Date().toISOString().slice(0, 10),
  });
}

/** One line on this machine, for the beginning of the output. */
export const machineTitle = (threads: number): string =>
  `${cpus()[0]?.model.trim()}, ${threads} threads, Node ${process.version}; load ${loadavg()[0]!.toFixed(1)}`;

/** Options of a benchmark for its result. */
export const RESULT_OPTIONS = {
  /** Prints the result as JSON and nothing else on stdout. */
  json: { type: 'boolean', default: false },
  /** File to write the result to. */
  out: { type: 'string' },
} as const;

/** Writes the result of a benchmark where its options ask for it. */
export function writeResult(
  result: unknown,
  { json, out }: { readonly json?: boolean | undefined; readonly out?: string | undefined },
): void {
  const text = JSON.stringify(result, null, 1);
  if (out !== undefined) {
    mkdirSync(dirname(out), { recursive: true });
    writeFileSync(out, `${text}\n`);
  }
  if (json) console.log(text);
}
