import { DataError } from './errors.ts';
import { isObject, type Json } from './json-objects.ts';

/**
 * Shape of a JSON value: returns undefined if a value has it, else the fault with the place of the field, such as
 * `"arms[0].name" must be a text, found 3`.
 */
export type JsonShape = (value: unknown, place: string) => string | undefined;

const shapeOf =
  (expected: string, has: (value: unknown) => boolean): JsonShape =>
  (value, place) =>
    has(value) ? undefined : faultText(place, expected, value);

/** Longest value that a message quotes, in characters. */
const QUOTED = 60;

function faultText(place: string, expected: string, value: unknown): string {
  const found = value === undefined ? 'nothing' : JSON.stringify(value);
  return `${place === '' ? 'the file' : `"${place}"`} must be ${expected}, found ${found.length > QUOTED ? `${found.slice(0, QUOTED)}…` : found}`;
}

/** Shapes of values without parts. */
export const aText = shapeOf('a text', (value) => typeof value === 'string');
export const aNumber = shapeOf('a number', Number.isFinite);
export const aCount = shapeOf(
  'a whole number of at least 0',
  (value) => Number.isSafeInteger(value) && (value as number) >= 0,
);
export const aFlag = shapeOf('true or false', (value) => typeof value === 'boolean');

/** One of several texts. */
export const oneOf = (...texts: readonly string[]): JsonShape =>
  shapeOf(`one of ${texts.map((text) => `"${text}"`).join(', ')}`, (value) =>
    texts.includes(value as string),
  );

/** A shape, or null. */
export const orNull =
  (shape: JsonShape): JsonShape =>
  (value, place) =>
    value === null ? undefined : shape(value, place);

/** A shape, or no value at all. */
export const optional =
  (shape: JsonShape): JsonShape =>
  (value, place) =>
    value === undefined ? undefined : shape(value, place);

/** One of several shapes; a fault is reported as that of the first. */
export const anyOf =
  (...shapes: readonly [JsonShape, ...JsonShape[]]): JsonShape =>
  (value, place) => {
    const faults = shapes.map((shape) => shape(value, place));
    return faults.includes(undefined) ? undefined : faults[0];
  };

/** A list whose items have a shape. */
export const listOf =
  (item: JsonShape): JsonShape =>
  (value, place) => {
    if (!Array.isArray(value)) return faultText(place, 'a list', value);
    return firstFault(value.entries(), (i, each) => item(each, `${place}[${i}]`));
  };

/** An object with any names, whose values have a shape, and with certain names at least. */
export const recordOf =
  (item: JsonShape, required: readonly string[] = []): JsonShape =>
  (value, place) => {
    if (!isObject(value)) return faultText(place, 'an object', value);
    const all = { ...Object.fromEntries(required.map((name) => [name, undefined])), ...value };
    return firstFault(Object.entries(all), (name, each) => item(each, inside(place, name)));
  };

/** An object with certain fields. Others are allowed: a later version may have added them. */
export const objectOf =
  (fields: Readonly<Record<string, JsonShape>>): JsonShape =>
  (value, place) => {
    if (!isObject(value)) return faultText(place, 'an object', value);
    return firstFault(Object.entries(fields), (name, shape) =>
      shape(Object.hasOwn(value, name) ? value[name] : undefined, inside(place, name)),
    );
  };

/** A shape whose value also passes a check of its parts against each other. */
export const checked =
  (shape: JsonShape, check: (value: Json, place: string) => string | undefined): JsonShape =>
  (value, place) =>
    shape(value, place) ?? check(value as Json, place);

/** Place of a field inside of another one. */
export const inside = (place: string, name: string): string => (place === '' ? name : `${place}.${name}`);

function firstFault<K, V>(
  entries: Iterable<readonly [K, V]>,
  faultOf: (key: K, value: V) => string | undefined,
): string | undefined {
  for (const [key, value] of entries) {
    const fault = faultOf(key, value);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

/**
 * Checks the content of a JSON file.
 *
 * @throws DataError that names the file and the first field of another shape
 */
export function checkShape(value: unknown, shape: JsonShape, where: { file: string; help: string }): void {
  const fault = shape(value, '');
  if (fault !== undefined) throw new DataError(fault, where);
}
