/**
 * Measures the speed of correctors:
 *
 *     npm run bench:corrector -- [--case rows,step,draws,learn] [--kind mlp,ridge] [--dimension 256,384] [--rows 1048576] [--storage f32]
 *                                [--encoder static,transformer] [--step-rows 20000,200000] [--rounds N] [--threads N] [--json] [--out FILE]
 *
 * - `rows`: rows corrected per second. Reported as a share of the rate of a 1024³ product measured between
 *   the rounds, and as a multiple of the speed of embedding texts with the 6-layer reference encoder
 * - `step`: the corrector's share of a step of the method `corrector`, for the encoders of `bench:cache`: all rows corrected, and
 *   those that an index draws, alternating
 * - `draws`: how often a draw from rows that are corrected as they are drawn is not that of many more candidates, at several drifts
 * - `learn`: time that an update of the corrector adds to a training step, including refits
 *
 * Each measurement runs in a separate process.
 */
import { parseArgs } from 'node:util';
import { defaultThreads } from '../src/runtime/devices.ts';
import { freshNode } from './fresh-process.ts';
import type { CorrectorStepResult } from './measure-cache-step.ts';
import type {
  CorrectedDrawsResult,
  CorrectedRowsResult,
  CorrectorLearnResult,
  EncodeResult,
} from './measure-corrector.ts';
import { machineTitle, RESULT_OPTIONS, startMachine, writeResult } from './result-file.ts';
import { table } from './statistics.ts';

const CASES = ['rows', 'step', 'draws', 'learn'];
/** Lengths of the drift in the cases of `draws`. */
const DRIFTS = ['0.2', '0.5', '1'];

const { values: options } = parseArgs({
  options: {
    case: { type: 'string', default: CASES.join(',') },
    kind: { type: 'string', default: 'mlp,ridge' },
    dimension: { type: 'string', default: '256,384' },
    rows: { type: 'string', default: '1048576' },
    storage: { type: 'string', default: 'f32' },
    encoder: { type: 'string', default: 'static,transformer' },
    'step-rows': { type: 'string', default: '20000,200000' },
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
const results: (
  | CorrectedRowsResult
  | CorrectorStepResult
  | CorrectedDrawsResult
  | CorrectorLearnResult
  | EncodeResult
)[] = [];

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
  const lines = [
    [
      'a step of the method corrector (mlp)',
      'rows',
      'corrected',
      'ms',
      'of which the corrector',
      'share',
      'missed',
    ],
  ];
  for (const encoder of list(options.encoder)) {
    for (const rows of list(options['step-rows'])) {
      const r = await freshNode<CorrectorStepResult>(new URL('measure-cache-step.ts', import.meta.url), [
        'corrector',
        encoder,
        rows,
        threads,
        ...rounds,
      ]);
      results.push(r);
      for (const [way, of, missed] of [
        ['all', r.exact, ''],
        [`${(100 * r.index.correctedRatio).toFixed(1)} %`, r.index, r.index.missedProbability.toFixed(4)],
      ] as const) {
        const part = [of.stepMs.toFixed(1), `${of.correctMs.toFixed(1)} ms`, percent(of.share)];
        lines.push([r.title, count(r.rows), way, ...part, missed]);
      }
    }
  }
  say(`${table(lines)}\n`);
}

if (cases.includes('draws')) {
  const lines = [
    ['drift', 'rows moved by', 'KL', 'candidates', 'differing draws', 'estimated', 'error of log Z'],
  ];
  for (const drift of DRIFTS) {
    const r = await child<CorrectedDrawsResult>(['draws', drift, threads, ...rounds]);
    results.push(r);
    lines.push([
      drift,
      r.moved.toFixed(3),
      `${r.kl.toFixed(3)} nats`,
      count(r.candidates),
      `${r.differing.toFixed(4)} of ${count(r.draws)}`,
      r.missedProbability.toFixed(4),
      r.logPartitionError.toFixed(3),
    ]);
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
