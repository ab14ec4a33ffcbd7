import { kebabCase, textOfMap } from './option-name.ts';

/** Values of options by their keys in camel case; those that are undefined or false are left out. */
export type CommandOptions = Readonly<
  Record<string, string | number | boolean | Readonly<Record<string, unknown>> | undefined>
>;

/**
 * Composes a command of this package that can be pasted into a shell.
 *
 * @param command  words after `undrift`, such as `data clean`
 * @param args  positional arguments
 */
export function commandLine(command: string, options: CommandOptions, args: readonly string[] = []): string {
  const flags = Object.entries(options).flatMap(([key, value]) => {
    if (value === undefined || value === false) return [];
    return value === true
      ? [`--${kebabCase(key)}`]
      : [`--${kebabCase(key)}`, quoteWord(typeof value === 'object' ? textOfMap(value) : String(value))];
  });
  return ['undrift', command, ...args.map(quoteWord), ...flags].join(' ');
}

/** Quotes a word for a POSIX shell where it has other characters than those of paths and names. */
export const quoteWord = (word: string): string =>
  /^[\w./@:+,=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
