import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readJson, writeFileAtomic } from '../util/files.ts';
import { isObject } from '../util/json-objects.ts';
import type { Store } from './store.ts';

/** Passage that searches have found by a vector that is not of the current encoder. */
export interface MetPassage {
  /** Number of the passage. */
  readonly pid: number;
  /** How often searches have found it. */
  readonly count: number;
  /**
   * Estimate of its drift: the squared distance by which the corrector moved its vector, from 0 to 4; the mean error of the corrector
   * where the dimensions differ.
   */
  readonly drift: number;
}

/** Rate of a refresh, rests included. */
export interface RefreshRate {
  /** Passages embedded again per second. */
  readonly passagesPerSecond: number;
  /** Time of the measurement, in milliseconds since 1970. */
  readonly measured: number;
}

/** Queue of the passages to embed first, as it survives the end of the process. */
export interface RefreshRecord {
  /** Space that the passages are embedded in. */
  readonly space: string;
  /** Passages that were met, in any order. */
  readonly met: readonly MetPassage[];
  /** Rate last measured; null before the first commit. */
  readonly rate: RefreshRate | null;
}

const FORMAT = 1;
const pathOf = (store: Store): string => join(store.place.scratch, 'refresh.json');

/**
 * Reads the queue of a store for a space. Counts only decide which passages are embedded first. A file that is missing, damaged or
 * about another space is therefore the same as an empty one.
 */
export async function readRefresh(store: Store, space: string): Promise<RefreshRecord> {
  const empty: RefreshRecord = { space, met: [], rate: null };
  const file = pathOf(store);
  if (!existsSync(file)) return empty;
  const json = await readJson(file).catch(() => undefined);
  if (!isObject(json) || json.undriftRefresh !== FORMAT || json.space !== space) return empty;
  const { met, rate } = json;
  return {
    space,
    met: (Array.isArray(met) ? met : []).flatMap((row: unknown) => {
      const [pid, count, drift] = Array.isArray(row) ? (row as number[]) : [];
      return Number.isSafeInteger(pid) && Number.isSafeInteger(count) && typeof drift === 'number'
        ? { pid: pid!, count: count!, drift }
        : [];
    }),
    rate:
      isObject(rate) && typeof rate.passagesPerSecond === 'number' && typeof rate.measured === 'number'
        ? { passagesPerSecond: rate.passagesPerSecond, measured: rate.measured }
        : null,
  };
}

/** Writes the queue of a store. Several processes may write; the last one wins. */
export async function writeRefresh(store: Store, { space, met, rate }: RefreshRecord): Promise<void> {
  const rows = met.map(({ pid, count, drift }) => [pid, count, Number(drift.toPrecision(4))]);
  const json = { undriftRefresh: FORMAT, space, rate, met: rows };
  await writeFileAtomic(pathOf(store), `${JSON.stringify(json)}\n`);
}
