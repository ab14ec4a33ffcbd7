import { UsageError } from '../util/errors.ts';
import { adamw } from './adamw.ts';
import { lion } from './lion.ts';
import type { Optimizer } from './optimizer.ts';
import { sgd } from './sgd.ts';

/** An optimizer by name, with its usual numbers. @throws UsageError listing the names */
export function findOptimizer(name: string): Optimizer {
  const optimizers: Record<string, () => Optimizer> = { adamw, sgd, lion };
  const make = optimizers[name];
  if (!make)
    throw new UsageError(`unknown optimizer "${name}"`, {
      help: `use one of ${Object.keys(optimizers).join(', ')}`,
    });
  return make();
}
