import { UsageError } from '../util/errors.ts';
import { adamw } from './adamw.ts';
import { lion } from './lion.ts';
import type { Optimizer } from './optimizer.ts';
import { sgd } from './sgd.ts';

/** Names of the optimizers. */
export const OPTIMIZERS = ['adamw', 'sgd', 'lion'] as const;
/** Name of an optimizer. */
export type OptimizerName = (typeof OPTIMIZERS)[number];

const MAKE: Readonly<Record<OptimizerName, () => Optimizer>> = { adamw, sgd, lion };

/**
 * Makes an optimizer with its default options, by name: `adamw`, `sgd` or `lion`.
 *
 * @throws UsageError for an unknown name. The error lists the names.
 */
export function findOptimizer(name: string): Optimizer {
  const known = OPTIMIZERS.find((id) => id === name);
  if (known) return MAKE[known]();
  throw new UsageError(`unknown optimizer "${name}"`, { help: `use one of ${OPTIMIZERS.join(', ')}` });
}
