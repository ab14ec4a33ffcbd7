import { READ_OPTIONS } from '../data/load-options.ts';
import { findMethod, methods } from '../methods/methods.ts';
import type { CrossEncoderTrainOptions } from '../train/cross-encoder/options.ts';
import { CROSS_ENCODER_METHOD } from '../train/options.ts';
import { describeRefreshes } from '../train/refresh-history.ts';
import type { TrainSettings } from '../train/settings.ts';
import { type TrainResult, trainRetriever } from '../train/train-retriever.ts';
import { commandLine } from '../util/command-line.ts';
import { UsageError } from '../util/errors.ts';
import { defineCommand } from './command.ts';
import { isPairMetrics } from './eval-scored-pairs.ts';
import { resumedOptions } from './resumed-options.ts';
import { computeOptions, givenOptions } from './shared-options.ts';
import { refuseCrossEncoderOptions, runCrossEncoderTraining } from './train-cross-encoder.ts';
import { TRAIN_OPTIONS } from './train-options.ts';
import { describeRun, ledgerText, trainingCallbacks } from './training-report.ts';

/** The command `undrift train`: trains a model on data and writes the model folder. */
export const trainCommand = defineCommand({
  description:
    'Writes the run to --out: settings.json, metrics.jsonl, tensorboard/, checkpoint/, and in model/ the best model by the ' +
    'evaluation metric. Ctrl-C saves and stops; --resume goes on to the same bytes as a run that was never stopped.',
  options: TRAIN_OPTIONS,
  config: true,
  stopsGracefully: true,
  examples: [
    '--data data/api-docs --out runs/first',
    '--data data/api-docs --out runs/bert --model transformer --layers 2 --hidden 256 --epochs 10',
    '--method crop --corpus texts.txt --out runs/pretrained --model transformer',
    '--model runs/first --store stores/docs --data data/api-docs --method negative-cache --out runs/second',
    '--method cross-encoder --model sentence-transformers/all-MiniLM-L6-v2 --data data/api-docs --out runs/reranker',
    '--out runs/bert --resume',
    '--config experiment.json --seed 2 --out runs/seed-2',
  ],
  async run({ resume, overwrite, device, threads, gradientCheckpointing, ...given }, io) {
    const compute = { ...computeOptions({ device, threads }), gradientCheckpointing };
    if (resume && overwrite) throw new UsageError('--resume and --overwrite exclude each other');
    const { corpus, ...named } = given;
    if (corpus !== undefined && named.data !== undefined)
      throw new UsageError('--data and --corpus exclude each other');
    if (corpus !== undefined && named.store !== undefined)
      throw new UsageError('--corpus and --store exclude each other: both give the documents');
    const asked = corpus === undefined ? named : { ...named, data: corpus };
    const options = resume
      ? await resumedOptions(asked, {
          table: TRAIN_OPTIONS,
          methods: [CROSS_ENCODER_METHOD, ...methods.map(({ id }) => id)],
          library: 'trainRetriever',
        })
      : asked;
    if (options.method === CROSS_ENCODER_METHOD) {
      const { method: _, ...others } = options;
      return await runCrossEncoderTraining(
        { ...(others as CrossEncoderTrainOptions), resume, overwrite },
        compute,
        io,
      );
    }
    const method = findMethod(options.method ?? 'in-batch');
    const onTexts = method.trainsOn === 'texts';
    if (corpus !== undefined && !onTexts) {
      throw new UsageError(`the method ${method.id} needs queries besides the documents of --corpus`, {
        help: 'give --data <folder>, or train on documents alone with --method crop',
      });
    }
    const data = options.data ?? (onTexts ? options.store : undefined);
    if (data === undefined) {
      throw new UsageError(onTexts ? '--corpus <file> is missing' : '--data <folder> is missing', {
        help: onTexts
          ? 'one document a line, JSONL with "text", or a data folder, whose corpus is read; or --store <folder>, whose passages are'
          : 'for a first try: undrift data api-docs --out data/api-docs',
      });
    }

    refuseCrossEncoderOptions(options);
    const result = await trainRetriever(
      { ...options, data, ...compute, resume, overwrite },
      trainingCallbacks(io),
    );
    io.finishProgress();
    const { settings } = result;
    const refreshes = describeRefreshes(result.refreshes);
    return {
      json: { ...result, out: settings.out },
      text:
        describeRun(result, settings) +
        `${refreshes ? `${refreshes}\n` : ''}` +
        `\n${ledgerText(result.ledger)}\n` +
        (settings.store === null ? '' : storeCommand(settings)) +
        (onTexts
          ? `go on from it: undrift train --model ${settings.out} --data <folder> --out <folder>\n`
          : nextCommand(result)),
    };
  },
});

/** Suggests a command to measure the model on the best split that there is, or else to search with it. */
function nextCommand({ settings, splits }: TrainResult): string {
  const { out, evalMetric, evalSplit, evalData, store } = settings;
  const data = evalData ?? settings.data;
  const reading = givenOptions(READ_OPTIONS, settings);
  const split = ['test', evalSplit, 'dev'].find((name) => splits.includes(name));
  const { missingDocuments: _, ...documents } = reading;
  if (store !== null && evalData === null) {
    return split === undefined
      ? ''
      : `then measure it: ${commandLine('eval', { store, data, split, ...documents })}\n`;
  }
  if (split === undefined) {
    return `try it: ${commandLine('search', { model: out, data, ...documents }, ['some text'])}\n`;
  }
  const metrics = isPairMetrics([evalMetric]) ? 'spearman,pearson' : undefined;
  return `measure it: ${commandLine('eval', { model: out, data, split, metrics, ...reading })}\n`;
}

/** Suggests a command to bring the vectors of a store into the space of the trained model. */
const storeCommand = ({ store, out }: TrainSettings): string =>
  `store its vectors: ${commandLine('migrate start', { store: store!, to: out })}\n`;
