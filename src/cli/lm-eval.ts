import { FAULT_OPTIONS, LAYOUT_OPTIONS } from '../data/load-options.ts';
import { streamTextCorpus } from '../data/text-corpus.ts';
import { resolveMethodOptions } from '../methods/contract/method-options.ts';
import { CHOICE_OPTIONS, PHRASE_EVALUATION_OPTIONS } from '../rlm/evaluate-npm.ts';
import { countScoredTokens, evaluateText } from '../rlm/evaluate-text.ts';
import { TASK_OPTIONS, taskKind } from '../rlm/evaluation-task.ts';
import type { SystemSpec } from '../rlm/system-spec.ts';
import { findSystem, SYSTEM_OPTIONS, systems } from '../rlm/systems.ts';
import { textWindows, WINDOW_OPTIONS } from '../rlm/text-windows.ts';
import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { JOINT_METHODS, READ_OPTIONS } from '../train/language-methods/joint-run.ts';
import { UsageError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { count, formatDuration } from '../util/format.ts';
import { option } from '../util/option-name.ts';
import {
  type GivenOptions,
  type GivenValues,
  type OptionTable,
  pickOptions,
  withoutDefaults,
} from '../util/option-table.ts';
import { defineCommand } from './command.ts';
import { defaultsByMethod } from './defaults-by-method.ts';
import { evaluateJoint } from './lm-eval-joint.ts';
import { evaluateNpm, SPAN_FILLERS } from './lm-eval-npm.ts';
import { evaluateQuestions } from './lm-eval-questions.ts';
import {
  loadLanguageModel,
  MODEL_HELP,
  modelFolder,
  showNotes,
  showProgress,
  streamOptions,
} from './model-source.ts';
import { computeOptions, TEXT_DATA_HELP } from './shared-options.ts';

/** Options that name a language model and its text. */
export const TEXT_OPTIONS = {
  model: {
    type: 'text',
    value: 'model',
    required: true,
    nonEmpty: true,
    help: `language model: ${MODEL_HELP}`,
  },
  data: { type: 'text', value: 'file', required: true, nonEmpty: true, help: TEXT_DATA_HELP },
  ...LAYOUT_OPTIONS,
  skipBadRows: FAULT_OPTIONS.skipBadRows,
  ...WINDOW_OPTIONS,
} as const satisfies OptionTable;

/** Encoders that find phrases: the way of measuring that is no system. */
const NPM = 'npm';

/** Options of measuring them. */
const NPM_OPTIONS = {
  ...pickOptions(PHRASE_EVALUATION_OPTIONS, 'limitSpans'),
  k: { ...CHOICE_OPTIONS.k, help: `npm: ${CHOICE_OPTIONS.k.help}` },
  mostTokens: { ...CHOICE_OPTIONS.mostTokens, help: `npm: ${CHOICE_OPTIONS.mostTokens.help}` },
  temperature: { ...CHOICE_OPTIONS.temperature, help: `npm: ${CHOICE_OPTIONS.temperature.help}` },
  lengthPower: { ...CHOICE_OPTIONS.lengthPower, help: `npm: ${CHOICE_OPTIONS.lengthPower.help}` },
  seenData: {
    type: 'text',
    value: 'file',
    nonEmpty: true,
    help: 'npm: text that the model was trained on, which tells what phrases it has never seen',
  },
  fillBy: {
    type: 'choice',
    choices: SPAN_FILLERS,
    default: 'phrases',
    help: 'npm: phrases, those that the encoder finds in the other parts of the text; or head, tokens of the head of a masked language model, which is told the length: the baseline',
  },
} as const satisfies OptionTable;

/** Options of runs with a reader. */
const JOINT_OPTIONS = {
  read: { ...READ_OPTIONS.read, help: `${JOINT_METHODS.join(', ')}: ${READ_OPTIONS.read.help}` },
  readSeed: { ...READ_OPTIONS.readSeed, help: `${JOINT_METHODS.join(', ')}: ${READ_OPTIONS.readSeed.help}` },
} as const satisfies OptionTable;

/** Options of a way of measuring that is no system, with the methods that they belong to. */
const OWN_OPTIONS: readonly { readonly methods: readonly string[]; readonly options: OptionTable }[] = [
  { methods: [NPM], options: NPM_OPTIONS },
  { methods: JOINT_METHODS, options: JOINT_OPTIONS },
];

const OPTIONS = {
  ...TEXT_OPTIONS,
  data: {
    ...TEXT_OPTIONS.data,
    help: `${TEXT_DATA_HELP}; or a data set with queries and answers.jsonl, whose questions are answered`,
  },
  ...withoutDefaults(
    pickOptions(TASK_OPTIONS, 'limitTokens', 'task', 'split', 'prompt', 'limitQueries', 'answerTokens'),
  ),
  method: {
    type: 'text',
    value: 'id',
    default: 'none',
    help:
      `system to measure: ${systems.map(({ id, summary }) => `${id} (${summary})`).join('; ')}; ` +
      `${JOINT_METHODS.join(' or ')} (retriever and reader of a run, on questions); ${NPM} (encoder that finds masked spans of the text in its other parts)`,
  },
  documentFile: {
    type: 'text',
    value: 'file',
    nonEmpty: true,
    help: 'write nats and tokens of each document or question as JSONL, for paired comparisons; with npm, each span',
  },
  ...withoutDefaults(NPM_OPTIONS),
  ...withoutDefaults(JOINT_OPTIONS),
  ...withoutDefaults(defaultsByMethod(SYSTEM_OPTIONS, systems)),
  ...COMPUTE_OPTIONS,
} as const;

/** The command `undrift lm eval`: perplexity of text under a language model, alone or with retrieval. */
export const lmEvalCommand = defineCommand({
  description:
    'Reads each document in windows and reports perplexity per token and per word, and bits per byte, which can be compared between ' +
    'tokenizers. No window holds tokens of two documents. A token is scored where its window holds a token before it: with the stride ' +
    'below the window this is every token of a document but the first, which is scored only where the tokenizer puts a start token ' +
    'before it. Perplexities equal those of the usual loop of transformers. Of a data set with answers, the questions of a split are ' +
    'answered: reported are nats of the first right answer, and exact match and F1 of greedy answers as in SQuAD. With --method realm and ' +
    'atlas, --model is the folder of a run of undrift lm train, whose settings say how its retriever and reader answer.',
  options: OPTIONS,
  examples: [
    '--model HuggingFaceTB/SmolLM2-135M --data wiki.test.jsonl --window 1024 --stride 512',
    '--model runs/lm --data test.jsonl --method knn-lm --datastore stores/wiki --tune-data dev.jsonl --cache',
    '--model runs/lm --data test.txt --limit-tokens 10000 --json',
    '--model runs/lm --data data/squad --method in-context --retriever bm25 --limit-queries 300',
    '--model runs/atlas --data data/squad --method atlas --split dev',
    '--model runs/atlas --data data/squad --method atlas --split dev --read none',
    '--model runs/npm --data test.jsonl --method npm --seen-data train.jsonl',
    '--model runs/bert --data test.jsonl --method npm --fill-by head',
  ],
  async run(options, io) {
    checkOwnOptions(options.method, options);
    if (options.method === NPM) return await evaluateNpm(options, io);
    if (JOINT_METHODS.includes(options.method)) return await evaluateJoint(options, io);
    const spec = findSystem(options.method, [...JOINT_METHODS, NPM]);
    const own: GivenValues = Object.fromEntries(
      Object.keys(SYSTEM_OPTIONS).map((key) => [key, (options as GivenValues)[key]]),
    );
    const values = resolveMethodOptions(spec, own);
    const folder = await modelFolder(options.model, io);
    const model = await loadLanguageModel(folder, io);
    const { columns, skipBadRows, limitTokens } = options;
    const reading = streamOptions(io, { ...(columns && { columns }), skipBadRows });
    const onNote = showNotes(io);
    const onProgress = showProgress(io);
    try {
      const windows = textWindows(await windowsOf(spec, folder, options), model.decoder.maxTokens);
      if ((await taskKind(options.data, taskOptions(options))) === 'questions') {
        return await evaluateQuestions(model, spec, {
          ...{
            values,
            folder,
            io,
            data: options.data,
            task: { ...taskOptions(options), columns, skipBadRows },
          },
          ...{ file: options.documentFile, compute: computeOptions(options) },
        });
      }
      const startMs = performance.now();
      const expectedTokens =
        limitTokens ??
        (await countScoredTokens(
          { model },
          streamTextCorpus(options.data, { ...reading, onNote: () => {} }),
          windows,
        ));
      const compute = computeOptions(options);
      const context = { modelFolder: folder, windows, onProgress, onNote, ...compute };
      const system = await spec.open(model, values, context);
      try {
        const documents = streamTextCorpus(options.data, reading);
        const scoring = { ...windows, limitTokens, expectedTokens, onProgress, onNote, ...compute };
        const found = await evaluateText(system, documents, scoring);
        io.finishProgress();
        const seconds = (performance.now() - startMs) / 1000;
        if (options.documentFile !== undefined) {
          const lines = found.documents.map((document) => `${JSON.stringify(document)}\n`);
          await writeFileAtomic(options.documentFile, lines.join(''));
        }
        const { documents: each, ...figures } = found;
        const json = {
          perplexity: figures.perplexity,
          wordPerplexity: figures.wordPerplexity,
          bitsPerByte: figures.bitsPerByte,
          tokens: figures.tokens,
          words: figures.words,
          bytes: figures.bytes,
          nats: figures.nats,
          natsPerToken: figures.natsPerToken,
          natsPerWord: figures.natsPerWord,
          documents: each.length,
          ...windows,
          method: spec.id,
          ...(system.settings && { settings: system.settings }),
          cost: system.ledger.totals,
          seconds: Number(seconds.toFixed(3)),
        };
        const rows = [
          ['perplexity', exponential(figures.natsPerToken)],
          ['word perplexity', exponential(figures.natsPerWord)],
          ['bits per byte', figures.bitsPerByte.toFixed(4)],
        ] as const;
        const text =
          rows.map(([name, value]) => `${name.padEnd(17)}${value}\n`).join('') +
          settingsLine(system.settings) +
          `${count(figures.tokens)} tokens, ${count(figures.words)} words and ${count(figures.bytes)} bytes of ${count(each.length)} ` +
          `${each.length === 1 ? 'document' : 'documents'}, ${formatDuration(seconds * 1000)}\n`;
        return { json, text };
      } finally {
        await system.dispose();
      }
    } finally {
      await model.dispose();
    }
  },
});

/** @throws UsageError for an option of another method */
function checkOwnOptions(method: string, given: GivenValues): void {
  for (const { methods, options } of OWN_OPTIONS) {
    const foreign = Object.keys(options).find((name) => given[name] !== undefined);
    if (foreign === undefined || methods.includes(method)) continue;
    throw new UsageError(
      `${option(foreign)} belongs to ${methods.map((each) => option('method', each)).join(' and ')}, not to ${method}`,
    );
  }
}

/** Formats exp(nats) with four decimals, or as a power where it is too large for a number. */
function exponential(nats: number): string {
  const value = Math.exp(nats);
  return Number.isFinite(value) ? value.toFixed(4) : `exp(${nats.toFixed(4)})`;
}

/** Windows that were asked for or, where there are none, those of the model. */
async function windowsOf(
  { windows }: SystemSpec,
  folder: string,
  given: GivenOptions<typeof WINDOW_OPTIONS>,
): Promise<GivenOptions<typeof WINDOW_OPTIONS>> {
  return given.window === undefined && given.stride === undefined && windows ? await windows(folder) : given;
}

/** Returns the options of the task that were given. */
export function taskOptions(options: GivenOptions<typeof TASK_OPTIONS>): GivenOptions<typeof TASK_OPTIONS> {
  const given = Object.keys(TASK_OPTIONS).map((key) => [key, options[key as keyof typeof TASK_OPTIONS]]);
  return Object.fromEntries(given.filter(([, value]) => value !== undefined));
}

/** Line of the settings that are numbers or words, such as `temperature 64, lambda 0.21`. */
export function settingsLine(settings: Readonly<Record<string, unknown>> | undefined): string {
  const shown = Object.entries(settings ?? {}).filter(([, value]) =>
    ['number', 'string'].includes(typeof value),
  );
  return shown.length === 0 ? '' : `${shown.map(([name, value]) => `${name} ${value}`).join(', ')}\n`;
}
