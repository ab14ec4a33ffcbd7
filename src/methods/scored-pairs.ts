import { slice } from '../graph/ops.ts';
import { angle, angleSimilarity } from '../losses/angle.ts';
import { cosent } from '../losses/cosent.ts';
import { cosineSimilarity } from '../losses/cosine-similarity.ts';
import { pairCosines } from '../losses/distances.ts';
import { defineObjective } from '../objective/objective.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { UndriftError } from '../util/errors.ts';
import { count } from '../util/format.ts';
import { optionValues, withDefaults } from '../util/option-table.ts';
import { describeEncodes } from './contract/describe-run.ts';
import { LOSS_OPTIONS, PAIR_LOSSES, type PairLossName } from './contract/loss-names.ts';
import type { Method, MethodContext } from './contract/method.ts';
import { ContrastiveStep } from './step/contrastive-step.ts';
import { MATRYOSHKA_OPTIONS, type ScoreLoss } from './step/score-loss.ts';

const OPTIONS = { ...withDefaults(LOSS_OPTIONS, { loss: 'cosent' }), ...MATRYOSHKA_OPTIONS };

/**
 * Pairs of texts with a score each, such as judged similarities: records `{"sentence1": …, "sentence2": …, "score": …}`.
 *
 *   cosent:             L = log( 1 + Σ_{(i, j): y_i > y_j} exp((cos_j − cos_i) / τ) )          only the order of the scores counts
 *   angle:              the same of angles in complex space, whose gradient does not vanish near ±1
 *   cosine-similarity:  L = (1/B) Σ_i (cos_i − y_i)²                                           scores from −1 to 1
 *
 * The first text is embedded as a query, the second as a document, each with the prompt and the length limit of its side. No
 * other text of the batch is a negative. During training the model is measured by Spearman's correlation of cosines and scores
 * (`--eval-metric spearman` or `pearson`).
 *
 * Cost per step: 2 B texts embedded.
 */
export const scoredPairs: Method = {
  id: 'scored-pairs',
  aliases: ['CoSENTLoss', 'AnglELoss', 'CosineSimilarityLoss', 'sts'],
  summary: 'pairs of texts whose similarity is to follow the scores of the data',
  paper: {
    title: 'Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks',
    year: 2019,
    url: 'https://arxiv.org/abs/1908.10084',
  },
  trainsOn: 'scored-pairs',
  options: OPTIONS,
  losses: PAIR_LOSSES,
  describe: (plan) => [
    `${count(plan.batchSize)} pairs a batch, each with its score`,
    describeEncodes(plan, { perBatch: plan.batchSize }),
  ],
  async start(context) {
    const { ledger } = context;
    const step = await ContrastiveStep.compile('scored-pairs', context, lossOf(context));
    return defineObjective({
      async step({ queryRows, positiveRows, scores }, draw) {
        if (!scores) throw new UndriftError('a batch of scored pairs needs scores');
        ledger.documents('positive', positiveRows.length);
        const labels = scores.positives as Float32Array<ArrayBuffer>;
        const inputs = { labels: hostTensor('f32', [labels.length], labels) };
        return await step.run({ queryRows, documentRows: positiveRows, inputs, draw });
      },
      dispose: () => step.dispose(),
    });
  },
};

function lossOf({ options }: MethodContext): ScoreLoss {
  const { loss } = optionValues(OPTIONS, options);
  return ({ queries, documents, divide, input }) => {
    const labels = input('labels', 'f32', ['queries']);
    // Both sides have the same number of texts.
    const second = slice(documents!, { axis: 0, length: 'queries' });
    const make = {
      cosent: () => cosent(divide(pairCosines(queries, second)), labels),
      angle: () => angle(divide(angleSimilarity(queries, second)), labels),
      'cosine-similarity': () => cosineSimilarity(pairCosines(queries, second), labels),
    };
    return { trainingLoss: make[loss as PairLossName]() };
  };
}
