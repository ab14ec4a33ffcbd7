import type { RetrievalData } from '../data/retrieval-data.ts';
import { UsageError } from '../util/errors.ts';
import { count } from '../util/format.ts';
import { option } from '../util/option-name.ts';
import type { TrainCallbacks } from './callbacks.ts';
import type { ExampleKind } from './examples/example-kind.ts';
import type { TrainSettings } from './settings.ts';

/** Value of `evalSplit` for no evaluation during training. */
export const NO_SPLIT = 'none';

/** Fingerprint of the data of a run: that of the data to train on, joined with that of other data to evaluate on. */
export const runFingerprint = (
  data: Pick<RetrievalData, 'fingerprint'>,
  evaluation: Pick<RetrievalData, 'fingerprint'>,
  isOther: boolean,
): string => (isOther ? `${data.fingerprint}+${evaluation.fingerprint}` : data.fingerprint);

/** Notes what the reader decided about data to evaluate on, and queries of it that are trained on too. */
export function noteOtherData(
  data: RetrievalData,
  evaluation: RetrievalData,
  { evalSplit, evalData }: Pick<TrainSettings, 'evalSplit' | 'evalData'>,
  { onNote }: TrainCallbacks,
): void {
  for (const note of evaluation.notes) onNote?.(`${evalData}: ${note}`);
  if (!evaluation.splits.includes(evalSplit) || data.queries === data.corpus) return;
  const rows = evaluation.examples(evalSplit).queryRows;
  const asked = new Set(Array.from(rows, (row) => evaluation.queries.text(row)));
  const trained = new Set<string>();
  for (const row of data.examples('train').queryRows) {
    const text = data.queries.text(row);
    if (asked.has(text)) trained.add(text);
  }
  if (trained.size > 0) {
    onNote?.(
      `${count(trained.size)} of the ${count(asked.size)} queries to evaluate on are trained on too: the metrics are higher than for new queries`,
    );
  }
}

/** Computes the updates and the batches of a run. A last update of fewer batches completes the epochs that were asked for. */
export function lengthOf(
  { steps, epochs, accumulate }: Pick<TrainSettings, 'steps' | 'epochs' | 'accumulate'>,
  { perEpoch }: { readonly perEpoch: number },
): { totalSteps: number; totalBatches: number } {
  if (steps !== null) return { totalSteps: steps, totalBatches: steps * accumulate };
  const totalBatches = Math.max(1, Math.round(epochs * perEpoch));
  return { totalSteps: Math.ceil(totalBatches / accumulate), totalBatches };
}

/**
 * Checks an evaluation split that the data does not have. Only the default split may be absent.
 *
 * @throws UsageError for a split that was asked for
 */
export function checkAbsentSplit(
  kind: Pick<ExampleKind, 'evalSplit' | 'ownSplits'>,
  evaluation: RetrievalData,
  { evalSplit: split, evalData }: Pick<TrainSettings, 'evalSplit' | 'evalData'>,
): void {
  if (split === NO_SPLIT || (split === kind.evalSplit && evalData === null)) return;
  const own = evalData === null ? kind.ownSplits : [];
  const present = [...new Set([...own, ...evaluation.splits])];
  throw new UsageError(`no split "${split}" to evaluate on during training`, {
    help: `splits present: ${present.join(', ')}; "${NO_SPLIT}" for no evaluation. ${option('evalSplit')} says which`,
  });
}
