import { candidatesPerQuery } from '../../cache/corrected-distribution.ts';
import { parseRefreshPolicy } from '../../cache/refresh-policy.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import type { RunPlan } from '../contract/method.ts';
import { samplerOf } from './table-choice.ts';
import { type TableOptions, tableOptions, tableRows } from './table-options.ts';

/** Fewest candidates of a query, and fewest for each of its draws, with which draws from corrected rows are of use. */
const FEWEST_CANDIDATES = 8;
const CANDIDATES_PER_DRAW = 2;

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
  if (options.search === 'index' && options.corrector) checkDrawnRows(batchSize, options);
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
 * Checks the rows that are corrected as an index draws them.
 *
 * @throws UsageError where their choice needs the scores of all rows, and where there are too few for the draws
 */
function checkDrawnRows(
  batchSize: number,
  { correctedRows = 0, correctedFrom, samples }: TableOptions,
): void {
  if (correctedFrom === 'shortlist') {
    throw new UsageError(
      `${option('correctedFrom', 'shortlist')} scores all rows of the cache, and ${option('search', 'index')} corrects the rows that it draws`,
      { help: `leave ${option('correctedFrom')} out, or use ${option('search', 'exact')}` },
    );
  }
  const fewest = Math.max(FEWEST_CANDIDATES, CANDIDATES_PER_DRAW * samples);
  if (correctedRows === 0 || candidatesPerQuery(samples, batchSize, correctedRows) >= fewest) return;
  throw new UsageError(
    `${option('correctedRows', correctedRows)} leaves a batch of ${batchSize} queries fewer than ${fewest} candidates each`,
    { help: `use ${option('correctedRows', fewest * batchSize)} or more, or 0 for the default` },
  );
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
