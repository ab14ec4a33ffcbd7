/**
 * Trains with some options and measures the steps after the first ones, in a separate process:
 *
 *     measure-run.ts JSON
 *
 * The JSON has `options` of `trainRetriever`, the shape of the texts (`jointData`), and the steps to leave out and to measure.
 */
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TrainOptions } from '../../src/train/options.ts';
import { trainRetriever } from '../../src/train/train-retriever.ts';
import { report } from '../fresh-process.ts';
import { jointData, type TextShape } from './cases.ts';

/** What to train and to measure. */
export interface RunToMeasure {
  readonly options: Partial<TrainOptions> & { readonly threads: number };
  readonly texts: TextShape;
  readonly warmUp: number;
  readonly steps: number;
}

/** Measured run. */
export interface MeasuredRun {
  readonly timesMs: readonly number[];
  /** Costs of a step by name, the mean of the measured ones. */
  readonly ledger: Readonly<Record<string, number>>;
  readonly losses: readonly number[];
  readonly startResidentBytes: number;
  readonly peakResidentBytes: number;
  readonly version: string;
}

const startResidentBytes = process.resourceUsage().maxRSS * 1024;
const { options, texts, warmUp, steps } = JSON.parse(process.argv[2]!) as RunToMeasure;
const out = join(tmpdir(), `undrift-bench-joint-${process.pid}`);
const marks: number[] = [];
const losses: number[] = [];
/** Costs so far, after each step. */
const ledgers: Readonly<Record<string, number>>[] = [];
/** Trains for a number of steps. */
async function train(count: number): Promise<void> {
  for (const list of [marks, losses, ledgers]) list.length = 0;
  const settings = {
    ...options,
    data: jointData(texts),
    out,
    steps: count,
    overwrite: true,
    evalSplit: 'none',
  };
  await trainRetriever(settings, {
    onStep: ({ metrics, ledger }) => {
      marks.push(performance.now());
      losses.push(metrics.readerLoss ?? metrics.answerNats ?? Number.NaN);
      ledgers.push({ ...ledger });
    },
  });
}
try {
  // A first run warms the process up. Of the second, the first steps are left out: what a run costs once is among them.
  await train(warmUp);
  await train(warmUp + steps);
  const timesMs = marks.slice(warmUp).map((mark, i) => mark - marks[warmUp - 1 + i]!);
  const [first, all] = [ledgers[warmUp - 1]!, ledgers.at(-1)!];
  report({
    ...{ timesMs, losses: [...losses], startResidentBytes },
    ledger: Object.fromEntries(
      Object.entries(all).map(([name, value]) => [name, (value - (first[name] ?? 0)) / steps]),
    ),
    peakResidentBytes: process.resourceUsage().maxRSS * 1024,
    version: `Undrift, Node ${process.version}`,
  } satisfies MeasuredRun);
} finally {
  rmSync(out, { recursive: true, force: true });
}
