/**
 * Measures encoding by a retriever: in f32 and int8, in one process with several threads and in several processes with one thread each,
 * and the padding of passes:
 *
 *     npm run bench:encode -- --retriever FOLDER [--data FOLDER,…] [--texts N] [--rounds N] [--threads N] [--json] [--out FILE]
 *
 * The texts are documents of the first data set, evenly spaced; by default of the quick start's data. The processes stay alive, and in
 * each round every arrangement embeds all texts, in turn; the order turns around from round to round. Padding is that of all documents of
 * each data set.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildApiDocs } from '../src/data/api-docs.ts';
import { loadData } from '../src/data/load.ts';
import type { RetrievalData } from '../src/data/retrieval-data.ts';
import { loadRetriever } from '../src/models/folder/model-folder.ts';
import { blockEnds } from '../src/models/retriever/encode-blocks.ts';
import { ENCODE_DTYPES, type EncodeDtype } from '../src/models/retriever/encode-dtype.ts';
import { passes } from '../src/models/retriever/encode-rows.ts';
import type { Retriever } from '../src/models/retriever/retriever.ts';
import { defaultThreads } from '../src/runtime/devices.ts';
import type { EncodeAnswer } from './measure-encode.ts';
import { type Machine, machineTitle, RESULT_OPTIONS, startMachine, writeResult } from './result-file.ts';
import { medians, table, type WithQuartiles } from './statistics.ts';

/** Speed of one arrangement of processes. */
export interface EncodeSpeed extends WithQuartiles {
  readonly dtype: EncodeDtype;
  readonly processes: number;
  /** Threads of each process. */
  readonly threads: number;
  readonly textsPerSecond: number;
  /** Rate divided by that of f32 in one process in the same round. */
  readonly ratio: number;
  /** Sum over the processes of their largest resident memory. */
  readonly peakResidentBytes: number;
}

/** Padding in the passes over the documents of a data set. */
export interface EncodePadding {
  readonly data: string;
  readonly documents: number;
  readonly passes: number;
  readonly tokens: number;
  /** Tokens of the passes, padding included. */
  readonly paddedTokens: number;
}

/** Content of bench/results/encode.json. */
export interface EncodeResults extends Machine {
  /** Name of the model's folder. */
  readonly model: string;
  readonly data: string;
  readonly texts: number;
  readonly rounds: number;
  readonly speeds: readonly EncodeSpeed[];
  readonly padding: readonly EncodePadding[];
}

const { values: options } = parseArgs({
  options: {
    retriever: { type: 'string' },
    data: { type: 'string' },
    texts: { type: 'string', default: '1024' },
    rounds: { type: 'string', default: '7' },
    threads: { type: 'string', default: String(defaultThreads()) },
    ...RESULT_OPTIONS,
  },
});
if (options.retriever === undefined) {
  console.error(
    'bench:encode: --retriever is missing\n  help: name the folder of a model, such as all-MiniLM-L6-v2',
  );
  process.exit(2);
}
const [threads, rounds] = [Number(options.threads), Number(options.rounds)];
const path = (file: string) => fileURLToPath(new URL(file, import.meta.url));

/** Arrangement of processes, with those that run. */
interface Arrangement {
  readonly dtype: EncodeDtype;
  readonly processes: number;
  readonly threads: number;
  readonly children: ChildProcess[];
  readonly rates: number[];
  readonly peaks: number[];
}

/** Waits for the next message of a process. */
async function messageOf(child: ChildProcess): Promise<unknown> {
  const [kind, value] = await Promise.race([
    once(child, 'message').then(([message]) => ['message', message] as const),
    once(child, 'exit').then(([code]) => ['exit', code] as const),
  ]);
  if (kind === 'exit') throw new Error(`a process of the measurement ended with exit code ${value}`);
  return value;
}

async function start(folder: string, arrangement: Arrangement, texts: readonly string[]): Promise<void> {
  const { dtype, processes } = arrangement;
  for (let i = 0; i < processes; i++) {
    const file = `${folder}/${dtype}-${processes}-${i}.json`;
    // Every n-th text, so that the processes have equal work.
    writeFileSync(file, JSON.stringify(texts.filter((_, row) => row % processes === i)));
    const child = fork(
      path('measure-encode.ts'),
      [options.retriever!, file, dtype, String(arrangement.threads)],
      {
        execArgv: process.execArgv,
      },
    );
    arrangement.children.push(child);
    await messageOf(child);
  }
}

