import { UsageError } from '../util/errors.ts';
import { adamw } from './adamw.ts';
import { lion } from './lion.ts';
import type { Optimizer } from './optimizer.ts';
import { sgd } from './sgd.ts';

/**
 * Makes an optimizer with its default options, by name: `adamw`, `sgd` or `lion`.
 *
 * @throws UsageError for an unknown name. The error lists the names.
 */
export function findOptimizer(name: string): Optimizer {
  const optimizers: Record<string, () => Optimizer> = { adamw, sgd, lion };
  const make = optimizers[name];
  if (!make)
    throw new UsageError(`unknown optimizer "${name}"`, {
      help: `use one of ${Object.keys(optimizers).join(', ')}`,
    });
  return make();
}
