import { UsageError } from '../util/errors.ts';
import { didYouMean } from '../util/nearest.ts';
import { option } from '../util/option-name.ts';
import type { OptionTable } from '../util/option-table.ts';
import { inContext } from './in-context.ts';
import { knnLm } from './knn-lm-spec.ts';
import { none } from './plain-system.ts';
import { replug } from './replug.ts';
import { retro } from './retro-spec.ts';
import { rpt } from './rpt-spec.ts';
import type { SystemSpec } from './system-spec.ts';
import { trime } from './trime-spec.ts';

/** Every kind of language system, in the order of the documentation. */
export const systems: readonly SystemSpec[] = [none, knnLm, inContext, replug, retro, trime, rpt];

/** Options of all systems, by name. Each system sets its own defaults: see `SystemSpec.options`. */
export const SYSTEM_OPTIONS: OptionTable = Object.assign({}, ...systems.map(({ options }) => options));

/**
 * Finds a kind of language system by its id.
 *
 * @param others  ids that are known beside those of the systems, for the message
 * @throws UsageError for an unknown id, with the list of ids
 */
export function findSystem(id: string, others: readonly string[] = []): SystemSpec {
  const system = systems.find((known) => known.id === id.toLowerCase());
  if (system) return system;
  const ids = [...systems.map((known) => known.id), ...others];
  throw new UsageError(`${option('method')}: unknown method "${id}".${didYouMean(id, ids)}`, {
    help: `known methods: ${ids.join(', ')}`,
  });
}
