/**
 * Child process of `bench/step.ts` that measures one case and reports it:
 *
 *     measure-step.ts CASE THREADS [STEPS]
 */
import { Program } from '../src/runtime/program.ts';
import { report } from './fresh-process.ts';
import { GemmTimer, LAYOUTS, SQUARE } from './gemm-rate.ts';
import { followMemory, type ResidentMemory } from './resident-memory.ts';
import { median, medians, minimum, type WithQuartiles } from './statistics.ts';
import { STEP_CASES, type StepCase, stepFlops, TrainingStep } from './training-step.ts';

const WARMUP_STEPS = 3;
const MEMORY_STEPS = 10_000;

/** Rate of a matrix product, in 10⁹ operations per second. */
export interface GemmResult {
  readonly name: string;
  readonly bestGflops: number;
  readonly medianGflops: number;
}
/** Speed and memory of a training step. */
export interface StepResult extends WithQuartiles {
  readonly case: string;
  readonly title: string;
  readonly threads: number;
  readonly parameters: number;
  readonly steps: number;
  readonly medianMs: number;
  readonly minMs: number;
  /** Floating-point operations of a step, in 10⁹; 0 for a step that is not dominated by matrix products. */
  readonly gflop: number;
  readonly gemm: GemmResult;
  /** Median rate of the step divided by the median rate of the 1024³ products between the steps. */
  readonly gemmShareRatio: number;
  /** Best rate of the step divided by the best rate of the products. */
  readonly bestGemmShareRatio: number;
  /** Share of the time of a step that is spent outside the runtime. */
  readonly outsideRuntimeRatio: number;
  readonly peakResidentBytes: number;
  readonly loss: number;
}
/** Memory over many training steps. */
export interface MemoryResult extends ResidentMemory {
  readonly case: 'memory';
  readonly title: string;
  readonly threads: number;
  readonly steps: number;
}

const [id = '', threadsGiven, stepsGiven] = process.argv.slice(2);
const threads = Number(threadsGiven);

async function measure(): Promise<unknown> {
  if (id === 'gemm') return gemmRates([SQUARE, ...LAYOUTS]);
  const shape = STEP_CASES.find((known) => known.id === (id === 'memory' ? 'static' : id));
  if (!shape) {
    throw new Error(
      `unknown case "${id}"; there are ${[...STEP_CASES.map((c) => c.id), 'memory'].join(', ')}`,
    );
  }
  return id === 'memory' ? memory(shape) : steps(shape);
}

async function gemmRates(shapes: typeof LAYOUTS): Promise<GemmResult[]> {
  const results: GemmResult[] = [];
  for (const shape of shapes) {
    const timer = await GemmTimer.create(shape, { threads });
    await timer.measure(40);
    results.push(gemmResult(shape.name, timer));
    await timer.dispose();
  }
  return results;
}

const gemmResult = (name: string, { flops, timesMs }: GemmTimer): GemmResult => ({
  name,
  bestGflops: flops / minimum(timesMs) / 1e6,
  medianGflops: flops / median(timesMs) / 1e6,
});

async function steps(shape: StepCase): Promise<StepResult> {
  const step = await TrainingStep.create(shape, { threads });
  const timer = await GemmTimer.create(SQUARE, { threads });
  const count = Number(stepsGiven ?? shape.steps);
  const timesMs: number[] = [];
  let [loss, insideMs] = [0, 0];
  for (let i = -WARMUP_STEPS; i < count; i++) {
    const insideBefore = Program.stats.runMs;
    const startMs = performance.now();
    loss = await step.run();
    const elapsedMs = performance.now() - startMs;
    if (i < 0) continue;
    timesMs.push(elapsedMs);
    insideMs += Program.stats.runMs - insideBefore;
    await timer.measure(2);
  }
  const gflop = stepFlops(shape) / 1e9;
  const gemm = gemmResult(SQUARE.name, timer);
  const [medianMs, minMs] = [median(timesMs), minimum(timesMs)];
  return {
    case: shape.id,
    title: shape.title,
    threads,
    parameters: step.parameters,
    steps: count,
    ...medians({ medianMs: timesMs }),
    minMs,
    gflop,
    gemm,
    gemmShareRatio: (1000 * gflop) / medianMs / gemm.medianGflops,
    bestGemmShareRatio: (1000 * gflop) / minMs / gemm.bestGflops,
    outsideRuntimeRatio: 1 - insideMs / timesMs.reduce((a, b) => a + b, 0),
    peakResidentBytes: process.resourceUsage().maxRSS * 1024,
    loss,
  };
}

async function memory(shape: StepCase): Promise<MemoryResult> {
  const step = await TrainingStep.create(shape, { threads });
  const count = Number(stepsGiven ?? MEMORY_STEPS);
  return {
    case: 'memory',
    title: `${count} steps: ${shape.title}`,
    threads,
    steps: count,
    ...(await followMemory(count, () => step.run())),
  };
}

report(await measure());
