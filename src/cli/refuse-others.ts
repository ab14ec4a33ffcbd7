import { UsageError } from '../util/errors.ts';
import type { OptionTable } from '../util/option-table.ts';
import { flagOf } from './options.ts';

/**
 * Refuses options that have no meaning for what a command is asked to do, and are not left at their defaults.
 *
 * @param given  values of all options, defaults filled in
 * @param to.allowed  options that have a meaning
 * @param to.purpose  what is done, for the message: `a search in a store`
 */
export function refuseOthers(
  table: OptionTable,
  given: Readonly<Record<string, unknown>>,
  { allowed, purpose }: { allowed: readonly string[]; purpose: string },
): void {
  for (const [name, spec] of Object.entries(table)) {
    const value = given[name];
    if (allowed.includes(name) || value === undefined || value === spec.default) continue;
    throw new UsageError(`${flagOf(name, spec)} has no meaning for ${purpose}`);
  }
}
