import { buildApiDocs } from '../data/api-docs.ts';
import type { Corpus } from '../data/corpus.ts';
import { loadData } from '../data/load.ts';
import { FAULT_OPTIONS } from '../data/load-options.ts';
import type { RetrievalData } from '../data/retrieval-data.ts';
import { COMMON_RANGES } from '../util/common-options.ts';
import { count, formatBytes } from '../util/format.ts';
import { type CommandGroup, defineCommand } from './command.ts';
import { readOptions, showProgress } from './model-source.ts';
import { DATA_HELP } from './shared-options.ts';

const apiDocs = defineCommand({
  name: 'api-docs',
  summary: 'build the quick-start data set from the declaration files of installed packages',
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

const stats = defineCommand({
  name: 'stats',
  summary: 'count the documents, queries and judgements of a data set',
  arguments: [{ name: 'data', help: DATA_HELP, required: true }],
  options: FAULT_OPTIONS,
  examples: ['data/api-docs'],
  async run(options, io, [path]) {
    const data = await loadData(path!, { ...readOptions(io, options) });
    io.finishProgress();
    const found = statistics(data);
    return { json: { ...found }, text: formatStatistics(found) };
  },
});

/** The commands `undrift data api-docs` and `undrift data stats`. */
export const dataCommands: CommandGroup = {
  name: 'data',
  summary: 'build or inspect a data set',
  commands: [apiDocs, stats],
};

/** Lengths of the texts in words. A word is a run of non-space characters. */
interface LengthStatistics {
  /** Mean length. */
  mean: number;
  /** Median length. */
  median: number;
  /** 95th percentile of the lengths. */
  p95: number;
  /** Greatest length. */
  max: number;
}

function statistics(data: RetrievalData) {
  const splits = Object.fromEntries(
    data.splits.map((name) => {
      const lists = [...data.qrels(name).values()].filter((grades) => grades.size > 0);
      const grades = lists.flatMap((list) => [...list.values()]);
      const relevant = grades.filter((grade) => grade > 0).length;
      return [name, { queries: lists.length, judgements: grades.length, relevant }];
    }),
  );
  return {
    name: data.name,
    fingerprint: data.fingerprint,
    documents: data.corpus.size,
    queries: data.queries.size,
    splits,
    documentWords: wordLengths(data.corpus),
    queryWords: wordLengths(data.queries),
    bytes: data.corpus.bytes + data.queries.bytes,
    notes: data.notes,
  };
}

function wordLengths(corpus: Corpus): LengthStatistics {
  const lengths = new Uint32Array(corpus.size);
  for (let row = 0; row < corpus.size; row++) lengths[row] = countWords(corpus.utf8(row));
  lengths.sort();
  const quantile = (q: number) => lengths[Math.min(lengths.length - 1, Math.floor(q * lengths.length))]!;
  const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
  return { mean: Number(mean.toFixed(2)), median: quantile(0.5), p95: quantile(0.95), max: lengths.at(-1)! };
}

/** Counts runs of bytes that are not ASCII space, without making a string. */
function countWords(utf8: Uint8Array): number {
  let words = 0;
  let inWord = false;
  for (const byte of utf8) {
    const isSpace = byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
    if (!isSpace && !inWord) words++;
    inWord = !isSpace;
  }
  return words;
}

function formatStatistics(found: ReturnType<typeof statistics>): string {
  const words = ({ mean, median, p95, max }: LengthStatistics) =>
    `${mean} words on average, median ${count(median)}, 95 % up to ${count(p95)}, longest ${count(max)}`;
  const splits = Object.entries(found.splits).map(
    ([name, { queries, judgements, relevant }]) =>
      `  ${name}: ${count(queries)} queries, ${count(judgements)} judgements, ${count(relevant)} relevant\n`,
  );
  const notes = found.notes.map((note) => `note: ${note}\n`);
  return (
    `${found.name} (${found.fingerprint}), ${formatBytes(found.bytes)}\n` +
    `${count(found.documents)} documents: ${words(found.documentWords)}\n` +
    `${count(found.queries)} queries: ${words(found.queryWords)}\n` +
    `splits:\n${splits.join('') || '  none\n'}${notes.join('')}`
  );
}
