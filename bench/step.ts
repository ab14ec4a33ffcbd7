/**
 * Measures the speed and memory of training steps:
 *
 *     npm run bench:step -- [--case t64,t128,t256,t256-checkpointed,static] [--steps N] [--threads N] [--json] [--out FILE]
 *
 * Each case runs in a fresh process. Matrix products of 1024³ are timed between the steps, so that both see
 * the same state of the machine. The step is compared with their rate. `--case memory` runs 10,000 static
 * steps and follows the resident memory.
 */

import { parseArgs } from 'node:util';
import { defaultThreads } from '../src/runtime/devices.ts';
import { percent } from '../src/util/format.ts';
import { freshNode } from './fresh-process.ts';
import type { GemmResult, MemoryResult, StepResult } from './measure-step.ts';
import { machineTitle, RESULT_OPTIONS, startMachine, writeResult } from './result-file.ts';
import { table } from './statistics.ts';
import { STEP_CASES } from './training-step.ts';

const { values: options } = parseArgs({
  options: {
    case: { type: 'string', default: STEP_CASES.map(({ id }) => id).join(',') },
    steps: { type: 'string' },
    threads: { type: 'string', default: String(defaultThreads()) },
    ...RESULT_OPTIONS,
  },
});
const threads = Number(options.threads);

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;

function stepRows(r: StepResult): string[][] {
  const matrixProducts = [
    ['floating-point operations', `${r.gflop.toFixed(1)} GFLOP`],
    [
      'rate',
      `${((1000 * r.gflop) / r.medianMs).toFixed(0)} GFLOP/s (best ${((1000 * r.gflop) / r.minMs).toFixed(0)})`,
    ],
    [
      '1024³ product between steps',
      `${r.gemm.medianGflops.toFixed(0)} GFLOP/s (best ${r.gemm.bestGflops.toFixed(0)})`,
    ],
    [
      'share of that rate',
      `${percent(r.gemmShareRatio)} (best against best ${percent(r.bestGemmShareRatio)})`,
    ],
  ];
  return [
    ['step', `${r.medianMs.toFixed(1)} ms (best ${r.minMs.toFixed(1)}) of ${r.steps}`],
    ...(r.gflop > 0 ? matrixProducts : []),
    ['outside the runtime', percent(r.outsideRuntimeRatio)],
    ['peak resident memory', megabytes(r.peakResidentBytes)],
    ['parameters', `${(r.parameters / 1e6).toFixed(1)} M`],
  ];
}

function memoryRows(r: MemoryResult): string[][] {
  return [
    ['step', `${r.medianMs.toFixed(1)} ms`],
    ...r.residentBytes.map(({ step, bytes }) => [`resident after ${step}`, megabytes(bytes)]),
    ['growth from 500 on', percent(r.growthRatio)],
  ];
}

const run = <Result>(id: string): Promise<Result> =>
  freshNode(new URL('measure-step.ts', import.meta.url), [
    id,
    String(threads),
    ...(options.steps ? [options.steps] : []),
  ]);
const say = (text: string): void => {
  if (!options.json) console.log(text);
};

say(`${machineTitle(threads)}\n`);
const machine = startMachine(threads);
const gemms = await run<GemmResult[]>('gemm');
const rows = gemms.map((g) => [g.name, g.bestGflops.toFixed(0), g.medianGflops.toFixed(0)]);
say(table([['f32 matrix product', 'best GFLOP/s', 'median'], ...rows]));
const results: (StepResult | MemoryResult)[] = [];
for (const id of options.case.split(',')) {
  const result = await run<StepResult | MemoryResult>(id);
  results.push(result);
  say(`\n${result.title}\n${table('growthRatio' in result ? memoryRows(result) : stepRows(result))}`);
}
writeResult({ ...machine(), gemms, results }, options);
