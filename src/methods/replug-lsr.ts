import { checkPrompt } from '../models/language/reader-prompt.ts';
import { UsageError } from '../util/errors.ts';
import { count } from '../util/format.ts';
import { option } from '../util/option-name.ts';
import { optionValues } from '../util/option-table.ts';
import type { Method, RunPlan } from './contract/method.ts';
import {
  CANDIDATE_OPTIONS,
  candidateTable,
  checkCandidates,
  describeCandidates,
} from './table/candidate-plan.ts';
import { AGREEMENT_METRICS } from './table/reader-agreement.ts';
import { noReader, ReaderLoss } from './table/reader-loss.ts';
import { READER_OPTIONS } from './table/reader-options.ts';
import { TableMethod } from './table/table-method.ts';

const OPTIONS = {
  ...READER_OPTIONS,
  ...CANDIDATE_OPTIONS,
};

/**
 * REPLUG LSR: a retriever that learns from a frozen language model, the reader, which documents make the right answer likely. The
 * candidates of a query are the best K documents of a table of embeddings, which may be stale. They are embedded again, with a
 * gradient.
 *
 *   d_1 … d_K: the best of the table for x       P = softmax( q·d_j / τ ),     fresh
 *   g_j = (1/|y|) Σ_t log p(y_t | d_j, x, y_<t)  Q = softmax( g_j / β ),       no gradient; y: the first answer to x
 *   L   = (1/B) Σ KL( Q ‖ P )                    with `--kl reverse` KL( P ‖ Q ), as the paper prints it
 *
 * β is `--reader-temperature`; the paper takes 0.1 for β and τ (`--temperature 0.1`), and refreshes the table every 3,000 steps
 * (`--refresh every:3000`). All refresh policies apply, and so do `--over-retrieve`, which ranks what the table proposes by fresh
 * embeddings, and a corrector (`--corrector mlp`), which moves the table's rows to where they would be now before the candidates are
 * chosen. The data needs answers: `answers.jsonl` beside the queries, or a column
 * `answers` of pairs. Right documents of the data are not used, except to evaluate, with `--gold-candidate`, and with
 * `--leave-out-positives`, by which they are never candidates: so a retriever learns from running text, whose contexts must not find the
 * passages of their own text (`undrift data continuations`).
 *
 * `--reader-prompt` is the prompt, `--reader-score sum` takes the sum instead of the mean, `--teacher-scores shuffled` is a control
 * in which the scores of a query are permuted among its candidates. The log has `teacherEntropy`, the entropy of Q as a share of
 * log K (near 1 the reader says nothing, near 0 it names one document: change β), `teacherAgreement`, the share of queries of which P
 * and Q prefer the same candidate, and `expectedScore`, Σ P g. Every evaluation has these figures too, with `teacherDivergence`,
 * KL(Q‖P), for `--reader-eval-queries` queries of the evaluation and the K documents that the retriever then ranks highest for
 * each. `--eval-metric expectedScore` keeps the weights by them: settings can be tuned on them without any judgement of documents.
 *
 * Cost per step: up to B K documents embedded, 2 B N D operations of scoring, and B K prompts that the reader reads: by far the
 * most. Each prompt is read once. Scores are kept in `--reader-cache`, by the texts and the reader, so that other runs, seeds and
 * arms of a comparison find them. Memory: the reader, and N rows of D numbers.
 *
 * Differs from the paper: the exponent is the mean log-probability per token, as in Atlas, where the paper prints the probability,
 * which is about 0 for long answers; KL(Q‖P) by default, as its code has it; encoders and data of any size.
 */
export const replugLsr: Method = {
  id: 'replug-lsr',
  aliases: ['replug', 'lsr'],
  summary: 'learns from a frozen language model which documents make the right answer likely',
  paper: {
    title: 'REPLUG: Retrieval-Augmented Black-Box Language Models',
    year: 2023,
    url: 'https://arxiv.org/abs/2301.12652',
  },
  options: OPTIONS,
  answers: true,
  heldOutMetrics: AGREEMENT_METRICS,
  check,
  describe,
  async start(context) {
    const loss = await ReaderLoss.load(context);
    try {
      return await TableMethod.start('replug-lsr', context, {
        options: candidateTable(context.options),
        loss,
      });
    } catch (error) {
      await loss.dispose();
      throw error;
    }
  },
};

function check(plan: RunPlan): void {
  const { reader, readerPrompt, goldCandidate, leaveOutPositives } = optionValues(OPTIONS, plan.options);
  if (reader === undefined) throw noReader();
  if (readerPrompt !== undefined) checkPrompt(readerPrompt);
  if (goldCandidate && leaveOutPositives) {
    throw new UsageError(`${option('goldCandidate')} and ${option('leaveOutPositives')} exclude each other`);
  }
  checkCandidates('replug-lsr', plan, {
    embedsPositives: goldCandidate,
    help: option('goldCandidate', true),
  });
}

function describe(plan: RunPlan): string[] {
  const { candidates: K, goldCandidate, kl } = optionValues(OPTIONS, plan.options);
  const gold = goldCandidate ? 1 : 0;
  const { updates, accumulate, batchSize: B, trainingQueries, documents: N } = plan;
  const pairs = Math.min(updates * accumulate * B * (K + gold), trainingQueries * N);
  return [
    ...describeCandidates(plan, {
      ...(goldCandidate && { beside: ' and its right one' }),
      positives: gold,
      loss: kl === 'forward' ? 'KL(reader‖retriever)' : 'KL(retriever‖reader)',
    }),
    `prompts that the reader reads: up to ${count(pairs)}, less those whose scores are kept`,
  ];
}
