import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { permutation, rngKey } from '../../src/util/rng.ts';

const lines = (rows: readonly string[]): string => `${rows.join('\n')}\n`;

/** Files of a small data set, by path, with a corpus in another order beside it. */
export function dataFiles(): Record<string, string> {
  const rows = Array.from({ length: 30 }, (_, i) => [
    ...permutation(rngKey(7, i, 'words'), 20).subarray(0, 3),
  ]);
  const corpus = rows.map((words, i) =>
    JSON.stringify({ _id: `d${i}`, text: words.map((w) => `doc${w}`).join(' ') }),
  );
  const queries = rows.map((words, i) =>
    JSON.stringify({
      _id: `q${i}`,
      text: words
        .map((w) => `doc${w}`)
        .slice(1)
        .join(' '),
    }),
  );
  const qrels = (of: (i: number) => boolean) =>
    lines(['query-id\tcorpus-id\tscore', ...rows.flatMap((_, i) => (of(i) ? [`q${i}\td${i}\t1`] : []))]);
  return {
    'data/corpus.jsonl': lines(corpus),
    'data/queries.jsonl': lines(queries),
    'data/qrels/train.tsv': qrels((i) => i % 3 !== 0),
    'data/qrels/dev.tsv': qrels((i) => i % 6 === 0),
    'data/qrels/test.tsv': qrels((i) => i % 6 === 3),
    'other.jsonl': lines(corpus.slice(5).reverse()),
    // Two groups of tokens, so that a datastore can be killed between them.
    'text.jsonl': lines(
      Array.from({ length: 60 }, (_, i) =>
        JSON.stringify({
          id: `t${i}`,
          text: Array.from({ length: 40 }, (_, j) => `w${(i * j) % 17}`).join(' '),
        }),
      ),
    ),
    'comparison.json': JSON.stringify({
      data: 'data',
      out: 'compared',
      budget: { steps: 2 },
      base: { method: 'in-batch', hidden: 8, vocabSize: 64, batchSize: 4, evalSplit: 'none', threads: 1 },
      arms: [{ name: 'a' }, { name: 'b', temperature: 0.1 }],
    }),
  };
}

const SMALL = ['--hidden', '8', '--vocab-size', '64', '--batch-size', '4', '--threads', '1'];

/** Command line of a run into `out`. */
export const train = (out: string, ...more: readonly string[]): string[] => [
  ...['train', '--data', 'data', '--out', out, '--steps', '4', '--eval-every', '2'],
  ...SMALL,
  ...more,
];

/** Command line of a run of a language model into `out`. */
const trainLanguage = (out: string, ...more: readonly string[]): string[] => [
  ...['lm', 'train', '--data', 'text.jsonl', '--out', out, '--steps', '4', '--eval-every', '2'],
  ...['--hidden', '8', '--layers', '1', '--heads', '1', '--vocab-size', '270', '--window', '16'],
  ...['--batch-size', '4', '--threads', '1', ...more],
];
const DATASTORE = [
  'lm',
  'datastore',
  '--model',
  'lm',
  '--data',
  'text.jsonl',
  '--out',
  'store',
  '--threads',
  '1',
];

/** Command to be killed, and what must hold afterwards. */
export interface Scenario {
  readonly name: string;
  /** Commands before, each run to its end in a folder that the trials copy. */
  readonly before: readonly (readonly string[])[];
  /** The command that is killed. */
  readonly command: readonly string[];
  /** Commands that are tried afterwards, each on a copy of what the kill left. */
  readonly retries: readonly (readonly string[])[];
  /** Accepts the error of a retry. */
  readonly mayRefuse?: (words: readonly string[], stderr: string, folder: string) => boolean;
  /** Files whose bytes do not depend on kills. */
  readonly same: RegExp;
  /** Returns what is wrong with the files that a kill left; undefined if nothing is. */
  readonly faultOf?: (folder: string) => string | undefined;
}

const MODEL = /(^|\/)model\/(model\.safetensors|undrift\.json)$/;
const trainRetries = (run: readonly string[]) => [run, [...run, '--resume'], [...run, '--overwrite']];
const json = (file: string) => JSON.parse(readFileSync(file, 'utf8'));

/** What a plain retry, or a resumption, may say: there is a run, or nothing was begun. */
const mayRefuseTraining: Scenario['mayRefuse'] = (words, stderr) =>
  words.includes('--resume')
    ? /there is no run to resume in run: no settings\.json/.test(stderr)
    : !words.includes('--overwrite') &&
      /run already holds a run\n {2}help: go on with it by --resume/.test(stderr);

