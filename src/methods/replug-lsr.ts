import { describeRefresh, parseRefreshPolicy } from '../cache/refresh-policy.ts';
import { UsageError } from '../util/errors.ts';
import { count, formatBytes, plural } from '../util/format.ts';
import { option } from '../util/option-name.ts';
import { type OptionValues, optionValues, withDefaults } from '../util/option-table.ts';
import { describeEncodes } from './contract/describe-run.ts';
import type { Method, MethodOptionValues, RunPlan } from './contract/method.ts';
import { checkTable } from './table/check-table-plan.ts';
import { AGREEMENT_METRICS } from './table/reader-agreement.ts';
import { noReader, ReaderLoss } from './table/reader-loss.ts';
import { READER_OPTIONS } from './table/reader-options.ts';
import { TableMethod } from './table/table-method.ts';
import {
  CACHE_OPTIONS,
  CORRECTOR_OPTIONS,
  type TableOptions,
  tableOptions,
  tableRows,
} from './table/table-options.ts';

const { prefill: _filled, ...KEPT_OPTIONS } = CACHE_OPTIONS;
const { uniformSteps: _uniform, ...MOVED_OPTIONS } = CORRECTOR_OPTIONS;

const OPTIONS = {
  ...READER_OPTIONS,
  ...KEPT_OPTIONS,
  ...withDefaults(MOVED_OPTIONS, { corrector: 'identity' }),
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
 * (`--refresh every:3000`). All refresh policies apply, and so does a corrector (`--corrector mlp`), which moves the table's rows to
 * where they would be now before the candidates are chosen. The data needs answers: `answers.jsonl` beside the queries, or a column
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
      return await TableMethod.start('replug-lsr', context, { options: ownTable(context.options), loss });
    } catch (error) {
      await loss.dispose();
      throw error;
    }
  },
};

/** Options of the table: the best K documents are taken; without a corrector nothing is taught or moved. */
function ownTable(given: MethodOptionValues): TableOptions {
  const { candidates: samples } = optionValues(READER_OPTIONS, given);
  const { corrector = 'identity', ...table } = tableOptions(given);
  const own = {
    ...table,
    loss: undefined,
    sampler: 'top',
    samples,
    uniformSamples: 0,
    prefill: true,
  } as const;
  return corrector === 'identity' ? own : { ...own, corrector };
}

function check(plan: RunPlan): void {
  const options = optionValues(OPTIONS, plan.options);
  if (options.reader === undefined) throw noReader();
  if (options.goldCandidate && options.leaveOutPositives) {
    throw new UsageError(`${option('goldCandidate')} and ${option('leaveOutPositives')} exclude each other`);
  }
  if (plan.negativesPerQuery > 0) {
    throw new UsageError('replug-lsr takes no negatives from the data', {
      help: `use ${option('negatives', 0)}`,
    });
  }
  const { stream, auto } = parseRefreshPolicy(options.refresh);
  if (stream && !options.goldCandidate) {
    throw new UsageError(
      'the refresh policy "stream" puts right documents into the cache, which this method does not embed',
      {
        help: `use another ${option('refresh')}, or ${option('goldCandidate', true)}`,
      },
    );
  }
  if (auto?.evidence === 'ess') {
    throw new UsageError('refresh policy "auto:ess" needs negatives that are drawn, and candidates are not', {
      help: 'use auto:kl',
    });
  }
  checkTable(plan, ownTable(plan.options));
}

function describe(plan: RunPlan): string[] {
  const options: OptionValues<typeof OPTIONS> = optionValues(OPTIONS, plan.options);
  const { batchSize: B, documents: N, dimension: D, storedDocuments = 0 } = plan;
  const { candidates: K, corrector, refresh, cacheSize, cacheStorage } = options;
  const rows = tableRows(cacheSize, N);
  const gold = options.goldCandidate ? 1 : 0;
  const policy = parseRefreshPolicy(refresh);
  const bytes = formatBytes(rows * D * (cacheStorage === 'f16' ? 2 : 4));
  const isCorrected = corrector !== 'identity';
  const teaching = isCorrected ? Math.min(options.teachingSamples, rows) : 0;
  const again = options.writeBackWithoutDropout && plan.dropoutRatio > 0 ? 2 : 1;
  const pairs = Math.min(plan.updates * plan.accumulate * B * (K + gold), plan.trainingQueries * N);
  return [
    `the best ${plural(K, 'document')} a query${gold ? ' and its right one' : ''} from a table of ${rows === N ? `all ${count(N)}` : `${count(rows)} of ${count(N)}`} documents ` +
      `(${count(rows)} × ${count(D)} ${cacheStorage}, ${bytes}); ${options.kl === 'forward' ? 'KL(reader‖retriever)' : 'KL(retriever‖reader)'}`,
    `the table: ${['filled before the first step', ...describeRefresh(policy)].join('; ')}`,
    ...(isCorrected
      ? [
          `all rows moved by ${corrector} before each step${teaching > 0 ? `, which learns from ${plural(teaching, 'random document')} a step too` : ''}`,
        ]
      : []),
    describeEncodes(plan, {
      before: Math.min(rows, N - storedDocuments),
      perBatch: (B * (K + gold) + teaching) * again,
      perUpdate: policy.fraction ? Math.ceil(policy.fraction.ratio * rows) : 0,
      every: [policy.every, policy.async?.every].flatMap((updates) =>
        updates ? [{ updates, documents: rows }] : [],
      ),
      atMost: true,
    }),
    `prompts that the reader reads: up to ${count(pairs)}, less those whose scores are kept`,
  ];
}
