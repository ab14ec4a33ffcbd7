/**
 * Measures the speed of embedding caches:
 *
 *     npm run bench:cache -- [--case scoring,search,rows,step,memory] [--rows 131072,1048576]
 *                            [--storage f32,f16] [--search-rows 65536,1048576]
 *                            [--encoder static,transformer] [--step-rows 4096,65536,1048576] [--rounds N] [--threads N] [--json] [--out FILE]
 *
 * - `scoring`: sums of scores, masks and samples for 128 queries of dimension 256, compared with the bare
 *   product of the queries with the same rows, alternating
 * - `search`: draws for 128 queries by an index, compared with draws that score all rows, alternating
 * - `rows`: rows inserted and refreshed per second, bytes per row
 * - `step`: a training step of `negative-cache` compared with one of `in-batch` with the same encoder,
 *   alternating
 * - `memory`: resident memory over 10,000 steps of `negative-cache`
 *
 * Each measurement runs in a separate process. `npm run bench:refresh` measures a refresh during training.
 */
import { parseArgs } from 'node:util';
import { defaultThreads } from '../src/runtime/devices.ts';
import { freshNode } from './fresh-process.ts';
import type { RowsResult, ScoringResult, SearchResult } from './measure-cache.ts';
import type { CacheMemoryResult, CacheStepResult } from './measure-cache-step.ts';
import { machineTitle, RESULT_OPTIONS, startMachine, writeResult } from './result-file.ts';
import { table } from './statistics.ts';

const { values: options } = parseArgs({
  options: {
    case: { type: 'string', default: 'scoring,search,rows,step,memory' },
    rows: { type: 'string', default: '131072,1048576' },
    storage: { type: 'string', default: 'f32,f16' },
    'search-rows': { type: 'string', default: '65536,1048576' },
    encoder: { type: 'string', default: 'static,transformer' },
    'step-rows': { type: 'string', default: '4096,65536,1048576' },
    rounds: { type: 'string' },
    threads: { type: 'string', default: String(defaultThreads()) },
    ...RESULT_OPTIONS,
  },
});
const { threads } = options;
const rounds = options.rounds ? [options.rounds] : [];
const list = (text: string) => text.split(',');
const cases = list(options.case);
const unknown = cases.find((name) => !['scoring', 'search', 'rows', 'step', 'memory'].includes(name));
if (unknown) throw new Error(`unknown case "${unknown}"; there are scoring, search, rows, step, memory`);

const say = (text: string): void => {
  if (!options.json) console.log(text);
};
const count = (value: number) => Math.round(value).toLocaleString('en-US');
const times = (ratio: number) => `× ${ratio.toFixed(2)}`;
const ms = (value: number) => value.toFixed(1);
const child = <Result>(file: string, args: readonly string[]): Promise<Result> =>
  freshNode<Result>(new URL(file, import.meta.url), args);

const machine = startMachine(Number(threads));
say(`${machineTitle(Number(threads))}\n`);
const results: (ScoringResult | SearchResult | RowsResult | CacheStepResult | CacheMemoryResult)[] = [];

if (cases.includes('scoring')) {
  const lines = [
    [
      'rows',
      'bare product ms',
      'GFLOP/s',
      'sums of scores ms',
      'masks, sums, samples ms',
      'over bare',
      'best over best',
    ],
  ];
  for (const rows of list(options.rows)) {
    for (const storage of list(options.storage)) {
      const r = await child<ScoringResult>('measure-cache.ts', [
        'scoring',
        rows,
        storage,
        threads,
        ...rounds,
      ]);
      results.push(r);
      lines.push([
        `${count(r.rows)} ${storage}`,
        ms(r.productMs),
        r.productGflops.toFixed(0),
        ms(r.sumsMs),
        ms(r.sampleMs),
        times(r.ratio),
        times(r.bestRatio),
      ]);
    }
  }
  say(`${table(lines)}\n`);
}

if (cases.includes('search')) {
  const lines = [['rows', 'all rows scored ms', 'index ms', 'scored', 'missed', 'error of log Z', 'build s']];
  for (const rows of list(options['search-rows'])) {
    const r = await child<SearchResult>('measure-cache.ts', ['search', rows, 'f32', threads, ...rounds]);
    results.push(r);
    lines.push([
      count(r.rows),
      ms(r.exactMs),
      ms(r.indexMs),
      `${(100 * r.scoredRatio).toFixed(2)} %`,
      r.missedProbability.toFixed(5),
      r.logPartitionError.toFixed(3),
      (r.buildMs / 1000).toFixed(1),
    ]);
  }
  say(`${table(lines)}\n`);
}

if (cases.includes('rows')) {
  const lines = [
    [
      'rows per second',
      'inserted, 128 at a time',
      'refreshed, 128 at a time',
      'copied, 128 at a time',
      'filled',
      'all refreshed',
      'bytes a row',
    ],
  ];
  for (const rows of list(options.rows)) {
    for (const storage of list(options.storage)) {
      const r = await child<RowsResult>('measure-cache.ts', ['rows', rows, storage, threads]);
      results.push(r);
      lines.push([
        `${count(r.rows)} ${storage}`,
        count(r.insertedPerSecond),
        count(r.refreshedPerSecond),
        r.copiedPerSecond === undefined ? '' : count(r.copiedPerSecond),
        count(r.filledPerSecond),
        count(r.allRefreshedPerSecond),
        String(r.bytesPerRow),
      ]);
    }
  }
  say(`${table(lines)}\n`);
}

if (cases.includes('step')) {
  for (const encoder of list(options.encoder)) {
    const lines = [
      ['cache', 'in-batch ms', 'negative-cache ms', 'of which sampling', 'ratio', 'best over best'],
    ];
    let title = encoder;
    for (const rows of list(options['step-rows'])) {
      const r = await child<CacheStepResult>('measure-cache-step.ts', [
        'step',
        encoder,
        rows,
        threads,
        ...rounds,
      ]);
      results.push(r);
      title = r.title;
      lines.push([
        `${count(r.rows)} rows`,
        ms(r.inBatchMs),
        ms(r.negativeCacheMs),
        ms(r.sampleMs),
        times(r.ratio),
        times(r.bestRatio),
      ]);
    }
    say(`${title}\n${table(lines)}\n`);
  }
}

if (cases.includes('memory')) {
  const r = await child<CacheMemoryResult>('measure-cache-step.ts', ['memory', 'small', '4096', threads]);
  results.push(r);
  const lines = r.residentBytes.map(({ step, bytes }) => [
    `resident after ${count(step)} steps`,
    `${(bytes / 1e6).toFixed(0)} MB`,
  ]);
  say(table([...lines, ['growth', `${(100 * r.growthRatio).toFixed(1)} %`]]));
}

writeResult({ ...machine(), results }, options);
