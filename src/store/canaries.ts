import type { EncodeDtype } from '../models/retriever/encode-dtype.ts';
import type { Retriever, Side } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { DataError, UsageError } from '../util/errors.ts';
import { readJson, writeFileAtomic } from '../util/files.ts';
import { isObject } from '../util/json-objects.ts';
import type { Store } from './store.ts';

/** Canary texts of a space with the vectors that its model gave when the space was added. */
export interface Canaries {
  readonly texts: readonly string[];
  /** f32[texts, D] of each side. */
  readonly vectors: Readonly<Record<Side, Float32Array>>;
}

/** Result of {@link checkCanaries}. */
export interface CanaryCheck {
  /** Number of texts. */
  readonly texts: number;
  /** Largest absolute difference of a component, in units of the length of its vector. */
  readonly largestDifference: number;
}

const FORMAT = 1;
const SIDES: readonly Side[] = ['query', 'document'];
/** Largest number of canary texts: they are embedded whenever a model is loaded. */
export const MOST_CANARIES = 8;
/** Characters of a passage that is sampled as a canary text. */
const CHARACTERS = 300;
/**
 * Difference up to which a vector is reproduced. Other numbers of threads give about 1e-7 in f32. In int8 such a difference can round an
 * activation to the next integer.
 */
const TOLERANCES: Readonly<Record<EncodeDtype, number>> = { f32: 1e-4, int8: 1e-2 };

const fileOf = (space: string): string => `canaries/${space}.json`;

/** Chooses canary texts among passages: evenly spaced ones, the beginning of each. */
export function chooseCanaries(texts: readonly string[]): string[] {
  const candidates = texts.filter((text) => text.trim() !== '');
  const count = Math.min(MOST_CANARIES, candidates.length);
  return Array.from({ length: count }, (_, i) =>
    candidates[Math.floor((i * candidates.length) / count)]!.slice(0, CHARACTERS),
  );
}

/**
 * Embeds canary texts by the model of a space and stores them with their vectors.
 *
 * @throws UsageError if there are none, or more than 8
 */
export async function writeCanaries(
  store: Store,
  space: string,
  retriever: Retriever,
  { texts, compute }: { texts: readonly string[]; compute: ComputeOptions },
): Promise<void> {
  if (texts.length === 0 || texts.length > MOST_CANARIES) {
    throw new UsageError(`${texts.length} canary texts; there must be 1 to ${MOST_CANARIES}`, {
      help: 'they are embedded whenever the model is loaded: choose a few that differ',
    });
  }
  const vectors: Record<string, string> = {};
  for (const side of SIDES) {
    const { buffer, byteOffset, byteLength } = await retriever.encode(side, texts, compute);
    vectors[side] = Buffer.from(buffer, byteOffset, byteLength).toString('base64');
  }
  const json = { undriftCanaries: FORMAT, dimension: retriever.dimension, texts, vectors };
  const text = `${JSON.stringify(json, null, 2)}\n`;
  await store.files.save(fileOf(space), (path) => writeFileAtomic(path, text));
}

/**
 * Reads the canary texts of a space; undefined if it has none.
 *
 * @throws DataError if the file is damaged
 */
export async function readCanaries(store: Store, space: string): Promise<Canaries | undefined> {
  if (!(await store.files.has(fileOf(space)))) return undefined;
  const file = await store.files.open(fileOf(space));
  const json = await readJson(file);
  const damaged = (): never => {
    throw new DataError('not canary texts with their vectors', {
      file,
      help: 'the file is damaged: restore it from a copy, or delete it; indexing again writes a new one',
    });
  };
  if (!isObject(json) || json.undriftCanaries !== FORMAT || !isObject(json.vectors)) return damaged();
  const { texts, dimension, vectors } = json;
  if (!Array.isArray(texts) || !texts.every((text) => typeof text === 'string')) return damaged();
  const of = (side: Side): Float32Array => {
    const bytes = Buffer.from(String(vectors[side]), 'base64');
    if (bytes.length !== 4 * texts.length * Number(dimension)) return damaged();
    return new Float32Array(new Uint8Array(bytes).buffer);
  };
  return { texts, vectors: { query: of('query'), document: of('document') } };
}

/**
 * Checks that a model gives the vectors of the canary texts of its space. This finds what the id of a space does not contain: another
 * runtime or device that computes differently, or a change of how texts are read.
 *
 * @returns  undefined if the space has no canary texts
 * @throws DataError if a vector differs by more than 1e-4, or 1e-2 in int8
 */
export async function checkCanaries(
  store: Store,
  space: string,
  retriever: Retriever,
  compute: ComputeOptions = {},
): Promise<CanaryCheck | undefined> {
  const known = await readCanaries(store, space);
  if (!known) return undefined;
  let worst = { difference: 0, text: '', side: SIDES[0]! };
  for (const side of SIDES) {
    const found = await retriever.encode(side, known.texts, compute);
    const differences = differencesOf(found, known.vectors[side], known.texts.length);
    for (const [i, difference] of differences.entries()) {
      if (difference > worst.difference) worst = { difference, text: known.texts[i]!, side };
    }
  }
  const { difference, text, side } = worst;
  const tolerance = TOLERANCES[retriever.encodeDtype];
  if (difference <= tolerance) return { texts: known.texts.length, largestDifference: difference };
  throw new DataError(
    `the model does not reproduce the vectors of the space ${space}: the canary text ${JSON.stringify(text.slice(0, 40))}, ` +
      `embedded as ${side}, differs by ${difference.toPrecision(2)} (at most ${tolerance} is allowed)`,
    {
      file: await store.files.open(fileOf(space)),
      help:
        'another runtime or device computes other vectors: use the one that indexed the store, or index the documents anew; ' +
        'if the vectors are right all the same, delete this file',
    },
  );
}

/** Models that have reproduced canary texts, so that each is checked once. */
const checked = new WeakMap<Retriever, Set<string>>();

/**
 * Checks a model by the canary texts of its space, or makes them if the space has none. A model that has passed is not checked again.
 *
 * @param texts  texts to choose canaries from; the space gets none if all are empty
 * @throws DataError if a vector differs
 */
export async function ensureCanaries(
  store: Store,
  space: string,
  retriever: Retriever,
  { texts, compute }: { texts: readonly string[]; compute: ComputeOptions },
): Promise<void> {
  const name = `${store.folder} ${space}`;
  if (checked.get(retriever)?.has(name)) return;
  if (!(await checkCanaries(store, space, retriever, compute))) {
    const chosen = chooseCanaries(texts);
    if (chosen.length === 0) return;
    await writeCanaries(store, space, retriever, { texts: chosen, compute });
  }
  checked.set(retriever, new Set([...(checked.get(retriever) ?? []), name]));
}

/** Removes the canary texts of a space that is no longer part of the store. */
export async function removeCanaries(store: Store, space: string): Promise<void> {
  await store.files.remove(fileOf(space));
}

/** Computes the largest difference of a component for each row, in units of the stored row's length. NaN counts as infinite. */
function differencesOf(found: Float32Array, stored: Float32Array, rows: number): number[] {
  if (found.length !== stored.length) return [Number.POSITIVE_INFINITY];
  const D = stored.length / rows;
  return Array.from({ length: rows }, (_, row) => {
    let [largest, squares] = [0, 0];
    for (let i = row * D; i < (row + 1) * D; i++) {
      const difference = Math.abs(found[i]! - stored[i]!);
      largest = Math.max(largest, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference);
      squares += stored[i]! ** 2;
    }
    return squares === 0 ? largest : largest / Math.sqrt(squares);
  });
}
