import type { ChosenCorrector } from '../migration/choose-corrector.ts';
import type { MigrationPlan } from '../migration/migrate-store.ts';
import { count, formatDuration } from '../util/format.ts';

/** Formats facts about the corrector of a migration as one line. */
export const formatChosen = ({
  kind,
  sample,
  heldOutError,
  staleError,
  overlap,
}: ChosenCorrector): string =>
  `corrector ${kind}, fitted to ${count(sample)} passages: error on held-out passages ${heldOutError.toFixed(4)}` +
  `${staleError === null ? '' : ` (${staleError.toFixed(4)} without)`}, ` +
  `${(100 * overlap).toFixed(1)} % of the 10 nearest kept\n`;

/** Formats a plan of a migration as two lines. */
export const formatPlan = (plan: MigrationPlan): string =>
  `${count(plan.missing)} of ${count(plan.passages)} passages to embed, about ${formatDuration(1000 * plan.seconds)} ` +
  `(${plan.passagesPerSecond.toFixed(0)} a second)\n${formatChosen(plan)}`;
