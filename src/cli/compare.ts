import type { Comparison } from '../compare/comparison.ts';
import { readComparison } from '../compare/read-comparison.ts';
import { runComparison } from '../compare/run-comparison.ts';
import { ANY_DATA_OPTIONS } from '../data/load-options.ts';
import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import type { Device } from '../runtime/devices.ts';
import { SUBJECT_OPTIONS } from '../train/options.ts';
import { formatDuration } from '../util/format.ts';
import { type GivenOptions, withoutDefaults } from '../util/option-table.ts';
import { defineCommand } from './command.ts';
import { type FoundResults, REPORT_OPTIONS, reportResults, storedResults } from './comparison-report.ts';
import { withFlags } from './describe-error.ts';
import type { Io } from './io.ts';
import { loadProgress } from './model-source.ts';
import { TrainingProgress } from './training-progress.ts';

/** The command `undrift compare`: trains with several methods or settings and compares the models. */
export const compareCommand = defineCommand({
  description:
    'CONFIG is a JSON file: {"data": folder, "out": folder, "base": {train options}, "budget": {"steps" | "epochs" | "encodes" | ' +
    '"minutes": n}, "seeds": [1, 2, 3], "arms": [{"name", "method", further options}], "evaluate": {"split", "metrics", ' +
    '"queries"}}; paths are relative to it. Every arm is trained with every seed and measured on the test split; the others are ' +
    'compared with the first arm. Writes results.json and report.html. Run it again to go on where it stopped.',
  arguments: [{ name: 'config', help: 'JSON file; with --report-only also a results.json', required: true }],
  options: {
    data: { type: 'text', value: 'folder', help: 'data set instead of the one in the file' },
    out: { type: 'text', value: 'folder', help: 'folder of the comparison instead of the one in the file' },
    evalData: {
      ...SUBJECT_OPTIONS.evalData,
      help: 'data set whose splits are evaluated on',
      defaultHelp: 'that in the file',
    },
    ...withoutDefaults(ANY_DATA_OPTIONS),
    ...REPORT_OPTIONS,
    // Without defaults, since the config file decides about options that are not given.
    ...withoutDefaults(COMPUTE_OPTIONS),
  },
  stopsGracefully: true,
  examples: [
    'bench/quality/negatives.json',
    'bench/quality/negatives.json --data data/api-docs --out runs/negatives',
    'runs/negatives/results.json --report-only --markdown docs/negatives.md',
  ],
  async run(options, io, [file]) {
    const found = options.reportOnly
      ? await storedResults(file!, options.out, async () => (await readComparison(file!, options)).out)
      : await newResults(file!, options, io);
    return await reportResults(found, options);
  },
});

interface Given extends GivenOptions<typeof ANY_DATA_OPTIONS> {
  readonly evalData: string | undefined;
  readonly data: string | undefined;
  readonly out: string | undefined;
  readonly overwrite: boolean;
  readonly device: Device | undefined;
  readonly threads: number | undefined;
}

async function newResults(file: string, given: Given, io: Io): Promise<FoundResults> {
  const comparison = await readComparison(file, given);
  const results = await runComparison(
    comparison,
    {
      overwrite: given.overwrite,
      ...(given.device && { device: given.device }),
      ...(given.threads && { threads: given.threads }),
    },
    runCallbacks(comparison, io),
  );
  io.finishProgress();
  return { out: comparison.out, results };
}

/** Returns callbacks that show the runs one after the other. */
function runCallbacks({ evaluate }: Comparison, io: Io): Parameters<typeof runComparison>[2] {
  const training = new TrainingProgress(io);
  const loading = loadProgress(io);
  return {
    signal: io.signal,
    onProgress: (progress) => (progress.unit === 'bytes' ? loading(progress) : training.stage(progress)),
    onPlan(arm, steps) {
      training.begin(`pilot of ${arm}`);
      io.log(
        steps === undefined ? `measuring the cost of ${arm}` : `${arm}: ${steps} steps fit into the budget`,
      );
    },
    onRun({ arm, seed, number, runs, state }) {
      const label = `${arm}, seed ${seed}`;
      training.begin(label);
      const verb = { new: 'train', begun: 'go on with', trained: 'measure', other: 'train again', done: '' }[
        state
      ];
      io.log(`run ${number} of ${runs}: ${verb} ${label}`);
    },
    onBackground: (progress) => training.background(progress),
    onStep: (report) => training.step(report),
    onResult({ arm, seed, training, evaluation }) {
      const metrics = evaluate.metrics.map((metric) => `${metric} ${evaluation.metrics[metric]!.toFixed(4)}`);
      io.log(
        `${arm}, seed ${seed}: ${metrics.join(', ')} after ${training.steps} steps, ${formatDuration(training.wallMs)}`,
      );
    },
    describe: withFlags,
    onFailure: ({ arm, seed, message }) => io.log(`${arm}, seed ${seed} failed: ${message}`),
  };
}
