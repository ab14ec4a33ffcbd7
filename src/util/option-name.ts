/**
 * How messages name options. The same option is `batchSize` to a program that calls the library and `--batch-size` on the command
 * line, and the same setting is `normalize: false` and `--no-normalize`. A message therefore marks its options by `option(…)`;
 * `UndriftError` renders them as names, and the command line renders the same error's options as flags.
 */
const START = '\u0001';
const VALUE = '\u0002';
const END = '\u0003';
const MARKED = new RegExp(`${START}([^${VALUE}${END}]*)(?:${VALUE}([^${END}]*))?${END}`, 'g');

/**
 * Marks an option, with a value where the message says what to give.
 *
 * @param key  in camel case
 */
export const option = (
  key: string,
  value?: string | number | boolean | readonly (string | number)[],
): string => `${START}${key}${value === undefined ? '' : VALUE + JSON.stringify(value)}${END}`;

/** A message for those who call the library: `batchSize`, `loss: 'gist'`, `normalize: false`. */
export const asNames = (message: string): string =>
  message.replace(MARKED, (_, key: string, value: string | undefined) =>
    value === undefined ? key : `${key}: ${asLiteral(JSON.parse(value))}`,
  );

/** A message for the command line: `--batch-size`, `--loss gist`, `--no-normalize`. */
export const asFlags = (message: string): string =>
  message.replace(MARKED, (_, key: string, json: string | undefined) => {
    const value: unknown = json === undefined ? true : JSON.parse(json);
    if (typeof value === 'boolean') return `--${value ? '' : 'no-'}${kebabCase(key)}`;
    return `--${kebabCase(key)} ${value}`;
  });

/** `batchSize` → `batch-size`. */
export const kebabCase = (key: string): string =>
  key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

const asLiteral = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(asLiteral).join(', ')}]`;
  return typeof value === 'string' ? `'${value}'` : String(value);
};
