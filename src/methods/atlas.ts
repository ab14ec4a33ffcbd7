import { add, div, maximum, mul, neg, stopGradient, sum } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { candidateMarginal, posteriorDivergence } from '../losses/candidate-marginal.ts';
import { type OptionTable, optionValues, pickOptions } from '../util/option-table.ts';
import type { Method, RunPlan } from './contract/method.ts';
import type { AnswerTokens } from './joint/answer-tokens.ts';
import { ANSWER_METRICS } from './joint/held-out-answers.ts';
import type { JointBatch, JointForm, JointReading } from './joint/joint-form.ts';
import { JointLoss } from './joint/joint-loss.ts';
import { MARGINAL_OPTIONS } from './joint/joint-options.ts';
import { checkJointPlan, describeJoint, JOINT_OPTIONS, overheadReport } from './joint/joint-plan.ts';
import { JointReader } from './joint/joint-reader.ts';
import type { LossParts } from './step/score-loss.ts';
import { candidateTable } from './table/candidate-plan.ts';
import { divergenceParts } from './table/reader-loss.ts';
import { READER_OPTIONS } from './table/reader-options.ts';
import { TableMethod } from './table/table-method.ts';

/** Ways in which the reader teaches the retriever. */
export const RETRIEVER_LOSSES = ['pdist', 'emdr2', 'loop'] as const;

/** Options of Atlas. */
export const ATLAS_OPTIONS = {
  /** Loss by which the reader teaches the retriever; see `atlas`. */
  retrieverLoss: {
    type: 'choice',
    choices: RETRIEVER_LOSSES,
    default: 'pdist',
    help: 'how the reader teaches the retriever: likelihood given each candidate alone (pdist, emdr2) or without it (loop)',
    group: 'Reader',
  },
  /** Candidates in the prompt by which the reader learns. Default: all. */
  readerPassages: {
    type: 'integer',
    value: 'n',
    min: 1,
    defaultHelp: 'all candidates',
    help: 'best candidates in the prompt by which the reader learns',
    group: 'Reader',
  },
} as const satisfies OptionTable;

const OPTIONS = {
  ...JOINT_OPTIONS,
  ...pickOptions(READER_OPTIONS, 'readerTemperature'),
  ...ATLAS_OPTIONS,
  ...MARGINAL_OPTIONS,
};

/** Operations of the reader for each candidate, parameter and token: once with a gradient, once without. */
const READ_TWICE = 8;

/**
 * Atlas: retriever and reader are trained together, by a loss each. The reader learns to answer from all candidates; the retriever learns
 * from the reader, which gets no gradient from it. The candidates of a query are the best K documents of a table of embeddings, which may
 * be stale. They are embedded again, with a gradient.
 *
 *   d_1 … d_K: the best of the table for x       P = softmax( q·d / τ ),     fresh
 *   L = L_reader + L_retriever                   L_reader = −(1/Σ|y|) Σ log p(y | d_1 … d_n, x);  y: the first answer to x
 *
 *   pdist   KL( Q ‖ P ),  Q = softmax( g / β ),  g_k = (1/|y|) log p(y | d_k, x): each candidate alone
 *   emdr2   −log Σ_k P_k p(y | d_k, x)           each candidate alone; `--marginal token` sums for each token, as the paper's code does
 *   loop    KL( Q ‖ P ),  g_k = −(1/|y|) log p(y | all candidates but d_k, x)
 *
 * The reader (`--reader`) is a causal language model. Passages stand one after the other in its prompt, where the paper fuses them in the
 * decoder: their order matters, best first, and a prompt that does not fit loses the end of the last of them (`--reader-tokens`).
 * `--reader-passages` takes fewer of them. β is `--reader-temperature`. The reader is trained whole, by adapters, or not at all
 * (`--reader-tuning`), with its own learning rate (`--reader-lr`) and gradients that are clipped apart, which is what two optimizers do;
 * it is saved in `reader/` beside `model/`, from the same step.
 *
 * The table stays fresh in three ways: `--refresh` by any policy, and correctors; `--over-retrieve L`, which takes L documents from the
 * stale table and ranks them by fresh embeddings; and training of the query side alone (`--towers separate --train-only query`), by which
 * the table is never stale. At the end, the note and the event `overhead` set the measured cost of the first two beside the formula of the
 * paper.
 *
 * The log has `readerLoss` in nats per token and `retrieverLoss`; for `pdist` and `loop` `teacherEntropy`, `teacherAgreement` and
 * `expectedScore` as `replug-lsr` has them, for `emdr2` `posteriorDivergence`. Evaluations have `answerLogLikelihood` given all passages,
 * and `exactMatch`; `--eval-metric` takes them.
 *
 * Cost per step: up to B K documents embedded, 2 B N D operations of scoring, B prompts with all passages that the reader reads with a
 * gradient, and B K prompts without one: one passage each, or for `loop` K − 1.
 *
 * Differs from the paper: a decoder in place of Fusion-in-Decoder, so that scores by cross-attention (ADist) are not offered; the
 * divergence is a mean over queries, where the code divides by K too; no dropout in the reader; encoders and data of any size.
 */