/** Lets all processes of an arrangement embed their texts at once. */
async function run({ children, rates, peaks }: Arrangement, texts: number): Promise<void> {
  const startMs = performance.now();
  const answers = children.map(messageOf);
  for (const child of children) child.send({});
  const found = (await Promise.all(answers)) as EncodeAnswer[];
  rates.push((1000 * texts) / (performance.now() - startMs));
  peaks.push(found.reduce((sum, { peakResidentBytes }) => sum + peakResidentBytes, 0));
}

function paddingOf(retriever: Retriever, data: RetrievalData): EncodePadding {
  const { corpus } = data;
  const store = retriever.tokenize('document', corpus.size, (row) => corpus.text(row));
  const lengths = Int32Array.from({ length: store.rows }, (_, row) => store.length(row));
  let [count, paddedTokens] = [0, 0];
  let start = 0;
  for (const end of blockEnds(lengths)) {
    const own = lengths.subarray(start, end);
    for (const rows of passes(own)) {
      count += 1;
      paddedTokens += rows.length * Math.max(1, own[rows[0]!]!);
    }
    start = end;
  }
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  return { data: data.name, documents: corpus.size, passes: count, tokens, paddedTokens };
}

const folder = path('results/tmp/encode');
mkdirSync(folder, { recursive: true });
const folders = options.data?.split(',') ?? [(await buildApiDocs({ out: `${folder}/api-docs` })).folder];
const [first, ...others] = folders;
const data = await loadData(first!);
const count = Math.min(Number(options.texts), data.corpus.size);
const texts = Array.from({ length: count }, (_, i) =>
  data.corpus.text(Math.floor((i * data.corpus.size) / count)),
);

const machine = startMachine(threads);
if (!options.json) console.log(`${machineTitle(threads)}\n`);
const arrangements: Arrangement[] = ENCODE_DTYPES.flatMap((dtype) =>
  (threads > 1 ? [1, threads] : [1]).map((processes) => ({
    ...{ dtype, processes, threads: processes === 1 ? threads : 1 },
    ...{ children: [], rates: [], peaks: [] },
  })),
);
for (const arrangement of arrangements) await start(folder, arrangement, texts);
for (let round = 0; round < rounds; round++) {
  for (const each of round % 2 === 0 ? arrangements : arrangements.toReversed()) await run(each, count);
}
for (const { children } of arrangements) for (const child of children) child.kill();

const speeds = arrangements.map(
  ({ rates, peaks, children: _, ...arrangement }): EncodeSpeed => ({
    ...arrangement,
    ...medians({ textsPerSecond: rates, ratio: rates.map((rate, i) => rate / arrangements[0]!.rates[i]!) }),
    peakResidentBytes: Math.max(...peaks),
  }),
);
const retriever = await loadRetriever(options.retriever);
const padding = [paddingOf(retriever, data)];
for (const other of others) padding.push(paddingOf(retriever, await loadData(other)));
await retriever.dispose();
const result: EncodeResults = {
  ...machine(),
  model: options.retriever.split('/').filter(Boolean).at(-1)!,
  ...{ data: data.name, texts: count, rounds, speeds, padding },
};
if (!options.json) {
  const rows = speeds.map((r) => [
    `${r.dtype}, ${r.processes} × ${r.threads} threads`,
    r.textsPerSecond.toFixed(1),
    `× ${r.ratio.toFixed(2)}`,
    `${(r.peakResidentBytes / 1e6).toFixed(0)} MB`,
  ]);
  console.log(table([['encoding', 'texts/s', 'over f32 in one process', 'peak memory'], ...rows]));
  for (const { data: name, tokens, paddedTokens } of padding)
    console.log(
      `${name}: ${(100 * (1 - tokens / paddedTokens)).toFixed(1)} % of the tokens of passes are padding`,
    );
}
writeResult(result, options);
