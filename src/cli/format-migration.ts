import { formatMetrics } from '../eval/report.ts';
import type { ChosenCorrector } from '../migration/choose-corrector.ts';
import type { ComparedSearches, MigrationReport, ReportedThresholds } from '../migration/migration-report.ts';
import type { MigrationPlan } from '../migration/plan-migration.ts';
import type { RefittedThreshold } from '../migration/score-threshold.ts';
import { count, formatDuration, percent, plural } from '../util/format.ts';

/** Formats facts about the corrector of a migration as one line. */
export const formatChosen = ({
  direction,
  kind,
  sample,
  heldOutError,
  staleError,
  overlap,
}: ChosenCorrector): string =>
  `${direction === 'documents' ? 'old documents to the new space' : 'new queries to the old space'}: ` +
  `corrector ${kind}, fitted to ${count(sample)} passages; error on held-out passages ${heldOutError.toFixed(4)}` +
  `${staleError === null ? '' : ` (${staleError.toFixed(4)} without)`}; ` +
  `${percent(overlap)} of the 10 nearest as after full re-embedding\n`;

const describeThreshold = (name: string, { from, to, interval, value }: RefittedThreshold): string =>
  to === null
    ? `score ≥ ${from}, ${name}: no threshold keeps ${percent(value)}\n`
    : `score ≥ ${from}, ${name}: ${to.toFixed(4)} (95 % from ${interval![0].toFixed(4)} to ${interval![1].toFixed(4)}), keeps ${percent(value)}\n`;

/** Formats the plan of a migration. */
export function formatPlan(plan: MigrationPlan): string {
  const { missing, passages, seconds, passagesPerSecond, cpuHours, cost, oldOverlap, thresholds } = plan;
  return (
    `${count(missing)} of ${count(passages)} passages to embed, about ${formatDuration(1000 * seconds)} ` +
    `(${passagesPerSecond.toFixed(passagesPerSecond < 10 ? 1 : 0)} a second), ${cpuHours.toPrecision(2)} CPU hours` +
    `${cost === null ? '' : `, price ${cost < 1 ? cost.toPrecision(2) : cost.toFixed(2)}`}\n` +
    formatChosen(plan) +
    formatChosen(plan.queries) +
    `without a migration: ${percent(oldOverlap)}\n` +
    (thresholds
      ? describeThreshold('old documents moved', thresholds.mixed) +
        describeThreshold('new queries moved', thresholds.queries) +
        describeThreshold('all re-embedded', thresholds.full)
      : '')
  );
}

/** Formats the report of a migration. */
export function formatReport(report: MigrationReport): string {
  const { share, queries, part, thresholds, isComplete } = report;
  const newName = isComplete ? 'new model' : `new model, ${percent(share)} of the passages`;
  return (
    `${count(queries)} queries, ${percent(share)} of ${plural(report.passages, 'passage')} embedded by the new model\n` +
    formatMetrics(rowsOf(report, newName)) +
    (part
      ? `\non ${plural(part.passages, 'passage')}, ${count(part.relevant)} of them relevant, all embedded by the new model:\n` +
        formatMetrics(rowsOf(part, 'new model'))
      : '') +
    (thresholds ? `\n${formatThresholds(thresholds)}` : '')
  );
}

const rowsOf = (searches: ComparedSearches, newName: string) =>
  [
    { name: 'former model', metrics: searches.old },
    { name: 'old documents moved', metrics: searches.mixed },
    { name: 'new queries moved', metrics: searches.movedQueries },
    { name: 'mixed without corrector', metrics: searches.unmoved },
    { name: newName, metrics: searches.new },
  ].flatMap(({ name, metrics }) => (metrics ? [{ name, metrics }] : []));

function formatThresholds({ mixed, movedQueries, new: full }: ReportedThresholds): string {
  const named = { 'old documents moved': mixed, 'new queries moved': movedQueries, 'new model': full };
  return Object.entries(named)
    .map(([name, pair]) =>
      pair
        ? describeThreshold(`${name}, equal share`, pair.share) +
          describeThreshold(`${name}, equal precision`, pair.precision)
        : '',
    )
    .join('');
}
