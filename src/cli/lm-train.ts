import { TRAIN_COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import type { LanguageTraining } from '../train/language-methods/language-training.ts';
import { languageTrainings } from '../train/language-methods/language-trainings.ts';
import { FOLDER_OPTIONS, SUBJECT_OPTIONS } from '../train/options.ts';
import { findRunSettings } from '../train/run-folder.ts';
import { UsageError } from '../util/errors.ts';
import { count } from '../util/format.ts';
import { option } from '../util/option-name.ts';
import { type OptionSpec, type OptionTable, withoutDefaults } from '../util/option-table.ts';
import { defineCommand } from './command.ts';
import { resumedOptions } from './resumed-options.ts';
import { computeOptions } from './shared-options.ts';
import { describeRun, ledgerText, trainingCallbacks } from './training-report.ts';

const DEFAULT = languageTrainings[0]!;

/**
 * Options of all ways of training, without defaults. One that several of them have is shown as the first has it, with all defaults, and
 * takes what any of them takes.
 */
function trainingOptions(): Record<string, OptionSpec> {
  const table: Record<string, OptionSpec> = {};
  for (const { options } of languageTrainings) {
    for (const [name, spec] of Object.entries(withoutDefaults(options) as OptionTable)) {
      const known = table[name];
      table[name] = known ? joined(known, spec) : spec;
    }
  }
  for (const [name, spec] of Object.entries(table)) {
    const shown = defaultsOf(name);
    if (shown !== undefined) table[name] = { ...spec, defaultHelp: shown };
  }
  return table;
}

const WIDER = { min: Math.min, above: Math.min, max: Math.max, below: Math.max };

/** Widens the bounds and choices of an option to those of another way of training. Each way checks its own. */
function joined(one: OptionSpec, other: OptionSpec): OptionSpec {
  const fields: Record<string, unknown> = { ...one };
  const [mine, theirs] = [one, other] as unknown as Record<string, unknown>[];
  for (const [name, wider] of Object.entries(WIDER)) {
    const [a, b] = [mine![name], theirs![name]];
    if (a === undefined) continue;
    if (b === undefined) delete fields[name];
    else fields[name] = wider(a as number, b as number);
  }
  if (one.type === 'choice' && other.type === 'choice')
    fields.choices = [...new Set([...one.choices, ...other.choices])];
  return fields as unknown as OptionSpec;
}

/** Describes the defaults of an option: that of the first way of training that has one, and those of ways that have another. */
function defaultsOf(name: string): string | undefined {
  const ids = new Map<string, string[]>();
  for (const { id, options } of languageTrainings) {
    const shown = (withoutDefaults(options)[name] as OptionSpec | undefined)?.defaultHelp;
    if (shown !== undefined) ids.set(shown, [...(ids.get(shown) ?? []), id]);
  }
  const [first, ...others] = [...ids];
  if (!first) return undefined;
  return [first[0], ...others.map(([shown, of]) => `(${of.join(', ')}: ${shown})`)].join(' ');
}

const { data, out: _out, ...OTHERS } = trainingOptions();
// A resumed run has its data in its settings.
const { required: _required, ...DATA } = data!;

/**
 * Options of `undrift lm train`. The table has no defaults: a resumed run has its own stored settings, and the library fills in the
 * defaults of a new run.
 */
const OPTIONS = {
  data: DATA as OptionSpec,
  method: {
    type: 'choice',
    choices: languageTrainings.map(({ id }) => id),
    defaultHelp: DEFAULT.id,
    help: `what is trained: ${languageTrainings.map(({ id, trains }) => `${id}, ${trains}`).join('; ')}`,
  },
  out: SUBJECT_OPTIONS.out,
  ...OTHERS,
  ...FOLDER_OPTIONS,
  ...TRAIN_COMPUTE_OPTIONS,
} as const;

/** The command `undrift lm train`: trains a language model on texts and writes the model folder. */
export const lmTrainCommand = defineCommand({
  description:
    'Writes the run to --out: settings.json, metrics.jsonl, tensorboard/, checkpoint/, and in model/ the best model: that of the lowest ' +
    'perplexity on texts that are held out, or on --eval-data; of npm, that of the lowest phraseLoss, of masked, that of the lowest maskedLoss. realm and atlas write the retriever to model/ and the language model to ' +
    'reader/, and choose by --eval-metric on --eval-split. Ctrl-C saves and stops; --resume goes on to the same bytes as a run that was ' +
    'never stopped.',
  options: OPTIONS,
  config: true,
  stopsGracefully: true,
  examples: [
    '--data articles.jsonl.gz --out runs/llama --hidden 256 --layers 6 --epochs 2',
    '--data docs/ --out runs/tuned --model HuggingFaceTB/SmolLM2-135M --lora 8',
    '--method retro --model runs/llama --data articles.jsonl.gz --chunk-tokens 16 --out runs/retro',
    '--out runs/llama --resume',
  ],
  async run({ resume, overwrite, device, threads, gradientCheckpointing, ...given }, io) {
    if (resume && overwrite) throw new UsageError('--resume and --overwrite exclude each other');
    const { method: named, ...asked } = given as { readonly method?: string; readonly out: string };
    const training = await trainingOf(named, resume ? asked.out : undefined);
    checkTaken(training, asked);
    const { id, options: table, library } = training;
    const merged = resume ? await resumedOptions(asked, { table, methods: [id], library }) : asked;
    if (!('data' in merged) || merged.data === undefined) {
      throw new UsageError('--data <path> is missing', {
        help: 'JSONL with a column text, text files, or a folder of them',
      });
    }
    const options = {
      ...merged,
      ...computeOptions({ device, threads }),
      gradientCheckpointing,
      resume,
      overwrite,
    };
    const result = await training.train(options, trainingCallbacks(io));
    io.finishProgress();
    const { settings, ledger, parameters } = result;
    return {
      json: { ...result, out: asked.out },
      text:
        describeRun(result, training.evaluated(settings)) +
        `${parameters === undefined ? '' : `${count(parameters)} parameters\n`}\n${ledgerText(ledger)}\n`,
    };
  },
});

/** Returns the way of training: the one that was asked for, else that of the run to resume, else the default. */
async function trainingOf(named: string | undefined, resumed: string | undefined): Promise<LanguageTraining> {
  const id = named ?? (resumed === undefined ? undefined : (await findRunSettings(resumed))?.method);
  return languageTrainings.find((training) => training.id === id) ?? DEFAULT;
}

/** Checks that every given option is one of the way of training. */
function checkTaken({ id, options }: LanguageTraining, given: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || Object.hasOwn(options, name)) continue;
    throw new UsageError(`${option('method', id)} takes no ${option(name)}`, {
      help: `leave it out, or choose another ${option('method')}: ${languageTrainings.map((each) => each.id).join(', ')}`,
    });
  }
}
