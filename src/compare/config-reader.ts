import { existsSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { parseHubName } from '../hub/hub-name.ts';
import { UndriftError, UsageError } from '../util/errors.ts';
import { didYouMean } from '../util/nearest.ts';
import type { OptionSpec } from '../util/option-table.ts';

/** Object of a config file. */
export type Fields = Readonly<Record<string, unknown>>;

/** Reads the parts of one config file. Every error names the file and the place. */
export class ConfigReader {
  protected readonly file: string;

  constructor(file: string) {
    this.file = file;
  }

  /** Checks that a value is an object and, if `known` is given, has no other keys. */
  fields(value: unknown, place: string, known?: readonly string[]): Fields {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw this.wrong(place, 'an object', value);
    }
    for (const key of Object.keys(value)) {
      if (known === undefined || known.includes(key)) continue;
      throw this.error(place, `unknown key "${key}".${didYouMean(key, known)}`, `known: ${known.join(', ')}`);
    }
    return value as Fields;
  }

  text(fields: Fields, key: string, flag?: string): string {
    const value = fields[key];
    if (value === undefined) {
      throw this.error('', `"${key}" is missing`, flag && `write it into the file, or give ${flag}`);
    }
    if (typeof value !== 'string' || value.trim() === '') throw this.wrong(key, 'a text', value);
    return value;
  }

  /** Checks the name of an arm, which names its files. */
  armName(name: unknown, place: string): string {
    if (typeof name === 'string' && /^[a-z0-9][a-z0-9._+-]{0,59}$/i.test(name)) return name;
    throw this.wrong(
      `${place}.name`,
      'a name for files: up to 60 letters, digits, dots, dashes, "_" and "+", the first a letter or digit',
      name,
    );
  }

  /** Checks that no two arms share a name. Some file systems ignore case, so names that differ only in case would share a file. */
  distinctNames(arms: readonly { readonly name: string }[]): void {
    const names = new Set<string>();
    for (const [i, { name }] of arms.entries()) {
      if (names.has(name.toLowerCase())) throw this.error(`arms[${i}]`, `there is another arm "${name}"`);
      names.add(name.toLowerCase());
    }
  }

  /** Runs a check of another module, and adds file and place to its error. */
  at<T>(place: string, check: () => T): T {
    try {
      return check();
    } catch (error) {
      if (!(error instanceof UndriftError)) throw error;
      const { message, help } = error.marked;
      throw this.error(place, message, help);
    }
  }

  wrong(place: string, wanted: string, found: unknown): UsageError {
    const text = JSON.stringify(found) ?? 'nothing';
    return this.error(
      place,
      `should be ${wanted}, found ${text.length > 60 ? `${text.slice(0, 57)}...` : text}`,
    );
  }

  error(place: string, message: string, help?: string): UsageError {
    return new UsageError(
      `${prefixOf(this.file)}${place === '' ? '' : `${place}: `}${message}`,
      help ? { help } : {},
    );
  }
}

/** Converts a path of the config file to one relative to the working directory. */
export const fromConfig = (file: string, path: string): string =>
  isAbsolute(path) ? path : join(dirname(file), path);

/**
 * Converts a model of the config file: a path to one relative to the working directory. A word such as `static` stays as it is. So does
 * the name of a model on the hub, unless there is a folder with the name of the organisation beside the file.
 */
export function modelFromConfig(file: string, model: string): string {
  if (!/[\\/]/.test(model)) return model;
  const [first] = model.split('/');
  const isOnHub = parseHubName(model, 'model') && !existsSync(fromConfig(file, first!));
  return isOnHub ? model : fromConfig(file, model);
}

/** Converts the value of an option in the config file: a path or a model. Other values stay as they are. */
export function valueFromConfig(file: string, { value }: OptionSpec, given: unknown): unknown {
  if (typeof given !== 'string') return given;
  if (value === 'path' || value === 'folder' || value === 'file') return fromConfig(file, given);
  return value === 'model' ? modelFromConfig(file, given) : given;
}

/** Start of an error message about a file; empty for an object. */
export const prefixOf = (file: string): string => (file === '' ? '' : `${file}: `);

/** Name of a config file without folder and extension. */
export const fileStem = (file: string): string => file.replace(/^.*[\\/]/, '').replace(/\.json$/i, '');
