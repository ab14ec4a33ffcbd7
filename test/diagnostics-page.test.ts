import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { methods } from '../src/methods/methods.ts';
import { readEventLog } from '../src/train/event-log.ts';
import type { TrainOptions } from '../src/train/settings.ts';
import { trainRetriever } from '../src/train/train-retriever.ts';
import { permutation, rngKey } from '../src/util/rng.ts';
import { copyingReader } from './copying-reader.ts';
import { tempFiles } from './temp-files.ts';
import { toyTokenizer } from './toy-training.ts';

const page = readFileSync(new URL('../docs/diagnostics.md', import.meta.url), 'utf8');

/** Returns the names in the first column of the tables of a section. */
function documented(heading: RegExp): string[] {
  const section = page.split(/^## /m).find((part) => heading.test(part));
  expect(section, String(heading)).toBeDefined();
  return [...section!.matchAll(/^\| (`[^|]*`[^|]*) \|/gm)].flatMap(([, cell]) =>
    [...cell!.matchAll(/`([^`]+)`/g)].map(([, name]) => name!),
  );
}

/** Makes 60 documents of three words each. Queries have the same words in another language. */
function toyData(): string {
  const words = (i: number) => [...permutation(rngKey(5, i, 'words'), 30).subarray(0, 3)];
  const texts = (word: (w: number) => string) =>
    Array.from({ length: 60 }, (_, i) => words(i).map(word).join(' '));
  const lines = (key: string, list: string[]) =>
    list.map((text, i) => `${JSON.stringify({ _id: `${key}${i}`, text })}\n`).join('');
  const judged = (from: number, to: number) =>
    `query-id\tcorpus-id\tscore\n${Array.from({ length: to - from }, (_, i) => `q${from + i}\td${from + i}\t1\n`).join('')}`;
  return tempFiles({
    'corpus.jsonl': lines(
      'd',
      texts((w) => `doc${w}x part${w}z shared`),
    ),
    'queries.jsonl': lines(
      'q',
      texts((w) => `ask${w}y shared`),
    ),
    'answers.jsonl': Array.from(
      { length: 60 },
      (_, i) => `${JSON.stringify({ _id: `q${i}`, answers: [i % 2 ? 'a cat' : 'the dog sat'] })}\n`,
    ).join(''),
    'qrels/train.tsv': judged(0, 50),
    'qrels/dev.tsv': judged(50, 60),
  });
}

/** Makes the same pairs, either with two negatives each and a teacher's scores, or with one score each. */
function scoredData(kind: 'distill' | 'scored-pairs'): string {
  const query = (i: number) => `ask${i} shared`;
  const document = (i: number) => `doc${i % 60}x shared`;
  const records = Array.from({ length: 60 }, (_, i) =>
    kind === 'distill'
      ? {
          query: query(i),
          positive: document(i),
          negative: [document(i + 1), document(i + 2)],
          scores: [3, 1, 0],
        }
      : { sentence1: query(i), sentence2: document(i), score: (i % 5) / 4 },
  );
  const file = 'train.jsonl';
  const folder = tempFiles({ [file]: records.map((record) => `${JSON.stringify(record)}\n`).join('') });
  return join(folder, file);
}

/** Language model for methods that need one. */
const READER = await copyingReader(toyTokenizer());

/** Figure of draws by an index, which tables of at least 4,096 rows log. */
const OF_LARGE_TABLES = ['scoredRatio'];
/** Names that are logged only on devices other than the CPU. */
const OF_DEVICES = ['deviceUpBytes', 'deviceDownBytes', 'lossScale', 'skippedSteps'];

it('the page on diagnostics has every name that any method logs, and no other', async () => {
  const data = toyData();
  const small = { threads: 1, batchSize: 8, steps: 8, hidden: 16, vocabSize: 100 };
  const guide = await trainRetriever({ data, out: join(tempFiles({}), 'guide'), ...small });
  const logged = new Map<string, Set<string>>();
  const arms: Partial<TrainOptions>[] = [
    // Training runs in this process, so that no build is needed.
    ...methods.filter(({ id }) => id !== 'async-index').map(({ id }) => ({ method: id })),
    { method: 'in-batch', loss: 'gist', guide: guide.model },
    { method: 'negative-cache', loss: 'importance-corrected', samples: 2 },
    { method: 'hard-negatives', mineEvery: 4 },
    { method: 'corrector', samples: 2, refresh: 'auto:kl:0.001:2' },
    { method: 'corrector', search: 'index' },
    { method: 'atlas', overRetrieve: 8 },
    { method: 'exhaustive', loss: 'importance-corrected', samples: 2, refresh: 'auto:ess:1:2' },
  ];
  for (const [i, arm] of arms.entries()) {
    const out = join(tempFiles({}), `run-${i}`);
    const ranks = String(arm.method).endsWith('-negatives')
      ? { rankFrom: 0, rankTo: 10, relativeMargin: 0 }
      : {};
    const own = {
      ...(['replug-lsr', 'realm', 'atlas'].includes(String(arm.method)) && { reader: READER, candidates: 4 }),
      ...(arm.method === 'distill' && { data: scoredData('distill'), negatives: 2 }),
      ...(arm.method === 'scored-pairs' && { data: scoredData('scored-pairs'), evalMetric: 'spearman' }),
    };
    await trainRetriever({ data, out, ...small, diagnose: 4, ...ranks, ...own, ...arm });
    for (const { kind, values } of await readEventLog(join(out, 'metrics.jsonl'))) {
      const names = logged.get(kind) ?? new Set();
      logged.set(kind, names);
      for (const name of Object.keys(values)) names.add(name.startsWith('ageRatio/') ? 'ageRatio/0' : name);
    }
  }
  const bins = (name: string) => !/^ageRatio\/[^0]/.test(name);
  const common = documented(/^The three figures/);
  const sorted = (names: Iterable<string>) => [...new Set(names)].sort();
  expect(sorted(logged.get('train')!)).toEqual(
    sorted([
      ...common,
      ...documented(/kind `train`/).filter(
        (name) => bins(name) && ![...OF_DEVICES, ...OF_LARGE_TABLES].includes(name),
      ),
    ]),
  );
  expect(sorted(logged.get('ledger')!)).toEqual(sorted(documented(/kind `ledger`/)));
  expect(sorted(logged.get('diagnosis')!)).toEqual(sorted(documented(/kind `diagnosis`/)));
}, 120_000);
