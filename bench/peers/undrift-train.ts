/**
 * Fine-tunes with Undrift by calling `trainRetriever`. The run goes to FOLDER/run:
 *
 *     undrift-train.ts FOLDER THREADS STEPS
 */
import { join } from 'node:path';
import { trainRetriever } from '../../src/train/train-retriever.ts';
import { report } from '../fresh-process.ts';
import { TRAINING } from './workload.ts';

const startResidentBytes = process.resourceUsage().maxRSS * 1024;
const [folder, threads, steps] = process.argv.slice(2);
const timesMs: number[] = [];
const losses: number[] = [];
let peakResidentBytes = 0;
let before = 0;
await trainRetriever(
  {
    data: join(folder!, 'train.jsonl'),
    out: join(folder!, 'run'),
    overwrite: true,
    model: join(folder!, 'model'),
    steps: Number(steps),
    threads: Number(threads),
    schedule: 'constant',
    warmup: 0,
    evalSplit: 'none',
    ...TRAINING,
  },
  {
    onStep({ trainingLoss }) {
      const now = performance.now();
      if (before > 0) timesMs.push(now - before);
      before = now;
      losses.push(trainingLoss);
      // Work after the last step, such as saving the model, is not part of training.
      peakResidentBytes = process.resourceUsage().maxRSS * 1024;
    },
  },
);
report({
  timesMs,
  peakResidentBytes,
  startResidentBytes,
  version: `Undrift, Node ${process.version}`,
  losses,
});
