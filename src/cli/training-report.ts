import { tableAsText } from '../compare/tables.ts';
import { ledgerRows } from '../objective/ledger-rows.ts';
import type { TrainCallbacks } from '../train/callbacks.ts';
import type { RunResult } from '../train/run.ts';
import { count, formatDuration } from '../util/format.ts';
import { asFlags } from '../util/option-name.ts';
import { formatDiagnosis } from './format-diagnosis.ts';
import type { Io } from './io.ts';
import { loadProgress } from './model-source.ts';
import { TrainingProgress } from './training-progress.ts';

/** Makes the callbacks with which a command shows a run. */
export function trainingCallbacks(io: Io): TrainCallbacks {
  const progress = new TrainingProgress(io);
  const loading = loadProgress(io);
  return {
    signal: io.signal,
    onNote: (note, marked = note) => io.log(asFlags(marked)),
    onProgress: (each) => (each.unit === 'bytes' ? loading(each) : progress.stage(each)),
    onBackground: (each) => progress.background(each),
    onStep: (report) => progress.step(report),
    onDiagnosis: (diagnosis) => {
      for (const line of formatDiagnosis(diagnosis)) io.log(line);
    },
    onBaseline: ({ name, metrics }) => io.log(`${name}: ${formatValues(metrics)}`),
    onEvaluation: ({ step, metrics, best }) => {
      io.log(`step ${step}: ${formatValues(metrics)}${best ? ' (best)' : ''}`);
    },
  };
}

const formatValues = (metrics: Readonly<Record<string, number>>): string =>
  Object.entries(metrics)
    .map(([name, value]) => `${name} ${value.toFixed(4)}`)
    .join(', ');

/** Describes a run that has ended: its model, its length, and its best evaluation beside the baseline. */
export function describeRun(
  { model, steps, seconds, stoppedEarly, best, baseline }: RunResult & { readonly model: string },
  { evalMetric, evalSplit }: { readonly evalMetric: string; readonly evalSplit: string },
): string {
  const theirs = baseline?.metrics[evalMetric];
  const found =
    best.value === null
      ? 'not evaluated'
      : `best ${evalMetric} on ${evalSplit} ${best.value.toFixed(4)} at step ${best.step}${theirs === undefined ? '' : `, ${baseline!.name} ${theirs.toFixed(4)}`}`;
  return `${model}\n${count(steps)} steps in ${formatDuration(seconds * 1000)}${stoppedEarly ? ', stopped early' : ''}; ${found}\n`;
}

/** Lays out the costs of a run as a table. */
export function ledgerText(ledger: Readonly<Record<string, number>>): string {
  const rows = ledgerRows(ledger).map(({ name, amount, share }) =>
    share === undefined ? [name, amount, ''] : [`  ${name}`, amount, share],
  );
  return tableAsText({ header: ['what it cost', '', ''], rows });
}
