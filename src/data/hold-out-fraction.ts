import { createHash } from 'node:crypto';
import { UsageError } from '../util/errors.ts';
import type { LoadOptions } from './load-options.ts';
import { describe } from './record.ts';
import { dataName } from './retrieval-data.ts';

const DEFAULT_FRACTION = 0.05;

/** Shares of the queries to hold out for the splits dev and test, in [0, 1). */
export interface Fractions {
  readonly dev: number;
  readonly test: number;
}

/**
 * Computes the shares of queries to hold out of the training split, for splits that are not given.
 *
 * @throws UsageError when a share is out of range or nothing is left to train on
 */
export function holdOutFractions(files: ReadonlyMap<string, unknown>, options: LoadOptions): Fractions {
  const { devFraction = DEFAULT_FRACTION, testFraction = DEFAULT_FRACTION } = options;
  for (const [name, value] of Object.entries({ devFraction, testFraction })) {
    if (value >= 0 && value < 1) continue;
    throw new UsageError(`${name} should be at least 0 and below 1, found ${describe(value)}`);
  }
  if (devFraction + testFraction >= 1)
    throw new UsageError('devFraction and testFraction leave nothing to train on');
  const fraction = (split: string, share: number) => (files.has('train') && !files.has(split) ? share : 0);
  return { dev: fraction('dev', devFraction), test: fraction('test', testFraction) };
}

/** Chooses the split of a training query by u = SHA-256(text) / 2^256; the first 48 bits are enough. */
export function holdOut(query: string, { dev, test }: Fractions): 'train' | 'dev' | 'test' {
  if (dev + test === 0) return 'train';
  const u = createHash('sha256').update(query).digest().readUIntBE(0, 6) / 2 ** 48;
  return u < dev ? 'dev' : u < dev + test ? 'test' : 'train';
}

/**
 * Describes the splits that were held out.
 *
 * @param queries  number of queries of a split
 */
export function heldOutNotes(
  fractions: Fractions,
  path: string,
  queries: (split: string) => number,
): string[] {
  const notes: string[] = [];
  for (const name of ['dev', 'test'] as const) {
    if (fractions[name] === 0) continue;
    const held = queries(name);
    const share = `${name}Fraction ${fractions[name]}`;
    notes.push(
      held === 0
        ? `split ${name}: no query of ${dataName(path)} fell into it (${share}); give a split of its own`
        : `split ${name}: ${held} queries held out of the training split by a hash of their text (${share})`,
    );
  }
  return notes;
}