/** Every command that writes a file or folder of several parts. */
export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'train into a new folder',
    before: [],
    command: train('run'),
    retries: trainRetries(train('run')),
    mayRefuse: mayRefuseTraining,
    same: MODEL,
  },
  {
    name: 'train over an earlier run',
    before: [train('run', '--seed', '9')],
    command: train('run', '--seed', '1', '--overwrite'),
    retries: trainRetries(train('run', '--seed', '1')),
    // Until the earlier run is removed, it is the one that is there.
    mayRefuse: (words, stderr, folder) =>
      mayRefuseTraining(words, stderr, folder) ||
      (words.includes('--resume') && /was started with other settings\n {2}seed: 9 then/.test(stderr)),
    same: MODEL,
  },
  {
    name: 'resume',
    before: [train('run', '--patience', '1')],
    command: train('run', '--patience', '1', '--resume'),
    retries: [train('run', '--patience', '1', '--resume')],
    same: MODEL,
  },
  {
    name: 'encode',
    before: [train('run'), ['encode', '--model', 'run', '--data', 'other.jsonl', '--out', 'docs.npy']],
    command: ['encode', '--model', 'run', '--data', 'data', '--out', 'docs.npy'],
    retries: [['encode', '--model', 'run', '--data', 'data', '--out', 'docs.npy']],
    same: /^docs/,
    faultOf(folder) {
      const files = ['docs.npy', 'docs.ids.txt', 'docs.npy.json'].map((name) => join(folder, name));
      const read = (file: string): string | undefined => {
        try {
          return readFileSync(file, 'latin1');
        } catch {
          return undefined;
        }
      };
      const [vectors, ids, manifest] = files.map(read);
      // The other corpus has five rows less.
      const rows = [
        vectors && /\((\d+),/.exec(vectors)?.[1],
        ids && String(ids.split('\n').length - 1),
        manifest && String(JSON.parse(manifest).rows),
      ].filter((count) => count !== undefined);
      return new Set(rows).size > 1
        ? `files of different texts lie side by side: ${rows.join(', ')} rows`
        : undefined;
    },
  },
  {
    name: 'mine',
    before: [['mine', '--model', 'bm25', '--data', 'data', '--out', 'mined.jsonl', '--negatives', '1']],
    command: ['mine', '--model', 'bm25', '--data', 'data', '--out', 'mined.jsonl', '--negatives', '2'],
    retries: [['mine', '--model', 'bm25', '--data', 'data', '--out', 'mined.jsonl', '--negatives', '2']],
    same: /^mined/,
  },
  {
    name: 'export',
    before: [train('run'), ['export', '--model', 'run', '--out', 'exported']],
    command: ['export', '--model', 'run', '--out', 'exported', '--format', 'sentence-transformers'],
    retries: [['export', '--model', 'run', '--out', 'exported', '--format', 'sentence-transformers']],
    same: /^exported\//,
  },
  {
    name: 'correct',
    before: [train('old'), train('new', '--seed', '2')],
    command: [
      'correct',
      '--from',
      'old',
      '--to',
      'new',
      '--data',
      'data',
      '--corrector',
      'ridge',
      '--out',
      'corrector',
    ],
    retries: [
      [
        'correct',
        '--from',
        'old',
        '--to',
        'new',
        '--data',
        'data',
        '--corrector',
        'ridge',
        '--out',
        'corrector',
      ],
    ],
    same: /^corrector\//,
  },
  {
    name: 'compare',
    before: [],
    command: ['compare', 'comparison.json'],
    retries: [['compare', 'comparison.json']],
    same: MODEL,
    faultOf(folder) {
      try {
        json(join(folder, 'compared', 'results.json'));
        return undefined;
      } catch (error) {
        return (error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : String(error);
      }
    },
  },
  {
    name: 'lm train',
    before: [],
    command: trainLanguage('run'),
    retries: trainRetries(trainLanguage('run')),
    mayRefuse: mayRefuseTraining,
    same: MODEL,
  },
  {
    name: 'lm datastore',
    before: [trainLanguage('lm')],
    command: DATASTORE,
    retries: [DATASTORE],
    // A kill may come after the folder has its name.
    mayRefuse: (_, stderr, folder) =>
      /store exists already/.test(stderr) && existsSync(join(folder, 'store', 'manifest.json')),
    same: /^store\//,
    faultOf: (folder) =>
      existsSync(join(folder, 'store')) && !existsSync(join(folder, 'store', 'manifest.json'))
        ? 'a datastore without its manifest has the final name'
        : undefined,
  },
];
