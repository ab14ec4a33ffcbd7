import { createHash } from 'node:crypto';
import { asyncIndex } from '../src/methods/async-index.ts';
import type { Method, MethodContext } from '../src/methods/contract/method.ts';
import { type ToyOptions, ToyRun } from './toy-training.ts';

/** Method with a changed context. */
export const within = (more: Partial<MethodContext>, method: Method = asyncIndex): Method => ({
  ...method,
  start: (context) => method.start({ ...context, ...more }),
});

/** Hashes of the files of a run, except those that exist only during a refresh. */
export const bytesOf = (run: ToyRun): Record<string, string> =>
  Object.fromEntries(
    Object.entries(run.bytes())
      .filter(([name]) => !name.startsWith('refresh/'))
      .map(([name, bytes]) => [name, createHash('sha256').update(bytes).digest('hex').slice(0, 12)]),
  );

/** Trains for some steps, and returns the hashes of the run's files. */
export async function trained(
  method: Method,
  settings: ToyOptions,
  steps: number,
): Promise<Record<string, string>> {
  const run = await ToyRun.begin(method, settings);
  try {
    await run.train(steps);
    return bytesOf(run);
  } finally {
    await run.dispose();
  }
}
