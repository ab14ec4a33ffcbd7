import { slice } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { cosines, DISTANCES, distances } from '../../losses/distances.ts';
import { type BatchSimilarities, gist } from '../../losses/gist.ts';
import { symmetricSoftmax } from '../../losses/symmetric-softmax.ts';
import { triplet } from '../../losses/triplet.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import {
  type OptionTable,
  type OptionValues,
  optionValues,
  pickOptions,
  withDefaults,
} from '../../util/option-table.ts';
import { type BatchLossName, LOSS_OPTIONS } from '../contract/loss-names.ts';
import type { MethodContext, MethodOptionValues, TrainingBatch } from '../contract/method.ts';
import { NEGATIVE_OPTIONS } from '../contract/negative-options.ts';
import { accuracy, allowedInput, candidateSoftmax } from './candidate-softmax.ts';
import { GuideEmbeddings } from './guide-embeddings.ts';
import { allowedCandidates } from './known-positives.ts';
import { ownPositives } from './own-negatives.ts';
import { MATRYOSHKA_OPTIONS, type ScoredBatch, type ScoreLoss } from './score-loss.ts';

/** Options of single losses over the documents of a batch. */
export const BATCH_LOSS_CHOICES = {
  /** `triplet`: distance by which a positive has to be nearer to its query than a negative, ≥ 0. */
  margin: {
    type: 'number',
    min: 0,
    default: 0.2,
    help: 'triplet: distance by which a positive has to be nearer to its query than a negative',
    group: 'Loss',
    aliases: ['triplet_margin'],
  },
  /** `triplet`: measure of the distance between embeddings. */
  distance: {
    type: 'choice',
    choices: DISTANCES,
    default: 'cosine',
    help: 'triplet: distance between embeddings',
    group: 'Loss',
    aliases: ['distance_metric'],
  },
  /** `gist`: model or run that finds likely right answers among the candidates by its similarities. */
  guide: {
    type: 'text',
    value: 'model',
    default: '',
    help: 'gist: model or run that finds likely right answers among the negatives; both margins are by its similarities',
    group: 'Loss',
  },
} as const satisfies OptionTable;

/** Options of methods over the documents of a batch. */
export const BATCH_LOSS_OPTIONS = {
  ...withDefaults(LOSS_OPTIONS, { loss: 'multiple-negatives' }),
  ...BATCH_LOSS_CHOICES,
  ...pickOptions(NEGATIVE_OPTIONS, 'absoluteMargin', 'relativeMargin'),
  ...MATRYOSHKA_OPTIONS,
} as const satisfies OptionTable;

/** Loss over the documents of a batch, with the inputs that it needs. */
export interface BatchLoss {
  /** Builds the loss in the graph of a step. */
  readonly loss: ScoreLoss;
  /**
   * Computes the inputs that the loss has declared.
   *
   * @param documentRows  document rows: positives of the batch in the queries' order, then its negatives
   */
  inputs(batch: TrainingBatch, documentRows: Int32Array): Promise<Readonly<Record<string, HostTensor>>>;
  /** Returns the state for a checkpoint, by name; empty where there is none. */
  state(): Readonly<Record<string, HostTensor>>;
  /** Restores the state of a checkpoint. */
  restore(state: Readonly<Record<string, HostTensor>>): void;
  /** Frees the models that the loss uses. */
  dispose(): Promise<void>;
}

/**
 * Checks that the options of a batch loss go together.
 *
 * @throws UsageError where they do not
 */
export function checkBatchLoss(given: MethodOptionValues): void {
  const { loss, guide, absoluteMargin, relativeMargin } = optionValues(BATCH_LOSS_OPTIONS, given);
  if (loss === 'gist' && guide === '') {
    throw new UsageError(
      `${option('loss', 'gist')} needs a guide: the model that tells likely right answers`,
      {
        help: `name one by ${option('guide', 'FOLDER')}`,
      },
    );
  }
  if (loss !== 'gist' && (guide !== '' || absoluteMargin > 0 || relativeMargin > 0)) {
    const name = guide !== '' ? 'guide' : absoluteMargin > 0 ? 'absoluteMargin' : 'relativeMargin';
    throw new UsageError(`${option(name)} is for ${option('loss', 'gist')}, not for ${loss}`, {
      help: `add ${option('loss', 'gist')}, or leave it out`,
    });
  }
  if (absoluteMargin > 0 && relativeMargin > 0) {
    throw new UsageError(
      `${option('absoluteMargin')} and ${option('relativeMargin')} exclude each other with ${option('loss', 'gist')}`,
    );
  }
}

