import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { LANGUAGE_MODEL_OPTIONS, type LanguageModelTrainOptions } from '../train/language-model/options.ts';
import { LANGUAGE_MODEL_METHOD } from '../train/language-model/settings.ts';
import { trainLanguageModel } from '../train/language-model/train-language-model.ts';
import { FOLDER_OPTIONS } from '../train/options.ts';
import { UsageError } from '../util/errors.ts';
import { count } from '../util/format.ts';
import type { GivenOptions } from '../util/option-table.ts';
import { withoutDefaults } from '../util/option-table.ts';
import { defineCommand } from './command.ts';
import { resumedOptions } from './resumed-options.ts';
import { computeOptions } from './shared-options.ts';
import { describeRun, ledgerText, trainingCallbacks } from './training-report.ts';

const { data, ...OTHERS } = LANGUAGE_MODEL_OPTIONS;
const { required: _, ...DATA } = data;

/**
 * Options of `undrift lm train`. The table has no defaults: a resumed run has its own stored settings, and the library fills in the
 * defaults of a new run.
 */
const OPTIONS = {
  data: DATA,
  ...withoutDefaults(OTHERS),
  ...FOLDER_OPTIONS,
  ...COMPUTE_OPTIONS,
} as const;

/** The command `undrift lm train`: trains a language model on texts and writes the model folder. */
export const lmTrainCommand = defineCommand({
  name: 'train',
  summary: 'train a language model on texts',
  description:
    'Writes the run to --out: settings.json, metrics.jsonl, tensorboard/, checkpoint/, and in model/ the model with the lowest perplexity ' +
    'on texts that are held out, or on --eval-data. Ctrl-C saves and stops; --resume goes on to the same bytes as a run that was never stopped.',
  options: OPTIONS,
  config: true,
  stopsGracefully: true,
  examples: [
    '--data articles.jsonl.gz --out runs/llama --hidden 256 --layers 6 --epochs 2',
    '--data docs/ --out runs/tuned --model HuggingFaceTB/SmolLM2-135M --lora 8',
    '--out runs/llama --resume',
  ],
  async run({ resume, overwrite, device, threads, ...given }, io) {
    if (resume && overwrite) throw new UsageError('--resume and --overwrite exclude each other');
    const asked: GivenOptions<typeof OPTIONS> & { out: string } = given;
    const options = resume
      ? await resumedOptions(asked, {
          table: LANGUAGE_MODEL_OPTIONS,
          methods: [LANGUAGE_MODEL_METHOD],
          library: 'trainLanguageModel',
        })
      : asked;
    if (options.data === undefined) {
      throw new UsageError('--data <path> is missing', {
        help: 'JSONL with a column text, text files, or a folder of them',
      });
    }
    const result = await trainLanguageModel(
      {
        ...(options as LanguageModelTrainOptions),
        ...computeOptions({ device, threads }),
        resume,
        overwrite,
      },
      trainingCallbacks(io),
    );
    io.finishProgress();
    const { settings, ledger, parameters } = result;
    const split = settings.evalData ?? 'held-out texts';
    return {
      json: { ...result, out: settings.out },
      text:
        describeRun(result, { evalMetric: 'perplexity', evalSplit: split }) +
        `${count(parameters)} parameters\n\n${ledgerText(ledger)}\n`,
    };
  },
});
