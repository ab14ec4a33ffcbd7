import { UsageError } from '../../util/errors.ts';
import { didYouMean } from '../../util/nearest.ts';
import { option } from '../../util/option-name.ts';
import type { OptionTable } from '../../util/option-table.ts';

/** Losses over negatives that were sampled from a score table; see `tableLosses`. */
export const LOSS_FORMS = ['expectation', 'importance-corrected', 'truncated', 'pairwise'] as const;
export type LossForm = (typeof LOSS_FORMS)[number];

/** Losses over the documents of a batch; see `batchLoss`. */
export const BATCH_LOSSES = ['multiple-negatives', 'symmetric', 'triplet', 'gist'] as const;
export type BatchLossName = (typeof BATCH_LOSSES)[number];

/** Losses that learn from a teacher's scores. */
export const DISTILLATION_LOSSES = ['margin-mse', 'kl'] as const;
export type DistillationLossName = (typeof DISTILLATION_LOSSES)[number];

/** Losses of pairs of texts with a score each. */
export const PAIR_LOSSES = ['cosent', 'angle', 'cosine-similarity'] as const;
export type PairLossName = (typeof PAIR_LOSSES)[number];

/** Every loss that a method can be given. */
export const LOSSES = [...BATCH_LOSSES, ...DISTILLATION_LOSSES, ...PAIR_LOSSES, ...LOSS_FORMS] as const;
export type LossName = (typeof LOSSES)[number];

/** The option of methods that have several losses; which of them, and the default, is the method's own. */
export const LOSS_OPTIONS = {
  /** Loss function, by its id or by the name that sentence-transformers gives it. */
  loss: {
    type: 'text',
    value: 'id',
    help:
      `loss function: ${BATCH_LOSSES.join(', ')} (in-batch, grad-cache); ${DISTILLATION_LOSSES.join(', ')} (distill); ` +
      `${PAIR_LOSSES.join(', ')} (scored-pairs); ${LOSS_FORMS.join(', ')} (methods that sample negatives from a cache)`,
    group: 'Loss',
    aliases: ['lossFunction', 'lossType'],
  },
} as const satisfies OptionTable;

/** What sentence-transformers calls them. */
export const LOSS_ALIASES: Readonly<Partial<Record<LossName, readonly string[]>>> = {
  'multiple-negatives': ['MultipleNegativesRankingLoss', 'CachedMultipleNegativesRankingLoss'],
  symmetric: ['MultipleNegativesSymmetricRankingLoss', 'CachedMultipleNegativesSymmetricRankingLoss'],
  triplet: ['TripletLoss'],
  gist: ['GISTEmbedLoss', 'CachedGISTEmbedLoss'],
  'margin-mse': ['MarginMSELoss'],
  kl: ['DistillKLDivLoss'],
  cosent: ['CoSENTLoss'],
  angle: ['AnglELoss'],
  'cosine-similarity': ['CosineSimilarityLoss'],
};

/** The method whose loss it is, for messages; of those in `LOSS_FORMS` there are several. */
const METHODS: readonly (readonly [readonly string[], string])[] = [
  [BATCH_LOSSES, 'in-batch'],
  [DISTILLATION_LOSSES, 'distill'],
  [PAIR_LOSSES, 'scored-pairs'],
  [LOSS_FORMS, 'negative-cache'],
];

/**
 * A loss by its id or by the name that sentence-transformers gives it.
 *
 * @param taken  those that the method has
 * @throws UsageError for an unknown one, and for one that the method does not have, naming a method that has it
 */
export function findLoss(name: string, method: string, taken: readonly LossName[]): LossName {
  const lower = name.toLowerCase();
  const loss = LOSSES.find((id) =>
    [id, ...(LOSS_ALIASES[id] ?? [])].some((known) => known.toLowerCase() === lower),
  );
  const list = `the method ${method} takes ${taken.join(', ')}`;
  if (!loss) throw new UsageError(`unknown loss "${name}".${didYouMean(name, LOSSES)}`, { help: list });
  if (taken.includes(loss)) return loss;
  const other = METHODS.find(([losses]) => losses.includes(loss))![1];
  throw new UsageError(`the method ${method} has no loss ${loss}`, {
    help: `${option('method', other)} has it; ${list}`,
  });
}
