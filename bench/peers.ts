/**
 * The reference step beside PyTorch's:  npm run bench:peers -- [--case t64,t128] [--rounds N] [--steps N] [--threads N] [--json]
 *
 * Every round runs each side in a fresh process on the same number of threads, in an order that turns round after round, so
 * that a machine that slows down or speeds up favours none.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { defaultThreads } from '../src/runtime/devices.ts';
import { freshNode, freshProcess } from './fresh-process.ts';
import { peersPython } from './peers/python.ts';
import { median, minimum, table } from './statistics.ts';
import { STEP_CASES } from './training-step.ts';

interface Measurement {
  readonly timesMs: readonly number[];
  readonly peakResidentBytes: number;
  /** Largest resident memory before the model exists. */
  readonly startResidentBytes: number;
  readonly version: string;
}

const { values: options } = parseArgs({
  options: {
    case: { type: 'string', default: 't64' },
    rounds: { type: 'string', default: '5' },
    steps: { type: 'string', default: '8' },
    threads: { type: 'string', default: String(defaultThreads()) },
    json: { type: 'boolean', default: false },
  },
});
const { threads, steps } = options;

const python = peersPython();
const torchStep = fileURLToPath(new URL('peers/step.py', import.meta.url));
const torch = (id: string, ...flags: string[]) =>
  freshProcess<Measurement>(python, [torchStep, id, threads, steps, ...flags], {
    env: { OMP_NUM_THREADS: threads, MKL_NUM_THREADS: threads },
  });
const SIDES: Readonly<Record<string, (id: string) => Promise<Measurement>>> = {
  undrift: (id) => freshNode(new URL('peers/undrift-step.ts', import.meta.url), [id, threads, steps]),
  'PyTorch eager': (id) => torch(id),
  'PyTorch eager, fused AdamW': (id) => torch(id, '--fused'),
};
const names = Object.keys(SIDES);

const results = [];
for (const id of options.case.split(',')) {
  const shape = STEP_CASES.find((known) => known.id === id);
  if (shape?.encoder.model.model_type !== 'bert') {
    console.error(`bench:peers: no such case: ${id}\n  help: use t64 or t128`);
    process.exit(1);
  }
  const measured: Record<string, Measurement[]> = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed())
      measured[name]!.push(await SIDES[name]!(id));
  }
  const sides = names.map((name) => summary(name, measured[name]!, measured.undrift!));
  results.push({ case: id, title: shape.title, threads: Number(threads), sides });
  if (!options.json) console.log(`${shape.title}, ${threads} threads\n${formatted(sides)}\n`);
}
if (options.json) console.log(JSON.stringify(results));

/** One side's figures over all rounds; ratios say how many times our time and memory it takes. */
function summary(name: string, own: readonly Measurement[], ours: readonly Measurement[]) {
  const ratios = own.map((m, round) => median(m.timesMs) / median(ours[round]!.timesMs));
  const times = own.flatMap((m) => m.timesMs);
  const peak = (list: readonly Measurement[]) => Math.max(...list.map((m) => m.peakResidentBytes));
  return {
    name,
    version: own[0]!.version,
    medianMs: median(times),
    minMs: minimum(times),
    timeRatio: median(ratios),
    timeRatioRange: [minimum(ratios), Math.max(...ratios)] as const,
    peakResidentBytes: peak(own),
    startResidentBytes: Math.max(...own.map((m) => m.startResidentBytes)),
    memoryRatio: peak(own) / peak(ours),
  };
}

function formatted(sides: readonly ReturnType<typeof summary>[]): string {
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;
  return table([
    [
      '',
      'median',
      'best',
      'time, × ours (rounds)',
      'peak memory',
      'of it before the model',
      '× ours',
      'version',
    ],
    ...sides.map((s) => [
      s.name,
      `${s.medianMs.toFixed(0)} ms`,
      `${s.minMs.toFixed(0)} ms`,
      `${s.timeRatio.toFixed(2)} (${s.timeRatioRange.map((r) => r.toFixed(2)).join('–')})`,
      megabytes(s.peakResidentBytes),
      megabytes(s.startResidentBytes),
      s.memoryRatio.toFixed(2),
      s.version,
    ]),
  ]);
}