export const atlas: Method = {
  id: 'atlas',
  summary: 'trains a reader on what the retriever finds, and the retriever on what helps the reader',
  paper: {
    title: 'Atlas: Few-shot Learning with Retrieval Augmented Language Models',
    year: 2022,
    url: 'https://arxiv.org/abs/2208.03299',
  },
  options: OPTIONS,
  answers: true,
  heldOutMetrics: ANSWER_METRICS,
  check: (plan) => checkJointPlan('atlas', plan),
  describe,
  openPart: (opening) => JointReader.open(opening),
  async start(context) {
    const {
      retrieverLoss,
      candidates,
      readerPassages = candidates,
      ...options
    } = optionValues(OPTIONS, context.options);
    const taughtBy: JointReading = retrieverLoss === 'loop' ? 'without' : 'alone';
    const form: JointForm = {
      ...{ nullPassage: false, candidates, passages: readerPassages, readings: ['together', taughtBy] },
      finished: overheadReport(context, { factor: READ_TWICE, prompts: candidates + 1 }),
      loss(batch) {
        const readerLoss = meanLoss(batch.answers.together);
        const { trainingLoss: learnt, metrics } = retrieverParts(retrieverLoss, batch, options);
        return {
          trainingLoss: add(readerLoss, learnt),
          interpretableLoss: readerLoss,
          metrics: { readerLoss, retrieverLoss: learnt, ...metrics },
        };
      },
    };
    const loss = JointLoss.create(context, form);
    return await TableMethod.start('atlas', context, { options: candidateTable(context.options), loss });
  },
};

/** Builds the loss of the retriever. The reader gets no gradient from it. */
function retrieverParts(
  retrieverLoss: (typeof RETRIEVER_LOSSES)[number],
  { scores, drawn, answers }: JointBatch,
  { readerTemperature, marginal }: { readerTemperature: number; marginal: 'sequence' | 'token' },
): LossParts {
  if (retrieverLoss === 'emdr2') {
    const tokens = stopGradient(answers.alone.logProbabilities);
    const found = candidateMarginal(scores, tokens, { allowed: drawn, marginal });
    return { trainingLoss: found.loss, metrics: { posteriorDivergence: posteriorDivergence(found) } };
  }
  const teacher = stopGradient(
    retrieverLoss === 'pdist' ? meanPerToken(answers.alone) : neg(meanPerToken(answers.without)),
  );
  return divergenceParts(
    { candidates: scores, allowed: drawn, teacher },
    { temperature: readerTemperature, direction: 'forward' },
  );
}

/** Computes the mean log-probability of the tokens of an answer for each prompt, f32[queries, prompts]; 0 where there is no prompt. */
const meanPerToken = ({ logProbabilities, scored }: AnswerTokens): Tensor =>
  div(sum(logProbabilities, { axes: 2 }), maximum(sum(scored, { axes: 2 }), 1));

/** Computes −log p per token over all answers, f32[]. */
const meanLoss = ({ logProbabilities, scored }: AnswerTokens): Tensor =>
  neg(div(sum(mul(logProbabilities, scored)), maximum(sum(scored), 1)));

function describe(plan: RunPlan): string[] {
  const { candidates, retrieverLoss } = optionValues(OPTIONS, plan.options);
  const taught = {
    pdist: 'the likelihood of the answer given each candidate',
    emdr2: 'the likelihood of the answer summed over the candidates',
    loop: 'the likelihood of the answer without each candidate',
  };
  return [
    ...describeJoint(plan, { prompts: candidates + 1 }),
    `the retriever learns from ${taught[retrieverLoss]} (${retrieverLoss})`,
  ];
}
