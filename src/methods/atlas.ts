import { add, div, maximum, mul, neg, sum } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { isFrozen } from '../models/retriever/tuning.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { type GivenValues, type OptionTable, optionValues, pickOptions } from '../util/option-table.ts';
import type { Method, RunPlan } from './contract/method.ts';
import type { AnswerTokens } from './joint/answer-tokens.ts';
import { ANSWER_METRICS } from './joint/held-out-answers.ts';
import type { JointForm, JointReading, JointReadings } from './joint/joint-form.ts';
import { JointLoss } from './joint/joint-loss.ts';
import { MARGINAL_OPTIONS } from './joint/joint-options.ts';
import { checkJointPlan, describeJoint, JOINT_OPTIONS, overheadReport } from './joint/joint-plan.ts';
import { openReader } from './joint/open-reader.ts';
import { RETRIEVER_LOSSES, retrieverParts } from './joint/retriever-loss.ts';
import { candidateTable } from './table/candidate-plan.ts';
import { READER_OPTIONS } from './table/reader-options.ts';
import { TableMethod } from './table/table-method.ts';

/** Options of Atlas. */
export const ATLAS_OPTIONS = {
  /** Loss by which the reader teaches the retriever; see `atlas`. */
  retrieverLoss: {
    type: 'choice',
    choices: RETRIEVER_LOSSES,
    default: 'pdist',
    help: 'how the reader teaches the retriever: likelihood given each candidate alone (pdist, emdr2) or without it (loop), or attention to it (adist)',
    group: 'Reader',
  },
  /** Best candidates that the reader learns from. Default: all. */
  readerPassages: {
    type: 'integer',
    value: 'n',
    min: 1,
    defaultHelp: 'all candidates',
    help: 'best candidates that the reader learns from',
    group: 'Reader',
  },
} as const satisfies OptionTable;

const OPTIONS = {
  ...JOINT_OPTIONS,
  ...pickOptions(READER_OPTIONS, 'readerTemperature'),
  ...ATLAS_OPTIONS,
  ...MARGINAL_OPTIONS,
};

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
 *   adist   KL( Q ‖ P ),  g_k = Σ a ‖v‖ over the tokens of d_k: cross-attention a times norm of the value v, as the mean over layers, heads
 *           and tokens of y
 *
 * The reader (`--reader`) is an encoder-decoder (T5), a causal language model or a masked one (see `realm`).
 *
 * - An encoder-decoder reads as Fusion-in-Decoder does: each passage is encoded alone, after `--reader-prompt` without the answer, and the
 * decoder reads the states of all of them. Their order changes nothing. A passage that does not fit into `--reader-tokens` loses its end.
 * - In the prompt of a language model, causal or masked, passages stand one after the other. Their order matters, best first; a prompt
 * that does not fit loses the end of the last of them. It has no cross-attention for `adist`.
 *
 * `--reader-passages` takes fewer of them. β is `--reader-temperature`. The reader is trained whole, by adapters, or not at all
 * (`--reader-tuning`), with its own learning rate (`--reader-lr`) and gradients that are clipped apart, which is what two optimizers do;
 * it is saved in `reader/` beside `model/`, from the same step.
 *
 * `--freeze all` trains the reader alone: candidates are read from the table and embedded once, and prompts that only the retriever would
 * learn from are not read.
 *
 * The table stays fresh in three ways: `--refresh` by any policy, and correctors; `--over-retrieve L`, which takes L documents from the
 * stale table and ranks them by fresh embeddings; and training of the query side alone (`--towers separate --train-only query`), by which
 * the table is never stale. At the end, the note and the event `overhead` set the measured cost of the first two beside that by operations,
 * which is the formula of the paper where all texts are of one length.
 *
 * The log has `readerLoss` in nats per token and `retrieverLoss`; for `pdist`, `adist` and `loop` `teacherEntropy`, `teacherAgreement` and
 * `expectedScore` as `replug-lsr` has them, for `emdr2` `posteriorDivergence`. Evaluations have `answerLogLikelihood` given all passages,
 * and `exactMatch`; `--eval-metric` takes them. A causal language model learns an end token after the answer, which evaluations leave out
 * (see `realm`).
 *
 * Cost per step: up to B K documents embedded, 2 B N D operations of scoring, B prompts with all passages that the reader reads with a
 * gradient, and B K prompts without one: one passage each, or for `loop` K − 1; none for `adist`. An encoder-decoder encodes each
 * candidate once, whatever the loss.
 *
 * Differs from the paper: the divergence is a mean over queries, where the code divides by K too; `adist` is not divided by the code's
 * constant 256; no dropout in the reader; encoders and data of any size.
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
  check(plan) {
    checkJointPlan('atlas', plan);
    const { retrieverLoss, candidates, readerPassages = candidates } = optionValues(OPTIONS, plan.options);
    if (plan.frozenRetriever && retrieverLoss !== OPTIONS.retrieverLoss.default) {
      throw new UsageError(
        `${option('retrieverLoss', retrieverLoss)} teaches the retriever, and all of it is frozen`,
        { help: `leave it out, or freeze less (${option('freeze')})` },
      );
    }
    if (retrieverLoss !== 'adist' || readerPassages >= candidates) return;
    throw new UsageError(
      `${option('readerPassages', readerPassages)} with ${option('retrieverLoss', 'adist')}: candidates that are not read get no attention`,
      { help: `leave it out, or take as few ${option('candidates')}` },
    );
  },
  describe,
  openPart: openReader,
  async start(context) {
    const { retrieverLoss, candidates, ...options } = optionValues(OPTIONS, context.options);
    const isTaught = !isFrozen(context.retriever);
    const form: JointForm = {
      ...atlasReadings(context.options, { isTaught }),
      attention: isTaught && retrieverLoss === 'adist',
      finished: overheadReport(context),
      loss(batch) {
        const readerLoss = meanLoss(batch.answers.together);
        if (!isTaught) return { trainingLoss: readerLoss, metrics: { readerLoss } };
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

/**
 * Returns how Atlas reads the candidates of a query.
 *
 * @param of.isTaught  whether the retriever learns from the reader. Default true
 */
export function atlasReadings(
  options: GivenValues,
  { isTaught = true }: { readonly isTaught?: boolean } = {},
): JointReadings {
  const { retrieverLoss, candidates, readerPassages = candidates } = optionValues(OPTIONS, options);
  const taughtBy: readonly JointReading[] =
    retrieverLoss === 'adist' || !isTaught ? [] : [retrieverLoss === 'loop' ? 'without' : 'alone'];
  return {
    nullPassage: false,
    candidates,
    passages: readerPassages,
    readings: ['together', ...taughtBy],
    learnt: 'together',
  };
}

/** Computes −log p per token over all answers, f32[]. */
const meanLoss = ({ logProbabilities, scored }: AnswerTokens): Tensor =>
  neg(div(sum(mul(logProbabilities, scored)), maximum(sum(scored), 1)));

function describe(plan: RunPlan): string[] {
  const { candidates, retrieverLoss } = optionValues(OPTIONS, plan.options);
  const taught = {
    pdist: 'the likelihood of the answer given each candidate',
    adist: 'the attention of the answer to each candidate',
    emdr2: 'the likelihood of the answer summed over the candidates',
    loop: 'the likelihood of the answer without each candidate',
  };
  if (plan.frozenRetriever) return describeJoint(plan, { prompts: 1 });
  return [
    ...describeJoint(plan, { prompts: retrieverLoss === 'adist' ? 1 : candidates + 1 }),
    `the retriever learns from ${taught[retrieverLoss]} (${retrieverLoss})`,
  ];
}
