/**
 * Measures a refresh during training: the effect on the speed of training, and the effect of training on the
 * refresh:
 *
 *     npm run bench:refresh -- --data DIR [--case static,transformer] [--threads N] [--worker-threads N] [--niceness N] [--rounds N] [--json] [--out FILE]
 *
 * `--data` is by default the quick start's data, which are made anew. Each case runs in a fresh process. A round times in turn: a refresh in that process, a refresh in the
 * worker, steps without a refresh for the same duration, and steps while the worker refreshes. The medians
 * are reported.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildApiDocs } from '../src/data/api-docs.ts';
import { NICENESS } from '../src/models/background/background-encoder.ts';
import { defaultThreads } from '../src/runtime/devices.ts';
import { freshNode } from './fresh-process.ts';
import type { RefreshResult } from './measure-refresh.ts';
import { machineTitle, RESULT_OPTIONS, startMachine, writeResult } from './result-file.ts';
import { table } from './statistics.ts';

const { values: options } = parseArgs({
  options: {
    data: { type: 'string' },
    case: { type: 'string', default: 'static,transformer' },
    threads: { type: 'string', default: String(defaultThreads()) },
    'worker-threads': { type: 'string' },
    niceness: { type: 'string', default: String(NICENESS) },
    rounds: { type: 'string', default: '5' },
    ...RESULT_OPTIONS,
  },
});
const { threads, 'worker-threads': workerThreads = threads } = options;

const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
const times = (ratio: number) => `× ${ratio.toFixed(2)}`;
const data =
  options.data ??
  (await buildApiDocs({ out: fileURLToPath(new URL('results/tmp/api-docs', import.meta.url)) })).folder;
const machine = startMachine(Number(threads));
if (!options.json) console.log(`${machineTitle(Number(threads))}\n`);
const results: RefreshResult[] = [];
for (const id of options.case.split(',')) {
  const result = await freshNode<RefreshResult>(new URL('measure-refresh.ts', import.meta.url), [
    id,
    data,
    threads,
    workerThreads,
    options.niceness,
    options.rounds,
  ]);
  results.push(result);
  if (options.json) continue;
  const { stepsPerSecond, stepsPerSecondBeside, hereMs, aloneMs, besideMs } = result;
  const rows = [
    ['', '', 'ratio'],
    ['steps per second', stepsPerSecond.toFixed(2), ''],
    [
      '  with a refresh beside',
      stepsPerSecondBeside.toFixed(2),
      times(stepsPerSecondBeside / stepsPerSecond),
    ],
    [`refresh of ${result.rows} rows in the training process`, seconds(hereMs), ''],
    ['  in the worker, training at rest', seconds(aloneMs), times(aloneMs / hereMs)],
    ['  in the worker, beside training', seconds(besideMs), times(besideMs / hereMs)],
  ];
  console.log(
    `${result.title}; worker: ${workerThreads} threads, niceness ${options.niceness}\n${table(rows)}\n`,
  );
}
writeResult({ ...machine(), results }, options);
