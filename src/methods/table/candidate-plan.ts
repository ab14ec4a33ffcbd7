import { describeRefresh, parseRefreshPolicy } from '../../cache/refresh-policy.ts';
import { UsageError } from '../../util/errors.ts';
import { count, formatBytes, plural } from '../../util/format.ts';
import { option } from '../../util/option-name.ts';
import { optionValues, pickOptions, withDefaults } from '../../util/option-table.ts';
import { describeEncodes } from '../contract/describe-run.ts';
import type { MethodOptionValues, RunPlan } from '../contract/method.ts';
import { checkTable } from './check-table-plan.ts';
import { READER_OPTIONS } from './reader-options.ts';
import {
  CACHE_OPTIONS,
  CORRECTOR_OPTIONS,
  RERANK_OPTIONS,
  type TableOptions,
  tableOptions,
  tableRows,
} from './table-options.ts';

const { prefill: _filled, ...KEPT_OPTIONS } = CACHE_OPTIONS;
const { uniformSteps: _uniform, ...MOVED_OPTIONS } = CORRECTOR_OPTIONS;

/** Options of methods whose candidates are the best documents of a table. */
export const CANDIDATE_OPTIONS = {
  ...pickOptions(READER_OPTIONS, 'candidates'),
  ...RERANK_OPTIONS,
  ...KEPT_OPTIONS,
  ...withDefaults(MOVED_OPTIONS, { corrector: 'identity' }),
};

/** Returns the options of the table. Its best documents are taken; without a corrector nothing is taught or moved. */
export function candidateTable(given: MethodOptionValues): TableOptions {
  const { candidates, overRetrieve } = optionValues(CANDIDATE_OPTIONS, given);
  const { corrector = 'identity', ...table } = tableOptions(given);
  const own = {
    ...table,
    loss: undefined,
    sampler: 'top',
    samples: overRetrieve > 0 ? overRetrieve : candidates,
    ...(overRetrieve > 0 && { rerankTo: candidates }),
    uniformSamples: 0,
    prefill: true,
  } as const;
  return corrector === 'identity' ? own : { ...own, corrector };
}

/**
 * Checks a run over candidates of a table, before anything is loaded or embedded.
 *
 * @param of.embedsPositives  whether a step embeds right documents of the data
 * @param of.help  way of making it embed them, where there is one
 * @throws UsageError for negatives of the data, for a refresh policy that needs positives or draws, for too few documents to rank
 *   afresh, and as `checkTable`
 */
export function checkCandidates(
  id: string,
  plan: RunPlan,
  { embedsPositives = false, help }: { embedsPositives?: boolean; help?: string } = {},
): void {
  if (plan.negativesPerQuery > 0) {
    throw new UsageError(`${id} takes no negatives from the data`, { help: `use ${option('negatives', 0)}` });
  }
  const { refresh, candidates, overRetrieve } = optionValues(CANDIDATE_OPTIONS, plan.options);
  const { stream, auto } = parseRefreshPolicy(refresh);
  if (stream && !embedsPositives) {
    throw new UsageError(
      'the refresh policy "stream" puts right documents into the cache, which this method does not embed',
      { help: `use another ${option('refresh')}${help ? `, or ${help}` : ''}` },
    );
  }
  if (auto?.evidence === 'ess') {
    throw new UsageError('refresh policy "auto:ess" needs negatives that are drawn, and candidates are not', {
      help: 'use auto:kl',
    });
  }
  if (plan.frozenRetriever) checkFrozenTable(plan.options);
  if (overRetrieve > 0 && overRetrieve <= candidates) {
    throw new UsageError(
      `${option('overRetrieve', overRetrieve)} leaves nothing to choose ${option('candidates', candidates)} from`,
      { help: `use ${option('overRetrieve', 4 * candidates)}, or 0 for off` },
    );
  }
  checkTable(plan, candidateTable(plan.options));
}

/**
 * Checks the table of a retriever that is frozen: its rows never age.
 *
 * @throws UsageError for options that keep a table fresh
 */
function checkFrozenTable(given: MethodOptionValues): void {
  const { refresh, corrector, overRetrieve } = optionValues(CANDIDATE_OPTIONS, given);
  const asked =
    refresh !== 'never'
      ? option('refresh', refresh)
      : corrector !== 'identity'
        ? option('corrector', corrector)
        : overRetrieve > 0
          ? option('overRetrieve', overRetrieve)
          : undefined;
  if (asked === undefined) return;
  throw new UsageError(`${asked} keeps embeddings fresh, and those of a frozen retriever do not age`, {
    help: `leave it out, or train a part of the retriever (${option('freeze')})`,
  });
}

/**
 * Describes the candidates of a run, their table and what is embedded: one sentence a line.
 *
 * @param of.beside  candidates beside those of the table, in words
 * @param of.positives  right documents that a step embeds for each query
 * @param of.loss  loss over the candidates, in words
 */
export function describeCandidates(
  plan: RunPlan,
  { beside = '', positives = 0, loss }: { beside?: string; positives?: number; loss: string },
): string[] {
  const options = optionValues(CANDIDATE_OPTIONS, plan.options);
  const { batchSize: B, documents: N, dimension: D, storedDocuments = 0 } = plan;
  const { candidates: K, corrector, refresh, cacheSize, cacheStorage, overRetrieve: L } = options;
  const rows = tableRows(cacheSize, N);
  const policy = parseRefreshPolicy(refresh);
  const bytes = formatBytes(rows * D * (cacheStorage === 'f16' ? 2 : 4));
  const isCorrected = corrector !== 'identity';
  const teaching = isCorrected ? Math.min(options.teachingSamples, rows) : 0;
  const again = options.writeBackWithoutDropout && plan.dropoutRatio > 0 ? 2 : 1;
  return [
    `the best ${plural(K, 'document')} a query${beside} from a table of ${rows === N ? `all ${count(N)}` : `${count(rows)} of ${count(N)}`} documents ` +
      `(${count(rows)} × ${count(D)} ${cacheStorage}, ${bytes}); ${loss}`,
    plan.frozenRetriever
      ? 'the table: filled before the first step; the retriever is frozen, so that it stays right and steps read candidates from it'
      : `the table: ${['filled before the first step', ...describeRefresh(policy)].join('; ')}`,
    ...(isCorrected
      ? [
          `all rows moved by ${corrector} before each step${teaching > 0 ? `, which learns from ${plural(teaching, 'random document')} a step too` : ''}`,
        ]
      : []),
    ...(L > 0
      ? [`the table proposes ${count(L)} documents a query, which are embedded afresh and ranked`]
      : []),
    describeEncodes(plan, {
      before: Math.min(rows, N - storedDocuments),
      perBatch: plan.frozenRetriever ? 0 : (B * (K + positives) + teaching) * again + B * L,
      perUpdate: policy.fraction ? Math.ceil(policy.fraction.ratio * rows) : 0,
      every: [policy.every, policy.async?.every].flatMap((updates) =>
        updates ? [{ updates, documents: rows }] : [],
      ),
      atMost: true,
    }),
  ];
}
