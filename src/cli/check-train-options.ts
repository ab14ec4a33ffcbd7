import type { CheckedOptions } from '../compare/read-comparison.ts';
import { isNewModel } from '../train/settings.ts';
import { UsageError } from '../util/errors.ts';
import { kebabCase } from '../util/option-name.ts';
import { nearestOption, type OptionSpec } from '../util/option-table.ts';
import { parseFlag } from './options.ts';
import { TRAIN_OPTIONS } from './train-options.ts';

/**
 * Holds options in a config file to what `undrift train` takes.
 *
 * @throws UsageError for an unknown name (with the nearest known one), one given twice, and a value that does not fit
 */
export function checkTrainOptions(given: Readonly<Record<string, unknown>>): CheckedOptions {
  const table: Readonly<Record<string, OptionSpec>> = TRAIN_OPTIONS;
  const keys = Object.keys(table);
  const options: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given)) {
    const key = keys.find((candidate) => candidate === name || kebabCase(candidate) === name);
    if (key === undefined) {
      const meant = nearestOption(name, table);
      const hint = meant === undefined ? '' : `, did you mean '${kebabCase(meant)}'?`;
      throw new UsageError(`unknown option "${name}"${hint}`, {
        help: `known: ${keys.map(kebabCase).join(', ')}`,
      });
    }
    if (key in options) throw new UsageError(`"${kebabCase(key)}" is given twice`);
    if (value !== null) options[key] = checkValue(key, table[key]!, value);
  }
  const paths = Object.keys(options).filter((key) => isPath(table[key]!, options[key]));
  return { options, paths };
}

const JSON_TYPES: Readonly<Record<OptionSpec['type'], string>> = {
  integer: 'number',
  number: 'number',
  text: 'string',
  choice: 'string',
  list: 'string',
  numbers: 'string',
  switch: 'boolean',
};

/** Reads a value as the command line reads it, once it is of the right type: `"64"` is no number. */
function checkValue(key: string, spec: OptionSpec, value: unknown): unknown {
  const isList = spec.type === 'list' || spec.type === 'numbers';
  const given = isList && Array.isArray(value) ? value.join(',') : value;
  const wanted = JSON_TYPES[spec.type];
  if (typeof given !== wanted) {
    throw new UsageError(`"${kebabCase(key)}" should be a ${wanted}, found ${JSON.stringify(value)}`);
  }
  return parseFlag(key, spec, String(given));
}

/** A model is a path where it has a separator: `./model`, not `static`. */
const isPath = ({ value }: OptionSpec, given: unknown): boolean =>
  value === 'file' ||
  value === 'folder' ||
  (value === 'model' && typeof given === 'string' && !isNewModel(given) && /[\\/]/.test(given));
