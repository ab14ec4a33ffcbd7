import type { LAYOUT_OPTIONS } from '../data/load-options.ts';
import { streamTextCorpus } from '../data/text-corpus.ts';
import { MaskedLanguageModel } from '../models/masked/masked-language-model.ts';
import { evaluateMaskedFill, type MaskedFillEvaluation } from '../rlm/evaluate-masked-fill.ts';
import {
  CHOICE_OPTIONS,
  evaluatePhrases,
  type PhraseChoiceOptions,
  type PhraseEvaluation,
} from '../rlm/evaluate-npm.ts';
import { UsageError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { count, formatDuration } from '../util/format.ts';
import { option } from '../util/option-name.ts';
import type { GivenOptions, GivenValues } from '../util/option-table.ts';
import type { CommandResult } from './command.ts';
import type { Io } from './io.ts';
import { loadModel, modelFolder, showNotes, showProgress, streamOptions } from './model-source.ts';
import { computeOptions } from './shared-options.ts';

/** Options of `undrift lm eval` that apply to encoders that find phrases. */
const TAKEN = [
  ...[
    'model',
    'data',
    'method',
    'window',
    'columns',
    'skipBadRows',
    'seenData',
    'limitSpans',
    'fillBy',
    'documentFile',
    ...Object.keys(CHOICE_OPTIONS),
  ],
  ...['device', 'threads'],
];

/** Labels of the measures. */
const LABELS = {
  exactMatch: 'spans found',
  exactMatchLong: 'of two tokens or more',
  exactMatchUnseen: 'never seen in training',
  startTop1: 'beginning found',
  startTop10: 'among ten beginnings',
} as const;

/** Result of either way of filling spans. */
type FilledSpans = MaskedFillEvaluation & Partial<Omit<PhraseEvaluation, keyof MaskedFillEvaluation>>;

/** Parts of a model that fill masked spans. */
export const SPAN_FILLERS = ['phrases', 'head'] as const;

/** Measures how many masked spans of a text a model restores, for `undrift lm eval --method npm`. */
export async function evaluateNpm(
  options: {
    readonly model: string;
    readonly data: string;
    readonly columns?: GivenOptions<typeof LAYOUT_OPTIONS>['columns'];
    readonly skipBadRows: number;
    readonly window?: number | undefined;
    readonly seenData?: string | undefined;
    readonly limitSpans?: number | undefined;
    readonly fillBy?: (typeof SPAN_FILLERS)[number] | undefined;
    readonly documentFile?: string | undefined;
    readonly device: string;
    readonly threads: number | undefined;
  } & PhraseChoiceOptions,
  io: Io,
): Promise<CommandResult> {
  const given = options as GivenValues;
  const foreign = Object.keys(given).find((name) => given[name] !== undefined && !TAKEN.includes(name));
  if (foreign !== undefined) {
    throw new UsageError(`${option('method', 'npm')} takes no ${option(foreign)}`, {
      help: 'it looks for masked spans of the text in its other parts; leave the option out',
    });
  }
  const startMs = performance.now();
  const { data, columns, skipBadRows, window, seenData, limitSpans, documentFile } = options;
  const texts = (path: string) =>
    streamTextCorpus(path, streamOptions(io, { ...(columns && { columns }), skipBadRows }));
  const measuring = {
    ...{ window, limitSpans, onProgress: showProgress(io), ...computeOptions(options) },
    ...(seenData !== undefined && { seen: texts(seenData) }),
  };
  const fillBy = options.fillBy ?? 'phrases';
  const { k, mostTokens, temperature, lengthPower } = options;
  const choice = { k, mostTokens, temperature, lengthPower };
  const unread = Object.entries(choice).find(([, value]) => value !== undefined);
  if (fillBy === 'head' && unread) {
    throw new UsageError(`${option(unread[0])} has no meaning with ${option('fillBy', fillBy)}`, {
      help: 'it is for choosing phrases; leave it out',
    });
  }
  const model = await (fillBy === 'head' ? loadHead(options.model, io) : loadModel(options.model, io));
  try {
    const found: FilledSpans =
      model instanceof MaskedLanguageModel
        ? await evaluateMaskedFill(model, texts(data), measuring)
        : await evaluatePhrases(model, texts(data), { ...measuring, ...choice });
    io.finishProgress();
    const { spans, ...figures } = found;
    if (documentFile !== undefined)
      await writeFileAtomic(documentFile, spans.map((span) => `${JSON.stringify(span)}\n`).join(''));
    const seconds = (performance.now() - startMs) / 1000;
    const rows = Object.entries(LABELS).flatMap(([name, label]) => {
      const value = figures[name as keyof typeof LABELS];
      return value === undefined ? [] : [`${label.padEnd(24)}${value.toFixed(4)}\n`];
    });
    const unseen = figures.unseenSpans === undefined ? '' : `, ${count(figures.unseenSpans)} of them unseen`;
    return {
      json: { ...figures, spans: spans.length, method: 'npm', fillBy, seconds: Number(seconds.toFixed(3)) },
      text:
        `${rows.join('')}${count(spans.length)} spans, ${count(figures.longSpans)} of two tokens or more${unseen}; ` +
        `${figures.searchedTokens === undefined ? '' : `${count(figures.searchedTokens)} tokens searched, `}${formatDuration(seconds * 1000)}\n`,
    };
  } finally {
    await model.dispose();
  }
}

/** Loads a masked language model with its head. */
async function loadHead(name: string, io: Io): Promise<MaskedLanguageModel> {
  const folder = await modelFolder(name, io);
  return await MaskedLanguageModel.load(folder, { onNote: showNotes(io) });
}
