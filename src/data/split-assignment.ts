import { createHash } from 'node:crypto';
import { DataError, type Place, UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import type { LoadOptions } from './load-options.ts';
import { describe } from './record.ts';
import { DEV_NAMES, dataName } from './retrieval-data.ts';

const DEFAULT_FRACTION = 0.05;

/** Shares of the queries to hold out for the splits dev and test, in [0, 1). */
interface Fractions {
  readonly dev: number;
  readonly test: number;
}

/** Mark of the keys of examples that are held out of the training split, unless their split turns out to be given. */
const HELD = 'held out: ';

/**
 * Assigns examples to splits: by the file or field that they stand in, by the name of a split in the record, or by a hash of
 * their text for splits that are not given.
 */
export class SplitAssignment {
  readonly #fractions: Fractions;
  readonly #named = new Set<string>();

  /**
   * @param given  splits that have files or fields of their own
   * @throws UsageError when a share to hold out is out of range or nothing is left to train on
   */
  constructor(given: ReadonlyMap<string, unknown>, options: LoadOptions) {
    this.#fractions = holdOutFractions(given, options);
  }

  /**
   * Returns the key under which an example is collected until all splits are known.
   *
   * @param given  split of the file or field
   * @param named  name of a split in the record
   * @throws DataError where the two contradict each other
   */
  key(given: string, named: string | undefined, text: string, place: Place): string {
    const name = named?.trim();
    const split =
      name === undefined || name === '' ? given : DEV_NAMES.includes(name.toLowerCase()) ? 'dev' : name;
    if (given !== 'train' && split !== given) {
      throw new DataError(`split ${JSON.stringify(named)} in the data of split ${given}`, {
        ...place,
        help: 'move the record to the data of its split, or drop the column "split"',
      });
    }
    if (split !== 'train') {
      this.#named.add(split);
      return split;
    }
    const held = holdOut(text, this.#fractions);
    return held === 'train' ? held : `${HELD}${held}`;
  }

  /** Keys of each split, once all examples were assigned. Examples that were held out for a given split are trained on. */
  splits(keys: Iterable<string>): Map<string, string[]> {
    const found = new Map<string, string[]>();
    for (const key of keys) {
      const name = key.startsWith(HELD) ? key.slice(HELD.length) : key;
      const split = name !== key && this.#named.has(name) ? 'train' : name;
      found.set(split, [...(found.get(split) ?? []), key]);
    }
    return found;
  }

  /**
   * Describes the splits that were held out.
   *
   * @param queries  number of queries of a split
   */
  notes(path: string, queries: (split: string) => number): string[] {
    const notes: string[] = [];
    for (const name of ['dev', 'test'] as const) {
      if (this.#fractions[name] === 0 || this.#named.has(name)) continue;
      const held = queries(name);
      const share = `${name}Fraction ${this.#fractions[name]}`;
      notes.push(
        held === 0
          ? `split ${name}: no query of ${dataName(path)} fell into it (${share}); give a split of its own`
          : `split ${name}: ${held} queries held out of the training split by a hash of their text (${share})`,
      );
    }
    return notes;
  }
}

function holdOutFractions(given: ReadonlyMap<string, unknown>, options: LoadOptions): Fractions {
  const { devFraction = DEFAULT_FRACTION, testFraction = DEFAULT_FRACTION } = options;
  for (const [name, value] of Object.entries({ devFraction, testFraction })) {
    if (value >= 0 && value < 1) continue;
    throw new UsageError(`${name} should be at least 0 and below 1, found ${describe(value)}`);
  }
  checkFractions({ dev: devFraction, test: testFraction });
  const fraction = (split: string, share: number) => (given.has('train') && !given.has(split) ? share : 0);
  return { dev: fraction('dev', devFraction), test: fraction('test', testFraction) };
}

/** Checks that something is left to train on. @throws UsageError where nothing is */
export function checkFractions({ dev, test }: Fractions): void {
  if (dev + test >= 1)
    throw new UsageError(`${option('devFraction')} and ${option('testFraction')} leave nothing to train on`);
}

/** Chooses the split of a training query by u = SHA-256(text) / 2^256; the first 48 bits are enough. */
export function holdOut(query: string, { dev, test }: Fractions): 'train' | 'dev' | 'test' {
  if (dev + test === 0) return 'train';
  const u = createHash('sha256').update(query).digest().readUIntBE(0, 6) / 2 ** 48;
  return u < dev ? 'dev' : u < dev + test ? 'test' : 'train';
}
