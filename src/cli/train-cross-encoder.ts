import { READ_OPTIONS } from '../data/load-options.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { CROSS_ENCODER_OPTIONS, type CrossEncoderTrainOptions } from '../train/cross-encoder/options.ts';
import {
  type CrossEncoderTrainResult,
  trainCrossEncoder,
} from '../train/cross-encoder/train-cross-encoder.ts';
import { CROSS_ENCODER_METHOD } from '../train/options.ts';
import { commandLine } from '../util/command-line.ts';
import { UsageError } from '../util/errors.ts';
import type { CommandResult } from './command.ts';
import { isPairMetrics } from './eval-scored-pairs.ts';
import type { Io } from './io.ts';
import { flagOf } from './options.ts';
import { givenOptions } from './shared-options.ts';
import { describeRun, ledgerText, trainingCallbacks } from './training-report.ts';

/** Trains a cross-encoder: `undrift train --method cross-encoder`. */
export async function runCrossEncoderTraining(
  options: Omit<CrossEncoderTrainOptions, keyof ComputeOptions>,
  compute: ComputeOptions,
  io: Io,
): Promise<CommandResult> {
  const result = await trainCrossEncoder({ ...options, ...compute }, trainingCallbacks(io));
  io.finishProgress();
  const { settings, ledger } = result;
  const named = { ...settings, evalMetric: settings.evalMetric! };
  return {
    json: { ...result, out: settings.out },
    text: `${describeRun(result, named)}\n${ledgerText(ledger)}\n${nextCommand(result)}`,
  };
}

/** Suggests a command that measures the model as a reranker. */
function nextCommand({ settings, splits }: CrossEncoderTrainResult): string {
  const { out, evalMetric, evalSplit, evalData } = settings;
  const split = ['test', evalSplit, 'dev'].find((name) => splits.includes(name));
  if (split === undefined || isPairMetrics([evalMetric!])) {
    return `rerank with it: undrift search --model bm25 --data <folder> --rerank ${out} "some text"\n`;
  }
  const data = evalData ?? settings.data;
  const reading = givenOptions(READ_OPTIONS, settings as never);
  return `measure it: ${commandLine('eval', { model: 'bm25', rerank: out, data, split, ...reading })}\n`;
}

/**
 * Refuses options of cross-encoders where something else is trained.
 *
 * @throws UsageError for the first of them that is given
 */
export function refuseCrossEncoderOptions(given: object): void {
  const values = given as Readonly<Record<string, unknown>>;
  for (const [name, spec] of Object.entries(CROSS_ENCODER_OPTIONS)) {
    if (values[name] === undefined) continue;
    throw new UsageError(`${flagOf(name, spec)} is for --method ${CROSS_ENCODER_METHOD}`);
  }
}
