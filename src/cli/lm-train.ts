import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { LANGUAGE_MODEL_OPTIONS, type LanguageModelTrainOptions } from '../train/language-model/options.ts';
import { LANGUAGE_MODEL_METHOD } from '../train/language-model/settings.ts';
import { trainLanguageModel } from '../train/language-model/train-language-model.ts';
import { FOLDER_OPTIONS } from '../train/options.ts';
import { RETRO_TRAIN_OPTIONS, type RetroTrainOptions } from '../train/retro/options.ts';
import { RETRO_METHOD, trainRetro } from '../train/retro/train-retro.ts';
import { findRunSettings } from '../train/run-folder.ts';
import { UsageError } from '../util/errors.ts';
import { count } from '../util/format.ts';
import { option } from '../util/option-name.ts';
import type { GivenOptions } from '../util/option-table.ts';
import { withoutDefaults } from '../util/option-table.ts';
import { defineCommand } from './command.ts';
import { resumedOptions } from './resumed-options.ts';
import { computeOptions } from './shared-options.ts';
import { describeRun, ledgerText, trainingCallbacks } from './training-report.ts';

const { data, ...OTHERS } = LANGUAGE_MODEL_OPTIONS;
const { required: _, ...DATA } = data;
const RETRO_ONLY = Object.fromEntries(
  Object.entries(RETRO_TRAIN_OPTIONS).filter(([name]) => !Object.hasOwn(LANGUAGE_MODEL_OPTIONS, name)),
) as Omit<typeof RETRO_TRAIN_OPTIONS, keyof typeof LANGUAGE_MODEL_OPTIONS>;

/** Ways of training, by the values of `--method`: the options of each, and the function of the library that trains. */
const METHODS = {
  [LANGUAGE_MODEL_METHOD]: { table: LANGUAGE_MODEL_OPTIONS, library: 'trainLanguageModel' },
  [RETRO_METHOD]: { table: RETRO_TRAIN_OPTIONS, library: 'trainRetro' },
} as const;
type MethodName = keyof typeof METHODS;

/**
 * Options of `undrift lm train`. The table has no defaults: a resumed run has its own stored settings, and the library fills in the
 * defaults of a new run.
 */
const OPTIONS = {
  data: DATA,
  ...withoutDefaults({
    method: {
      type: 'choice',
      choices: Object.keys(METHODS) as MethodName[],
      default: LANGUAGE_MODEL_METHOD,
      help: `what is trained: a language model, or, with ${RETRO_METHOD}, parts beside a given model that read neighbours of the text`,
    },
    ...OTHERS,
    ...RETRO_ONLY,
  }),
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
    '--method retro --model runs/llama --data articles.jsonl.gz --chunk-tokens 16 --out runs/retro',
    '--out runs/llama --resume',
  ],
  async run({ resume, overwrite, device, threads, ...given }, io) {
    if (resume && overwrite) throw new UsageError('--resume and --overwrite exclude each other');
    const { method: named, ...asked }: GivenOptions<typeof OPTIONS> & { out: string } = given;
    const method = await methodOf(named, resume ? asked.out : undefined);
    const { table, library } = METHODS[method];
    checkTaken(method, asked);
    const merged = resume ? await resumedOptions(asked, { table, methods: [method], library }) : asked;
    if (merged.data === undefined) {
      throw new UsageError('--data <path> is missing', {
        help: 'JSONL with a column text, text files, or a folder of them',
      });
    }
    const options = { ...merged, ...computeOptions({ device, threads }), resume, overwrite };
    if (method === RETRO_METHOD) {
      const result = await trainRetro(options as RetroTrainOptions, trainingCallbacks(io));
      io.finishProgress();
      const split = String(result.settings.evalData);
      return {
        json: { ...result, out: asked.out },
        text: `${describeRun(result, { evalMetric: 'perplexity', evalSplit: split })}\n${ledgerText(result.ledger)}\n`,
      };
    }
    const result = await trainLanguageModel(options as LanguageModelTrainOptions, trainingCallbacks(io));
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

/** Returns the way of training: the one that was asked for, else that of the run to resume, else the default. */
async function methodOf(named: MethodName | undefined, resumed: string | undefined): Promise<MethodName> {
  if (named !== undefined) return named;
  const stored = resumed === undefined ? undefined : (await findRunSettings(resumed))?.method;
  return stored === RETRO_METHOD ? RETRO_METHOD : LANGUAGE_MODEL_METHOD;
}

/** Checks that every given option is one of the method. */
function checkTaken(method: MethodName, given: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || Object.hasOwn(METHODS[method].table, name)) continue;
    throw new UsageError(`${option('method', method)} takes no ${option(name)}`, {
      help: `leave it out, or choose another ${option('method')}: ${Object.keys(METHODS).join(', ')}`,
    });
  }
}
