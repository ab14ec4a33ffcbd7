import { parseRefreshPolicy } from '../../cache/refresh-policy.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import type { RunPlan } from '../contract/method.ts';
import { samplerOf } from './table-choice.ts';
import { type TableOptions, tableOptions, tableRows } from './table-options.ts';

/**
 * Checks the plan of a run over a score table, before anything is embedded.
 *
 * @throws UsageError where the loss form cannot use what the sampler draws or what the data gives, where options contradict each
 *   other, and where the table is smaller than a batch that has to enter it
 */
export const checkTablePlan = (plan: RunPlan): void => checkTable(plan, tableOptions(plan.options));

/**
 * Checks the options of a table, as {@link checkTablePlan} does.
 *
 * @throws UsageError as {@link checkTablePlan} does
 */
export function checkTable(
  { negativesPerQuery, batchSize, documents }: Pick<RunPlan, 'negativesPerQuery' | 'batchSize' | 'documents'>,
  options: TableOptions,
): void {
  samplerOf(options);
  const { loss, cacheSize, refresh, samples } = options;
  if (negativesPerQuery > 0 && loss !== undefined && loss !== 'truncated') {
    throw new UsageError(`the loss form ${loss} takes no negatives from the data`, {
      help: `use ${option('loss', 'truncated')}, or ${option('negatives', 0)}`,
    });
  }
  const rows = tableRows(cacheSize, documents);
  const { correctedRows = 0, correctedFrom = 'random' } = options;
  if (correctedFrom === 'shortlist' && (loss === 'expectation' || loss === 'importance-corrected')) {
    throw new UsageError(`the loss form ${loss} needs a partition function, which a shortlist has not`, {
      help: `use ${option('loss', 'truncated')}, or ${option('correctedFrom', 'random')}`,
    });
  }
  if (options.search === 'index' && options.corrector) {
    throw new UsageError(
      `${option('search', 'index')} finds rows as they are in the cache, and a corrector moves all of them before each step`,
      { help: `use ${option('search', 'exact')}, or a method without a corrector` },
    );
  }
  if (correctedFrom === 'shortlist' && correctedRows === 0) {
    throw new UsageError('a shortlist needs a number of rows', { help: `give ${option('correctedRows')}` });
  }
  const { auto } = parseRefreshPolicy(refresh);
  if (auto?.evidence === 'ess' && !(loss === 'importance-corrected' && samples > 1)) {
    throw new UsageError('refresh policy "auto:ess" needs several draws whose weights differ', {
      help: `use ${option('loss', 'importance-corrected')} and ${option('samples', 4)} or more, or auto:kl`,
    });
  }
  if (parseRefreshPolicy(refresh).stream) checkBatchFits({ batchSize, documents }, rows);
}

/**
 * Checks that a table can take in the positives of one batch.
 *
 * @throws UsageError where it cannot
 */
export function checkBatchFits(
  { batchSize, documents }: Pick<RunPlan, 'batchSize' | 'documents'>,
  rows: number,
): void {
  if (batchSize <= rows) return;
  // A cache never has more rows than there are documents, so that a larger one would not help.
  const help =
    batchSize <= documents
      ? `use ${option('cacheSize', batchSize)} or more`
      : documents < 2
        ? 'the data has only one document: give more data'
        : `the data has only ${documents} documents: use ${option('batchSize', documents)} or less`;
  throw new UsageError(`a batch of ${batchSize} documents does not fit into a cache of ${rows} rows`, {
    help,
  });
}
