import type { LAYOUT_OPTIONS } from '../data/load-options.ts';
import { streamTextCorpus } from '../data/text-corpus.ts';
import { evaluatePhrases } from '../rlm/evaluate-npm.ts';
import { UsageError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { count, formatDuration } from '../util/format.ts';
import { option } from '../util/option-name.ts';
import type { GivenOptions, GivenValues } from '../util/option-table.ts';
import type { CommandResult } from './command.ts';
import type { Io } from './io.ts';
import { loadModel, showProgress, streamOptions } from './model-source.ts';
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
    'documentFile',
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

/** Measures how many masked spans of a text an encoder finds in it, for `undrift lm eval --method npm`. */
export async function evaluateNpm(
  options: {
    readonly model: string;
    readonly data: string;
    readonly columns?: GivenOptions<typeof LAYOUT_OPTIONS>['columns'];
    readonly skipBadRows: number;
    readonly window?: number | undefined;
    readonly seenData?: string | undefined;
    readonly limitSpans?: number | undefined;
    readonly documentFile?: string | undefined;
    readonly device: string;
    readonly threads: number | undefined;
  },
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
  const model = await loadModel(options.model, io);
  const texts = (path: string) =>
    streamTextCorpus(path, streamOptions(io, { ...(columns && { columns }), skipBadRows }));
  try {
    const found = await evaluatePhrases(model, texts(data), {
      ...{ window, limitSpans, onProgress: showProgress(io), ...computeOptions(options) },
      ...(seenData !== undefined && { seen: texts(seenData) }),
    });
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
      json: { ...figures, spans: spans.length, method: 'npm', seconds: Number(seconds.toFixed(3)) },
      text:
        `${rows.join('')}${count(spans.length)} spans, ${count(figures.longSpans)} of two tokens or more${unseen}; ` +
        `${count(figures.searchedTokens)} tokens searched, ${formatDuration(seconds * 1000)}\n`,
    };
  } finally {
    await model.dispose();
  }
}
