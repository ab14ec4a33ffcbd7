/**
 * Measures the speed of correctors:
 *
 *     npm run bench:corrector -- [--case rows,step,learn] [--kind mlp,ridge] [--dimension 256,384] [--rows 1048576] [--storage f32]
 *                                [--rounds N] [--threads N] [--json] [--out FILE]
 *
 * - `rows`: rows corrected per second. Reported as a share of the rate of a 1024³ product measured between
 *   the rounds, and as a multiple of the speed of embedding texts with the 6-layer reference encoder
 * - `step`: the corrector's share of a step of the method `corrector`, for the encoders of `bench:cache`
 * - `learn`: time that an update of the corrector adds to a training step, including refits
 *
 * Each measurement runs in a separate process.
 */
import { parseArgs } from 'node:util';
import { defaultThreads } from '../src/runtime/devices.ts';
import { freshNode } from './fresh-process.ts';
import type { CorrectorStepResult } from './measure-cache-step.ts';
import type { CorrectedRowsResult, CorrectorLearnResult, EncodeResult } from './measure-corrector.ts';
import { machineTitle, RESULT_OPTIONS, startMachine, writeResult } from './result-file.ts';
import { table } from './statistics.ts';

const CASES = ['rows', 'step', 'learn'];
/** Numbers of documents in the cases of `step`. */
const STEP_ROWS = [20_000, 200_000];

const { values: options } = parseArgs({
  options: {
    case: { type: 'string', default: CASES.join(',') },
    kind: { type: 'string', default: 'mlp,ridge' },
    dimension: { type: 'string', default: '256,384' },
    rows: { type: 'string', default: '1048576' },
    storage: { type: 'string', default: 'f32' },
    rounds: { type: 'string' },
    threads: { type: 'string', default: String(defaultThreads()) },
    ...RESULT_OPTIONS,
  },
});
const { threads } = options;
const rounds = options.rounds ? [options.rounds] : [];
const list = (text: string) => text.split(',');
const cases = list(options.case);
const unknown = cases.find((name) => !CASES.includes(name));
if (unknown) throw new Error(`unknown case "${unknown}"; there are ${CASES.join(', ')}`);

const say = (text: string): void => {
  if (!options.json) console.log(text);
};
const count = (value: number) => Math.round(value).toLocaleString('en-US');
const percent = (ratio: number) => `${(100 * ratio).toFixed(0)} %`;
const child = <Result>(args: readonly string[]): Promise<Result> =>
  freshNode<Result>(new URL('measure-corrector.ts', import.meta.url), args);

const machine = startMachine(Number(threads));
say(`${machineTitle(Number(threads))}\n`);
const results: (CorrectedRowsResult | CorrectorStepResult | CorrectorLearnResult | EncodeResult)[] = [];

if (cases.includes('rows')) {
  const encoded = await child<EncodeResult>(['encode', threads]);
  results.push(encoded);
  const lines = [
    ['corrector', 'rows a second', 'GFLOP/s', 'of a product', 'share', 'best over best', 'over encoding'],
  ];
  for (const kind of list(options.kind)) {
    for (const dimension of list(options.dimension)) {
      for (const rows of list(options.rows)) {
        for (const storage of list(options.storage)) {
          const r = await child<CorrectedRowsResult>([
            'rows',
            kind,
            dimension,
            rows,
            storage,
            threads,
            ...rounds,
          ]);
          results.push(r);
          lines.push([
            `${r.kind}, ${count(r.rows)} × ${r.dimension} ${r.storage}`,
            count(r.rowsPerSecond),
            r.gflops.toFixed(0),
            r.gemmGflops.toFixed(0),
            percent(r.share),
            percent(r.bestShare),
            `× ${count(r.rowsPerSecond / encoded.textsPerSecond)}`,
          ]);
        }
      }
    }
  }
  say(`${table(lines)}\n\n${encoded.title}: ${encoded.textsPerSecond.toFixed(1)} texts a second\n`);
}

if (cases.includes('step')) {
  const lines = [['a step of the method corrector (mlp)', 'rows', 'ms', 'of which the corrector', 'share']];
  for (const encoder of ['static', 'transformer']) {
    for (const rows of STEP_ROWS) {
      const r = await freshNode<CorrectorStepResult>(new URL('measure-cache-step.ts', import.meta.url), [
        'corrector',
        encoder,
        String(rows),
        threads,
        ...rounds,
      ]);
      results.push(r);
      lines.push([
        r.title,
        count(r.rows),
        r.stepMs.toFixed(1),
        `${r.correctMs.toFixed(1)} ms`,
        percent(r.share),
      ]);
    }
  }
  say(`${table(lines)}\n`);
}

if (cases.includes('learn')) {
  const lines = [['corrector', 'ms an update']];
  for (const kind of list(options.kind)) {
    for (const dimension of list(options.dimension)) {
      const r = await child<CorrectorLearnResult>(['learn', kind, dimension, threads]);
      results.push(r);
      lines.push([`${r.kind}, D ${r.dimension}, ${r.pairs} pairs`, r.updateMs.toFixed(2)]);
    }
  }
  say(`${table(lines)}\n`);
}

writeResult({ ...machine(), results }, options);
