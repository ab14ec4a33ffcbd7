import { DataError } from '../util/errors.ts';

type Json = Readonly<Record<string, unknown>>;

/** Reads the fields of a `config.json`, and says which file and field is wrong. */
export function configFields(json: Json, file: string) {
  const fail = (name: string, expected: string): never => {
    throw new DataError(`"${name}" must be ${expected}, found ${JSON.stringify(json[name])}`, { file });
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
  return {
    count: (name: string, fallback?: number): number =>
      or(
        name,
        fallback,
        (v): v is number => Number.isSafeInteger(v) && (v as number) > 0,
        'a positive integer',
      ),
    ratio: (name: string, fallback?: number): number =>
      or(name, fallback, (v): v is number => typeof v === 'number' && v >= 0 && v < 1, 'a number in [0, 1)'),
    positive: (name: string, fallback?: number): number =>
      or(name, fallback, (v): v is number => typeof v === 'number' && v > 0, 'a positive number'),
    oneOf: <T extends string | boolean>(name: string, values: readonly T[], fallback?: T): T =>
      or(name, fallback, (v): v is T => values.includes(v as T), `one of ${values.join(', ')}`),
    flag: (name: string, fallback?: boolean): boolean =>
      or(name, fallback, (v): v is boolean => typeof v === 'boolean', 'true or false'),
  };
}
