/**
 * The reference training step against PyTorch eager on the CPU:  npm run bench:peers -- [--rounds N] [--steps N] [--threads N] [--json]
 *
 * Both sides run the same shapes, batches and optimizer, each in a fresh process, one after the other; the order is reversed every
 * round, so that a slow quarter of an hour hits both. PyTorch lives in `bench/peers/.venv`, made at the first run (it needs Python
 * 3.9 or newer); UNDRIFT_PEERS_PYTHON names a Python that has it already.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { defaultThreads } from '../src/runtime/devices.ts';
import { freshNode, freshProcess } from './fresh-process.ts';
import type { StepResult } from './measure-step.ts';
import { median, table } from './statistics.ts';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    steps: { type: 'string', default: '8' },
    threads: { type: 'string', default: String(defaultThreads()) },
    json: { type: 'boolean', default: false },
  },
});
const local = (path: string) => fileURLToPath(new URL(path, import.meta.url));

interface PeerResult {
  timesMs: number[];
  peakResidentBytes: number;
  version: string;
}

function python(): string {
  const given = process.env.UNDRIFT_PEERS_PYTHON;
  if (given) return given;
  const own = local('peers/.venv/bin/python');
  if (existsSync(own)) return own;
  console.error('making bench/peers/.venv with PyTorch (several hundred megabytes, once)');
  for (const [command, ...args] of [
    ['python3', '-m', 'venv', local('peers/.venv')],
    [own, '-m', 'pip', 'install', '--quiet', '-r', local('peers/requirements.txt')],
  ] as const) {
    const { status, error } = spawnSync(command, args, { stdio: ['ignore', 2, 2] });
    if (status !== 0) {
      console.error(`could not run ${command}: ${error?.message ?? `exit code ${status}`}`);
      console.error(
        'install Python 3.9 or newer with venv, or set UNDRIFT_PEERS_PYTHON to a Python that has PyTorch',
      );
      process.exit(1);
    }
  }
  return own;
}

const interpreter = python();
const [ours, theirs]: { ms: number; bytes: number }[][] = [[], []];
let version = '';
const sides = [
  async () => {
    const args = ['t64', options.threads, options.steps];
    const { medianMs, peakResidentBytes } = await freshNode<StepResult>(
      new URL('./measure-step.ts', import.meta.url),
      args,
    );
    ours!.push({ ms: medianMs, bytes: peakResidentBytes });
  },
  async () => {
    const args = [local('peers/step.py'), 't64', options.threads, options.steps];
    const result = await freshProcess<PeerResult>(interpreter, args);
    version = result.version;
    theirs!.push({ ms: median(result.timesMs), bytes: result.peakResidentBytes });
  },
];
for (let round = 0; round < Number(options.rounds); round++) {
  for (const side of round % 2 === 0 ? sides : sides.toReversed()) await side();
  const [a, b] = [ours!.at(-1)!, theirs!.at(-1)!];
  console.error(`round ${round + 1}: undrift ${a.ms.toFixed(0)} ms, PyTorch ${b.ms.toFixed(0)} ms`);
}

const of = (side: { ms: number; bytes: number }[]) => ({
  medianMs: median(side.map(({ ms }) => ms)),
  peakResidentBytes: Math.max(...side.map(({ bytes }) => bytes)),
});
const ratios = ours!.map(({ ms }, i) => theirs![i]!.ms / ms);
const result = {
  case: 't64',
  threads: Number(options.threads),
  undrift: of(ours!),
  pytorch: { ...of(theirs!), version },
  speedRatio: { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) },
};
if (options.json) console.log(JSON.stringify(result));
else {
  const row = (name: string, { medianMs, peakResidentBytes }: ReturnType<typeof of>) => [
    name,
    `${medianMs.toFixed(0)} ms`,
    `${(peakResidentBytes / 1e6).toFixed(0)} MB`,
  ];
  console.log(
    table([
      ['', 'step', 'peak memory'],
      row('undrift', result.undrift),
      row(`PyTorch ${version}`, result.pytorch),
    ]),
  );
  const { median: middle, min, max } = result.speedRatio;
  console.log(
    `\nPyTorch's time over ours, round by round: ${middle.toFixed(2)} (${min.toFixed(2)} to ${max.toFixed(2)})`,
  );
}
