import { describeLexical, isLexical } from '../../text/lexical-rankers.ts';
import { count, plural } from '../../util/format.ts';
import { optionValues } from '../../util/option-table.ts';
import { batchDocuments, describeEncodes, inBatchNegatives } from '../contract/describe-run.ts';
import type { RunPlan } from '../contract/method.ts';
import { type Miner, SELF } from './mined-negatives.ts';
import { MINED_OPTIONS } from './mining-options.ts';

/**
 * Describes a run on mined negatives: what it trains against, who mines, and what that costs.
 *
 * @param mining.from  ranker before the first step, with its options
 * @param mining.every  updates between minings by the current weights; 0 for never
 */
export function describeMining(plan: RunPlan, { from, lexical, every }: Miner & { every: number }): string[] {
  const { samples, rankFrom, rankTo } = optionValues(MINED_OPTIONS, plan.options);
  // BM25 and TF-IDF embed nothing, and a given model embeds all documents before the first step.
  const each = plan.documents;
  const embeds = !isLexical(from);
  const ranker = isLexical(from)
    ? describeLexical(from, lexical ?? {})
    : from === SELF
      ? 'the model itself'
      : from;
  return [
    `${inBatchNegatives(plan)}, and ${count(samples)} mined for each of its queries`,
    `mined from the ranks ${count(rankFrom)} to ${count(rankTo - 1)} of ${ranker} before the first step` +
      `${every > 0 ? `, and by the weights as they then are every ${plural(every, 'step')}` : ''}`,
    describeEncodes(plan, {
      before: embeds ? each - (from === SELF ? (plan.storedDocuments ?? 0) : 0) : 0,
      perBatch: batchDocuments(plan) + plan.batchSize * samples,
      every: every > 0 ? [{ updates: every, documents: each }] : [],
      atMost: true,
    }),
  ];
}
