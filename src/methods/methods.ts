import { UsageError } from '../util/errors.ts';
import { didYouMean } from '../util/nearest.ts';
import { asyncIndex } from './async-index.ts';
import { bm25Negatives } from './bm25-negatives.ts';
import type { Method } from './contract/method.ts';
import { corrector } from './corrector.ts';
import { crop } from './crop.ts';
import { distill } from './distill.ts';
import { exhaustive } from './exhaustive.ts';
import { gradCache } from './grad-cache.ts';
import { hardNegatives } from './hard-negatives.ts';
import { inBatch } from './in-batch.ts';
import { momentumQueue } from './momentum-queue.ts';
import { negativeCache } from './negative-cache.ts';
import { scoredPairs } from './scored-pairs.ts';
import { snapshot } from './snapshot.ts';

/** Every training method, in the order of the documentation. */
export const methods: readonly Method[] = [
  inBatch,
  gradCache,
  bm25Negatives,
  hardNegatives,
  momentumQueue,
  snapshot,
  asyncIndex,
  negativeCache,
  exhaustive,
  corrector,
  crop,
  distill,
  scoredPairs,
];

/** A method by its id or by a name that others use for it. @throws UsageError listing the ids */
export function findMethod(name: string): Method {
  const lower = name.toLowerCase();
  const method = methods.find(({ id, aliases }) =>
    [id, ...aliases].some((known) => known.toLowerCase() === lower),
  );
  if (method) return method;
  const ids = methods.map(({ id }) => id);
  throw new UsageError(`unknown method "${name}".${didYouMean(name, ids)}`, {
    help: `known methods: ${ids.join(', ')}`,
  });
}
