import { loadAnyData } from '../data/any-data.ts';
import { buildApiDocs } from '../data/api-docs.ts';
import { CLEAN_OPTIONS, cleanData } from '../data/clean-data.ts';
import { CLOZE_OPTIONS, writeCloze } from '../data/cloze.ts';
import { CONTINUATION_OPTIONS, writeContinuations } from '../data/continuations.ts';
import type { CutData } from '../data/cut-texts.ts';
import { ANY_DATA_OPTIONS, DATA_HELP, FAULT_OPTIONS, LAYOUT_OPTIONS } from '../data/load-options.ts';
import { SPAN_OPTIONS, writeSpans } from '../data/spans.ts';
import { type DataStatistics, dataStatistics, type LengthStatistics } from '../data/statistics.ts';
import { CONTINUATION_PROMPT } from '../models/language/reader-prompt.ts';
import { type CommandOptions, commandLine } from '../util/command-line.ts';
import { COMMON_RANGES } from '../util/common-options.ts';
import { count, formatBytes } from '../util/format.ts';
import { defineCommand } from './command.ts';
import { readOptions, showProgress } from './model-source.ts';
import { TEXT_DATA_HELP } from './shared-options.ts';

export const apiDocsCommand = defineCommand({
  description:
    'A query is the JSDoc description of a declaration; its document is the declaration without the comment. Reads typescript, ' +
    '@types/node, and the given packages or folders (./path). Writes BEIR files with train, dev and test splits.',
  arguments: [{ name: 'packages...', help: 'more installed packages, or folders of TypeScript as ./path' }],
  options: {
    out: { type: 'text', value: 'folder', required: true, help: 'folder to create' },
    only: {
      type: 'switch',
      default: false,
      help: 'read only the given packages, without typescript and @types/node',
    },
    undescribed: {
      type: 'switch',
      default: false,
      help: 'include declarations without a description in the corpus',
    },
    seed: { ...COMMON_RANGES.seed, help: 'seed of the assignment of queries to splits' },
  },
  examples: ['--out data/api-docs', '--out data/mine --only zod ./src'],
  async run(options, io, packages) {
    const built = await buildApiDocs({
      ...options,
      packages,
      onProgress: showProgress(io),
    });
    const splits = Object.entries(built.splits)
      .map(([name, { queries }]) => `${name} ${count(queries)}`)
      .join(', ');
    const sources = built.sources
      .map(
        ({ name, version, described }) => `  ${name}${version ? ` ${version}` : ''}: ${count(described)}\n`,
      )
      .join('');
    return {
      json: { ...built },
      text:
        `${built.folder}\n${count(built.documents)} documents, ${count(built.queries)} queries (${splits})\n` +
        `described declarations by source:\n${sources}`,
    };
  },
});

export const statsCommand = defineCommand({
  description:
    'Reads every kind of data that can be trained on: queries with judgements, pairs, scored pairs, and documents alone.',
  arguments: [{ name: 'data', help: DATA_HELP, required: true }],
  options: ANY_DATA_OPTIONS,
  examples: ['data/api-docs'],
  async run(options, io, [path]) {
    const data = await loadAnyData(path!, { ...readOptions(io, options) });
    io.finishProgress();
    const found = dataStatistics(data);
    return { json: { ...found }, text: formatStatistics(found) };
  },
});

