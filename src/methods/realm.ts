import { exp, mean, neg, slice, squeeze, stopGradient, sub } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { candidateMarginal, posteriorDivergence } from '../losses/candidate-marginal.ts';
import { type GivenValues, type OptionTable, optionValues, withDefaults } from '../util/option-table.ts';
import type { Method, RunPlan } from './contract/method.ts';
import { ANSWER_METRICS } from './joint/held-out-answers.ts';
import type { JointForm, JointReadings } from './joint/joint-form.ts';
import { JointLoss } from './joint/joint-loss.ts';
import { MARGINAL_OPTIONS } from './joint/joint-options.ts';
import { checkJointPlan, describeJoint, JOINT_OPTIONS, overheadReport } from './joint/joint-plan.ts';
import { openReader } from './joint/open-reader.ts';
import type { LossParts } from './step/score-loss.ts';
import { candidateTable } from './table/candidate-plan.ts';
import { TableMethod } from './table/table-method.ts';

/** Option of reading nothing as a candidate. */
export const NULL_PASSAGE_OPTIONS = {
  /** Whether reading nothing, the null passage, is a candidate of every query. */
  nullPassage: {
    type: 'switch',
    negative: true,
    default: true,
    help: 'leave out the null passage, a candidate that stands for reading nothing',
    group: 'Reader',
  },
} as const satisfies OptionTable;

const OPTIONS = {
  ...withDefaults(JOINT_OPTIONS, { candidates: 7 }),
  ...MARGINAL_OPTIONS,
  ...NULL_PASSAGE_OPTIONS,
};

/**
 * REALM: retriever and reader are trained together on the likelihood of the answer. The retriever draws one candidate, which the reader
 * reads; the loss sums over all that it may draw. The candidates of a query are the best K documents of a table of embeddings, which may
 * be stale, and the null passage ∅, which stands for reading nothing. They are embedded again, with a gradient.
 *
 *   z_1 … z_K: the best of the table for x, and ∅     P = softmax( q·z / τ ),     fresh
 *   p(y|x) = Σ_z P(z) p(y|x,z)                        p(y|x,z) of the reader; y: the first answer to x
 *   L = −(1/B) Σ log p(y|x)                           B ∂L/∂(q·z/τ) = P(z) − P(z) p(y|x,z) / p(y|x)
 *
 * The reader (`--reader`) is of one of three kinds:
 *
 * - A masked language model such as BERT, as in the paper. It reads `[CLS] x [SEP] z [SEP]`, with a mask in x for each token of y.
 * - A causal language model, which reads `--reader-prompt` and writes y. Unless it is frozen it learns to stop: its end token (or a line
 *   break, where it has none) is the last token of y.
 * - An encoder-decoder (T5), whose encoder reads the prompt without the answer, which the decoder writes.
 *
 * Masks stand in the place of the blank `___` that `undrift data spans` leaves in a query, or else at its end. Their product is p(y|x,z).
 *
 * The reader is trained whole, by adapters (`--reader-tuning lora`), or stays as it is (`frozen`), with a learning rate of its own
 * (`--reader-lr`) and gradients that are clipped apart. It is saved in `reader/` beside `model/`, from the same step. ∅ is embedded as a
 * document of empty text and read as a prompt without a passage; `--no-null-passage` leaves it out. `--marginal token` sums for each token
 * of the answer, as the paper's code does.
 *
 * `--freeze all` trains the reader alone: the documents are embedded once, and steps read them from the table.
 *
 * All refresh policies of the table apply, and so do correctors and `--over-retrieve`; the paper refreshes beside training about every
 * 500 steps (`--refresh async:500`). Queries that were cut out of their own documents (`undrift data spans`) need
 * `--leave-out-positives`: otherwise the document itself is found and copied. Start from a retriever that is trained already, such as on
 * sentences of the documents (inverse cloze, `undrift data cloze`) or by `--method crop`: without it the reader learns to ignore what it
 * reads, and then teaches nothing.
 *
 * The log has `retrievalUtility`, log p(y|x) − log p(y|x,∅) in nats; `nullMass`, P(∅); `posteriorDivergence`, KL of the posterior of the
 * candidates and P; `answerNats`, −log p(y|x). Evaluations have `answerLogLikelihood` and `exactMatch` of greedy answers, which
 * `--eval-metric` takes, for `--reader-eval-queries` queries with answers. The likelihood is that of the answer's own tokens, with the end
 * token of an encoder-decoder. A masked language model is told how many tokens the answer has.
 *
 * Cost per step: up to B K + 1 documents embedded, 2 B N D operations of scoring, and B (K + 1) prompts that the reader reads with a
 * gradient: by far the most, in time and in memory. `--accumulate` with smaller batches needs less memory.
 *
 * Differs from the paper: readers that write answers beside those that fill in masks; no dropout in the reader; P is divided by a
 * temperature τ (`--temperature`); encoders and data of any size.
 */
export const realm: Method = {
  id: 'realm',
  summary:
    'trains retriever and reader together on the likelihood of answers, summed over what the retriever finds',
  paper: {
    title: 'REALM: Retrieval-Augmented Language Model Pre-Training',
    year: 2020,
    url: 'https://arxiv.org/abs/2002.08909',
  },
  options: OPTIONS,
  answers: true,
  heldOutMetrics: ANSWER_METRICS,
  check: (plan) => checkJointPlan('realm', plan),
  describe,
  openPart: openReader,
  async start(context) {
    const { candidates, marginal, nullPassage } = optionValues(OPTIONS, context.options);
    const form: JointForm = {
      ...realmReadings(context.options),
      finished: overheadReport(context),
      loss({ scores, drawn, answers }) {
        const tokens = answers.alone.logProbabilities;
        const found = candidateMarginal(scores, tokens, { allowed: drawn, marginal });
        return {
          trainingLoss: found.loss,
          metrics: {
            answerNats: neg(mean(found.answers)),
            posteriorDivergence: posteriorDivergence(found),
            ...(nullPassage && nullFigures(found, candidates)),
          },
        };
      },
    };
    const loss = JointLoss.create(context, form);
    return await TableMethod.start('realm', context, { options: candidateTable(context.options), loss });
  },
};

/** Returns how REALM reads the candidates of a query. */
export function realmReadings(options: GivenValues): JointReadings {
  const { candidates, nullPassage, marginal } = optionValues(OPTIONS, options);
  return { nullPassage, candidates, marginal, passages: 1, readings: ['alone'], learnt: 'alone' };
}

/** Figures of the null passage, the last of the candidates: its share of P, and what reading something else is worth. */
function nullFigures(
  { logP, likelihoods, answers }: { logP: Tensor; likelihoods: Tensor; answers: Tensor },
  candidates: number,
): NonNullable<LossParts['metrics']> {
  const last = (of: Tensor) => squeeze(slice(of, { axis: 1, start: candidates, length: 1 }), 1);
  return {
    retrievalUtility: stopGradient(mean(sub(answers, last(likelihoods)))),
    nullMass: stopGradient(mean(exp(last(logP)))),
  };
}

function describe(plan: RunPlan): string[] {
  const { candidates, nullPassage } = optionValues(OPTIONS, plan.options);
  return describeJoint(plan, {
    ...(nullPassage && { beside: ' and the null passage' }),
    prompts: candidates + Number(nullPassage),
  });
}