/**
 * Makes the loss that a run's options name:
 *
 * | loss | candidates of query i | |
 * |---|---|---|
 * | `multiple-negatives` | all documents of the batch except other right answers | `softmaxCrossEntropy` |
 * | `symmetric` | the same; and all queries of the batch for positive i | `symmetricSoftmax` |
 * | `triplet` | its own negatives of the data; where the batch has none, all documents except its right answers | `triplet` |
 * | `gist` | documents, other queries, and other positives beside its own, except those that the guide finds too similar | `gist` |
 *
 * @throws UsageError where the guide is not a model
 */
export async function batchLoss(context: MethodContext): Promise<BatchLoss> {
  const options = optionValues(BATCH_LOSS_OPTIONS, context.options);
  const known = { positives: context.positives, duplicates: context.copies };
  const guide = options.guide === '' ? undefined : await GuideEmbeddings.load(context, options.guide);
  const name = options.loss as BatchLossName;
  return {
    loss: LOSSES[name](options),
    async inputs(batch, documentRows) {
      const allowed = allowedCandidates(batch.queryRows, documentRows, known);
      return {
        allowed,
        ...(name === 'triplet' && { negatives: negativesOf(batch, allowed) }),
        ...(guide && {
          guideQueries: await guide.of('query', batch.queryRows),
          guideDocuments: await guide.of('document', documentRows),
        }),
      };
    },
    state: () => guide?.state() ?? {},
    restore: (state) => guide?.restore(state),
    dispose: async () => await guide?.dispose(),
  };
}

type LossOptions = OptionValues<typeof BATCH_LOSS_OPTIONS>;

const LOSSES: Readonly<Record<BatchLossName, (options: LossOptions) => ScoreLoss>> = {
  'multiple-negatives': () => candidateSoftmax,

  symmetric: () => (batch) => {
    const allowed = allowedInput(batch);
    return {
      trainingLoss: symmetricSoftmax(batch.scores, { allowed }),
      metrics: { accuracy: accuracy(batch.scores, allowed) },
    };
  },

  triplet:
    ({ margin, distance }) =>
    (batch) => {
      const { queries, scores, input } = batch;
      const all = distances(queries, embedded(batch), distance);
      const of = {
        positive: ownPositives(all),
        negatives: all,
        allowed: input('negatives', 'bool', scores.shape),
      };
      return {
        trainingLoss: triplet(of, { margin }),
        metrics: { accuracy: accuracy(scores, allowedInput(batch)) },
      };
    },

  gist:
    ({ absoluteMargin, relativeMargin }) =>
    (batch) => {
      const { queries, scores, divide, input } = batch;
      const allowed = allowedInput(batch);
      const guide = similarities(
        input('guideQueries', 'f32', ['queries', 'guide']),
        input('guideDocuments', 'f32', ['documents', 'guide']),
      );
      const margin =
        relativeMargin > 0
          ? ({ strategy: 'relative', margin: relativeMargin } as const)
          : ({ strategy: 'absolute', margin: absoluteMargin } as const);
      return {
        trainingLoss: gist(similarities(queries, embedded(batch), divide), guide, { ...margin, allowed }),
        metrics: { accuracy: accuracy(scores, allowed) },
      };
    },
};

const embedded = ({ documents }: ScoredBatch): Tensor => documents!;

/** Computes the cosines inside a batch. The first B documents are the positives. */
function similarities(
  queries: Tensor,
  documents: Tensor,
  divide = (cosines: Tensor): Tensor => cosines,
): BatchSimilarities {
  const positives = slice(documents, { axis: 0, length: 'queries' });
  return {
    documents: divide(cosines(queries, documents)),
    queries: divide(cosines(queries, queries)),
    positives: divide(cosines(positives, positives)),
  };
}

/** Computes which documents make a triplet with which query: bool[B, C]. */
function negativesOf(
  { queryRows, ownNegatives, negativeRows }: TrainingBatch,
  allowed: HostTensor,
): HostTensor {
  const [B, C] = allowed.dims as [number, number];
  const all = allowed.data as Uint8Array;
  const negatives = new Uint8Array(B * C);
  if (ownNegatives && negativeRows.length > 0) {
    const k = ownNegatives.length / queryRows.length;
    let column = B;
    for (const [at, row] of ownNegatives.entries()) {
      if (row < 0) continue;
      const place = Math.floor(at / k) * C + column++;
      negatives[place] = all[place]!;
    }
  } else {
    negatives.set(all);
    for (let i = 0; i < B; i++) negatives[i * C + i] = 0;
  }
  return hostTensor('bool', [B, C], negatives);
}