export const cleanCommand = defineCommand({
  description:
    'Writes BEIR files: documents of the same text become one; training queries whose text is a query of another split, or that of ' +
    'their only positives, are left out; dev and test are held out of the training split where the data has none.',
  arguments: [{ name: 'data', help: DATA_HELP, required: true }],
  options: {
    out: { type: 'text', value: 'folder', required: true, help: 'folder to create' },
    ...CLEAN_OPTIONS,
    ...ANY_DATA_OPTIONS,
  },
  examples: ['pairs.jsonl --out data/clean', 'data/mine --out data/clean --dev-fraction 0.1'],
  async run({ out, devFraction, testFraction, ...faults }, io, [path]) {
    const cleaned = await cleanData(path!, { ...readOptions(io, faults), out, devFraction, testFraction });
    io.finishProgress();
    const splits = Object.entries(cleaned.splits)
      .map(
        ([name, queries]) =>
          `${name} ${count(queries)}${cleaned.heldOut.includes(name) ? ' (held out)' : ''}`,
      )
      .join(', ');
    const shared = Object.entries(cleaned.sharedQueries).map(
      ([split, queries]) =>
        `left out of training, because they are in split ${split} too: ${count(queries)} queries\n`,
    );
    return {
      json: { ...cleaned },
      text:
        `${cleaned.folder}\n${count(cleaned.documents)} documents; queries: ${splits}\n` +
        (cleaned.mergedDocuments > 0
          ? `documents merged into an earlier one: ${count(cleaned.mergedDocuments)}\n`
          : '') +
        shared.join('') +
        (cleaned.ownTextQueries > 0
          ? `left out of training, because they are their own positive: ${count(cleaned.ownTextQueries)} queries\n`
          : ''),
    };
  },
});

/** Options of a command that cuts queries out of running text, besides those of the cutting. */
const READING = { ...LAYOUT_OPTIONS, skipBadRows: FAULT_OPTIONS.skipBadRows } as const;
const OUT = { type: 'text', value: 'folder', required: true, help: 'folder to create' } as const;

/** Retriever that the commands for training begin with. */
const MINI_LM = 'sentence-transformers/all-MiniLM-L6-v2';

export const continuationsCommand = defineCommand({
  description:
    'Writes BEIR files: queries are contexts, answers.jsonl has the text that follows each, and documents are the passages of all texts. ' +
    'The right documents of a context are the passages of its own text: train with --leave-out-positives, so that they are never ' +
    'candidates. Whole texts are held out as splits dev and test.',
  arguments: [{ name: 'data', help: TEXT_DATA_HELP, required: true }],
  options: { out: OUT, ...CONTINUATION_OPTIONS, ...READING },
  examples: [
    'wiki.train.jsonl --out data/wiki-lsr',
    'docs/ --out data/docs-lsr --context-words 48 --continuation-words 48',
  ],
  async run({ columns, skipBadRows, ...options }, io, [path]) {
    const reading = readOptions(io, { ...(columns && { columns }), skipBadRows });
    const written = await writeContinuations(path!, { ...options, ...reading });
    io.finishProgress();
    const { shortDocuments } = written;
    return cutResult(written, {
      queries: 'contexts',
      ...(shortDocuments > 0 && {
        note: `texts too short for a context and a continuation: ${count(shortDocuments)}\n`,
      }),
      train: {
        ...{ method: 'replug-lsr', reader: 'HuggingFaceTB/SmolLM2-135M', model: MINI_LM },
        ...{ data: options.out, readerPrompt: CONTINUATION_PROMPT, leaveOutPositives: true },
        ...{ temperature: 0.1, evalMetric: 'expectedScore', out: 'runs/lsr' },
      },
    });
  },
});

export const spansCommand = defineCommand({
  description:
    'Writes BEIR files: a query is a sentence of a passage with ___ for one of its dates, names or numbers, answers.jsonl has what was cut ' +
    'out, and documents are the passages of all texts. The right document of a query is its own passage: train with ' +
    '--leave-out-positives, so that it is never a candidate. Whole texts are held out as splits dev and test.',
  arguments: [{ name: 'data', help: TEXT_DATA_HELP, required: true }],
  options: { out: OUT, ...SPAN_OPTIONS, ...READING },
  examples: ['wiki.train.jsonl --out data/wiki-spans'],
  async run({ columns, skipBadRows, ...options }, io, [path]) {
    const reading = readOptions(io, { ...(columns && { columns }), skipBadRows });
    const written = await writeSpans(path!, { ...options, ...reading });
    io.finishProgress();
    return cutResult(written, {
      queries: 'queries',
      train: {
        ...{ method: 'realm', reader: 'HuggingFaceTB/SmolLM2-135M', readerTuning: 'lora', model: MINI_LM },
        ...{
          data: options.out,
          leaveOutPositives: true,
          evalMetric: 'answerLogLikelihood',
          out: 'runs/realm',
        },
      },
    });
  },
});

