/**
 * Runs Undrift's side of the suite `step` of `bench/peers.ts`, in a separate process:
 *
 *     undrift-step.ts CASE THREADS STEPS
 */
import { report } from '../fresh-process.ts';
import { STEP_CASES, TrainingStep } from '../training-step.ts';

/** Largest number of steps before those that are timed: as many as are timed. */
const MOST_WARMUP_STEPS = 3;

const startResidentBytes = process.resourceUsage().maxRSS * 1024;
const [id, threads, steps] = process.argv.slice(2);
const step = await TrainingStep.create(STEP_CASES.find((known) => known.id === id)!, {
  threads: Number(threads),
});
const timesMs: number[] = [];
for (let i = -Math.min(MOST_WARMUP_STEPS, Number(steps)); i < Number(steps); i++) {
  const startMs = performance.now();
  await step.run();
  if (i >= 0) timesMs.push(performance.now() - startMs);
}
const peakResidentBytes = process.resourceUsage().maxRSS * 1024;
report({ timesMs, peakResidentBytes, startResidentBytes, version: `Undrift, Node ${process.version}` });
