/**
 * Marks of option names in error messages.
 *
 * An option is `batchSize` to a program that calls the library, and `--batch-size` on the command line. A
 * setting is likewise `normalize: false` or `--no-normalize`. Messages therefore mark their options with
 * `option(…)`. `UndriftError` renders the marks as names, and the command line renders them as flags.
 */
const START = '\u0001';
const VALUE = '\u0002';
const END = '\u0003';
const MARKED = new RegExp(`${START}([A-Za-z]\\w*)(?:${VALUE}([^${END}]*))?${END}`, 'g');

/**
 * Marks an option in a message, with a value if the message says what to give.
 *
 * @param key name of the option, in camel case
 */
export const option = (
  key: string,
  value?: string | number | boolean | readonly (string | number)[] | Readonly<Record<string, string>>,
): string => `${START}${key}${value === undefined ? '' : VALUE + JSON.stringify(value)}${END}`;

/**
 * Callback for notes.
 *
 * @param note text that names options as the library does
 * @param marked the same text in which options are marked, if it names any
 */
export type NoteListener = (note: string, marked?: string) => void;

/** Tells a note in which options are marked. */
export const tellNote = (listener: NoteListener | undefined, marked: string): void =>
  listener?.(asNames(marked), marked);

/** Renders a message for callers of the library: `batchSize`, `loss: 'gist'`, `normalize: false`. */
export const asNames = (message: string): string =>
  message.replace(MARKED, (mark: string, key: string, json: string | undefined) => {
    if (json === undefined) return key;
    const value = parsed(json);
    return value === undefined ? mark : `${key}: ${asLiteral(value)}`;
  });

/** Renders a message for the command line: `--batch-size`, `--loss gist`, `--no-normalize`. */
export const asFlags = (message: string): string =>
  message.replace(MARKED, (mark: string, key: string, json: string | undefined) => {
    const value = json === undefined ? true : parsed(json);
    if (value === undefined) return mark;
    if (typeof value === 'boolean') return `--${value ? '' : 'no-'}${kebabCase(key)}`;
    const text = isMap(value) ? textOfMap(value) : String(value);
    return `--${kebabCase(key)} ${/\s/.test(text) ? JSON.stringify(text) : text}`;
  });

/** Converts camel case to kebab case: `batchSize` → `batch-size`. */
export const kebabCase = (key: string): string =>
  key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** Value of a mark; undefined where the text of a damaged file only looks like one. */
function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Writes a map as on the command line: `query=question,positive=answer`. */
export const textOfMap = (map: Readonly<Record<string, unknown>>): string =>
  Object.entries(map)
    .flatMap(([word, names]) =>
      (Array.isArray(names) ? names : [names]).map(
        (name) => `${word}=${String(name).replaceAll(',', '\\,')}`,
      ),
    )
    .join(',');

const asLiteral = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(asLiteral).join(', ')}]`;
  if (isMap(value)) {
    const entries = Object.entries(value).map(([word, name]) => `${word}: ${asLiteral(name)}`);
    return `{ ${entries.join(', ')} }`;
  }
  return typeof value === 'string' ? `'${value}'` : String(value);
};