export const clozeCommand = defineCommand({
  description:
    'Writes BEIR files for the inverse cloze task: a query is a sentence of a passage, and its right document the rest of the passage. ' +
    'A retriever that was trained on them is a start for --method realm and atlas. Whole texts are held out as splits dev and test.',
  arguments: [{ name: 'data', help: TEXT_DATA_HELP, required: true }],
  options: { out: OUT, ...CLOZE_OPTIONS, ...READING },
  examples: ['wiki.train.jsonl --out data/wiki-cloze'],
  async run({ columns, skipBadRows, ...options }, io, [path]) {
    const reading = readOptions(io, { ...(columns && { columns }), skipBadRows });
    const written = await writeCloze(path!, { ...options, ...reading });
    io.finishProgress();
    const train = { method: 'in-batch', model: MINI_LM, data: options.out, out: 'runs/cloze' };
    return cutResult(written, { queries: 'queries', train });
  },
});

/**
 * Reports a data set of queries cut out of running text, and the command that trains on it.
 *
 * @param of.queries  word for its queries
 * @param of.note  further lines
 * @param of.train  options of the training
 */
function cutResult(
  written: CutData,
  { queries, note = '', train }: { queries: string; note?: string; train: CommandOptions },
) {
  const { folder, documents, passages } = written;
  const splits = Object.entries(written.splits).map(([name, found]) => `${name} ${count(found)}`);
  return {
    json: { ...written },
    text:
      `${folder}\n${count(documents)} texts, ${count(passages)} passages; ${queries}: ${splits.join(', ')}\n${note}` +
      `train on them: ${commandLine('train', train)}\n`,
  };
}

function formatStatistics(found: DataStatistics): string {
  const words = ({ mean, median, p95, max }: LengthStatistics) =>
    `${mean} words on average, median ${count(median)}, 95 % up to ${count(p95)}, longest ${count(max)}`;
  const splits = Object.entries(found.splits).map(([name, { queries, judgements, relevant, negatives }]) =>
    found.kind === 'scored-pairs'
      ? `  ${name}: ${count(queries)} scored pairs\n`
      : `  ${name}: ${count(queries)} queries, ${count(judgements)} judgements, ${count(relevant)} relevant${negatives > 0 ? `, ${count(negatives)} negatives` : ''}\n`,
  );
  const lines = [
    `${found.name} (${found.fingerprint}), ${formatBytes(found.bytes)}`,
    `${count(found.documents)} documents: ${words(found.documentWords)}`,
    ...(found.queryWords ? [`${count(found.queries)} queries: ${words(found.queryWords)}`] : []),
    ...repetitions(found),
    `letters: ${
      Object.entries(found.scripts)
        .map(([script, share]) => `${script} ${Math.round(100 * share)} %`)
        .join(', ') || 'none'
    }`,
  ];
  const notes = found.notes.map((note) => `note: ${note}\n`);
  return `${lines.join('\n')}\nsplits:\n${splits.join('') || '  none\n'}${notes.join('')}`;
}

/** Describes texts that occur more than once, a line each; none where every text is unique. */
function repetitions({ duplicateDocuments, duplicateQueries, sharedQueries }: DataStatistics): string[] {
  const shared = Object.entries(sharedQueries).map(
    ([split, queries]) => `training queries that are in split ${split} too: ${count(queries)}`,
  );
  return [
    ...(duplicateDocuments > 0
      ? [`documents with the text of an earlier one: ${count(duplicateDocuments)}`]
      : []),
    ...(duplicateQueries > 0 ? [`queries with the text of an earlier one: ${count(duplicateQueries)}`] : []),
    ...shared,
  ];
}
