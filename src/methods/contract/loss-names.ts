import { UsageError } from '../../util/errors.ts';
import { didYouMean } from '../../util/nearest.ts';
import { option } from '../../util/option-name.ts';
import type { OptionTable } from '../../util/option-table.ts';

/** Losses over negatives that were sampled from a score table; see `negativeLoss`. */
export const LOSS_FORMS = ['expectation', 'importance-corrected', 'truncated', 'pairwise'] as const;
/** Id of a loss over negatives sampled from a score table. */
export type LossForm = (typeof LOSS_FORMS)[number];

/** Losses over the documents of a batch; see `batchLoss`. */
export const BATCH_LOSSES = ['multiple-negatives', 'symmetric', 'triplet', 'gist'] as const;
/** Id of a loss over the documents of a batch. */
export type BatchLossName = (typeof BATCH_LOSSES)[number];

/** Losses that learn from a teacher's scores. */
export const DISTILLATION_LOSSES = ['margin-mse', 'kl'] as const;
/** Id of a loss that learns from a teacher's scores. */
export type DistillationLossName = (typeof DISTILLATION_LOSSES)[number];

/** Losses over pairs of texts with a score each. */
export const PAIR_LOSSES = ['cosent', 'angle', 'cosine-similarity'] as const;
/** Id of a loss over scored pairs. */
export type PairLossName = (typeof PAIR_LOSSES)[number];

/** Losses of cross-encoders; see `listLoss`. */
export const CROSS_ENCODER_LOSSES = [
  'bce',
  'softmax',
  'mse',
  'margin-mse',
  'kl',
  'marginal-likelihood',
] as const;
/** Id of a loss of cross-encoders. */
export type CrossEncoderLoss = (typeof CROSS_ENCODER_LOSSES)[number];

/** All losses that methods take. */
export const LOSSES = [...BATCH_LOSSES, ...DISTILLATION_LOSSES, ...PAIR_LOSSES, ...LOSS_FORMS] as const;
/** Id of a loss. */
export type LossName = (typeof LOSSES)[number];

/** Option of methods that have several losses. Each method sets its own default, and takes some of the losses. */
export const LOSS_OPTIONS = {
  /** Loss function, by its id or by the name that sentence-transformers gives it. */
  loss: {
    type: 'text',
    value: 'id',
    help:
      `loss function: ${BATCH_LOSSES.join(', ')} (in-batch, grad-cache); ${DISTILLATION_LOSSES.join(', ')} (distill); ` +
      `${PAIR_LOSSES.join(', ')} (scored-pairs); ${LOSS_FORMS.join(', ')} (methods that sample negatives from a cache); ${CROSS_ENCODER_LOSSES.join(', ')} (cross-encoder)`,
    group: 'Loss',
    aliases: ['lossFunction', 'lossType'],
  },
} as const satisfies OptionTable;

/** Names of the losses in sentence-transformers. */
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

/** Losses, and a method that takes them, for error messages. Several methods take those of `LOSS_FORMS`. */
const METHODS: readonly (readonly [readonly string[], string])[] = [
  [BATCH_LOSSES, 'in-batch'],
  [DISTILLATION_LOSSES, 'distill'],
  [PAIR_LOSSES, 'scored-pairs'],
  [LOSS_FORMS, 'negative-cache'],
];

/**
 * Finds a loss by its id, or by its name in sentence-transformers.
 *
 * @param name  id or name of the loss; case does not matter
 * @param method  id of the method, for error messages
 * @param taken  losses that the method takes
 * @throws UsageError for an unknown loss, and for one that the method does not take; the message names a method that takes it
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
