import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import { checkOption, optionValues } from '../../util/option-table.ts';
import { findLoss } from './loss-names.ts';
import type { Method, MethodOptionValues } from './method.ts';

/**
 * Checks the options of a method and fills in its defaults.
 *
 * @param method  id of the method, its table of options, and the losses that it takes
 * @param given  options by name; undefined and null stand for "not given"
 * @throws UsageError for an option that the method does not take, for a value of another type or out of range, and for a loss
 *   that the method does not take
 */
export function resolveMethodOptions(
  { id, options: table, losses = [] }: Pick<Method, 'id' | 'options' | 'losses'>,
  given: object,
): MethodOptionValues {
  const own: Record<string, unknown> = { ...given };
  for (const [key, value] of Object.entries(own)) {
    if (value === undefined || value === null) continue;
    if (!Object.hasOwn(table, key)) {
      const taken = Object.keys(table).map((name) => option(name));
      throw new UsageError(`the method ${id} takes no ${option(key)}`, {
        help: taken.length > 0 ? `it takes ${taken.join(', ')}` : 'it takes no options of its own',
      });
    }
    checkOption(key, table[key]!, value);
    if (key === 'loss') own.loss = findLoss(value as string, id, losses);
  }
  return optionValues(table, own);
}
