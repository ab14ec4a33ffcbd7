import { DataError } from '../../util/errors.ts';
import type { Json } from '../../util/json-objects.ts';

/** Largest number of layers: a wild number in a damaged file must not make a graph that fills the memory. */
const MOST_LAYERS = 1000;

/**
 * Makes readers for the fields of a `config.json`.
 *
 * Each reader returns the field or its fallback, and throws a DataError that names file and field if the
 * value is invalid.
 */
export function configFields(json: Json, file: string) {
  const fail = (name: string, expected: string): never => {
    throw new DataError(`"${name}" must be ${expected}, found ${valueText(json[name])}`, { file });
  };
  const or = <T>(
    name: string,
    fallback: T | undefined,
    check: (value: unknown) => value is T,
    expected: string,
  ): T => {
    const value = json[name] ?? fallback;
    return check(value) ? value : fail(name, expected);
  };
  const count = (name: string, fallback?: number): number =>
    or(
      name,
      fallback,
      (v): v is number => Number.isSafeInteger(v) && (v as number) > 0,
      'a positive integer',
    );
  return {
    count,
    /** Reads a position in a list: 0, 1, 2, … */
    index: (name: string, fallback?: number): number =>
      or(
        name,
        fallback,
        (v): v is number => Number.isSafeInteger(v) && (v as number) >= 0,
        'a whole number ≥ 0',
      ),
    /** Reads a number of layers. */
    layers: (name: string): number => {
      const layers = count(name);
      if (layers > MOST_LAYERS)
        throw new DataError(`${name} ${layers} is more than ${MOST_LAYERS}`, { file });
      return layers;
    },
    /** Reads a number of heads, which must divide the size in another field. */
    heads: (name: string, sizeName: string): number => {
      const [heads, size] = [count(name), count(sizeName)];
      if (size % heads !== 0) {
        throw new DataError(`${sizeName} ${size} is no multiple of ${name} ${heads}`, {
          file,
          help: 'each head gets an equal share of the hidden size',
        });
      }
      return heads;
    },
    ratio: (name: string, fallback?: number): number =>
      or(name, fallback, (v): v is number => typeof v === 'number' && v >= 0 && v < 1, 'a number in [0, 1)'),
    positive: (name: string, fallback?: number): number =>
      or(
        name,
        fallback,
        (v): v is number => typeof v === 'number' && v > 0 && v < Infinity,
        'a positive number',
      ),
    oneOf: <T extends string | boolean | number>(name: string, values: readonly T[], fallback?: T): T =>
      or(name, fallback, (v): v is T => values.includes(v as T), `one of ${values.join(', ')}`),
    /** Checks that an optional list has no other entries than the given ones. */
    listOf: (name: string, values: readonly string[]): void => {
      const list = json[name] ?? [];
      if (!Array.isArray(list) || !list.every((each) => values.includes(each as string))) {
        fail(name, `a list of ${values.join(' or ')}`);
      }
    },
    flag: (name: string, fallback?: boolean): boolean =>
      or(name, fallback, (v): v is boolean => typeof v === 'boolean', 'true or false'),
  };
}

/** Writes a value as JSON, and a number that is not finite by its name. */
const valueText = (value: unknown): string =>
  typeof value === 'number' ? String(value) : JSON.stringify(value);
