import { UsageError } from '../util/errors.ts';
import { didYouMean } from '../util/nearest.ts';
import { option } from '../util/option-name.ts';
import { asyncIndex } from './async-index.ts';
import { atlas } from './atlas.ts';
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
import { realm } from './realm.ts';
import { replugLsr } from './replug-lsr.ts';
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
  replugLsr,
  realm,
  atlas,
  scoredPairs,
];

/**
 * Returns the method that a run names: one of the library's by its id or alias, or an object of the caller's.
 *
 * @throws UsageError for an unknown name, for an object that is not a method, and for one that takes the id of a method of the
 *   library
 */
export function methodOf(named: string | Method): Method {
  if (typeof named === 'string') return findMethod(named);
  const { id, summary, options, describe, start } = named;
  const isMethod =
    typeof id === 'string' &&
    typeof summary === 'string' &&
    typeof options === 'object' &&
    typeof describe === 'function' &&
    typeof start === 'function';
  if (!isMethod) {
    throw new UsageError(`${option('method')} is neither the id of a method nor a Method`, {
      help: 'a Method has id, summary, options, describe and start; batchMethod makes one of a loss',
    });
  }
  const other = methods.find((known) => known.id === id && known !== named);
  if (!other) return named;
  throw new UsageError(`a method of the id "${id}" is in the library already`, {
    help: 'give yours another id: settings and model cards name the method by it',
  });
}

/**
 * Finds a method by its id, or by a name that others use for it.
 *
 * @throws UsageError for an unknown name, with the list of ids
 */
export function findMethod(name: string): Method {
  const lower = name.toLowerCase();
  const method = methods.find(({ id, aliases }) =>
    [id, ...(aliases ?? [])].some((known) => known.toLowerCase() === lower),
  );
  if (method) return method;
  const ids = methods.map(({ id }) => id);
  if (lower === 'cross-encoder' || lower === 'crossencoder') {
    throw new UsageError('cross-encoder is no method of training a retriever', {
      help: 'it trains a model that reranks: undrift train --method cross-encoder, in the library trainCrossEncoder',
    });
  }
  throw new UsageError(`unknown method "${name}".${didYouMean(name, ids)}`, {
    help: `known methods: ${ids.join(', ')}`,
  });
}
