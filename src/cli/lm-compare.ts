import { readLanguageComparison } from '../compare/language/read-comparison.ts';
import { runLanguageComparison } from '../compare/language/run-comparison.ts';
import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { formatDuration } from '../util/format.ts';
import { defineCommand } from './command.ts';
import { REPORT_OPTIONS, reportResults, storedResults } from './comparison-report.ts';
import { withFlags } from './describe-error.ts';
import { showProgress } from './model-source.ts';
import { computeOptions } from './shared-options.ts';

/** The command `undrift lm compare`: measures language systems on the same text or questions. */
export const compareLanguageCommand = defineCommand({
  description:
    'CONFIG is a JSON file: {"model": folder, "data": text or data set with answers, "out": folder, "base": {options of all arms}, ' +
    '"arms": [{"name", "method", further options}], "evaluate": {"window", "stride", "limit-tokens", "split", "limit-queries", "prompt", ' +
    '"answer-tokens"}}; paths are relative to it. Methods and their options are those of undrift lm eval. All arms score the same ' +
    'tokens. The language model alone and the controls of the systems, such as random passages and the oracle, are measured beside the arms. Writes results.json, with ' +
    'differences from the model alone and their intervals, and report.html. Run it again to go on where it stopped.',
  arguments: [{ name: 'config', help: 'JSON file; with --report-only also a results.json', required: true }],
  options: {
    model: { type: 'text', value: 'model', help: 'language model instead of the one in the file' },
    data: { type: 'text', value: 'path', help: 'data instead of that in the file' },
    out: { type: 'text', value: 'folder', help: 'folder of the comparison instead of the one in the file' },
    ...REPORT_OPTIONS,
    ...COMPUTE_OPTIONS,
  },
  stopsGracefully: true,
  examples: [
    'bench/rlm/questions.json',
    'bench/rlm/questions.json --data data/squad --out runs/squad-passages',
    'runs/squad-passages/results.json --report-only --markdown docs/passages.md',
  ],
  async run({ device, threads, overwrite, reportOnly, ...options }, io, [file]) {
    const read = () => readLanguageComparison(file!, options);
    if (reportOnly) {
      return await reportResults(
        await storedResults(file!, options.out, async () => (await read()).out),
        options,
      );
    }
    const comparison = await read();
    const onNote = (note: string) => io.log(`note: ${note}`);
    const results = await runLanguageComparison(
      comparison,
      { overwrite, ...computeOptions({ device, threads }) },
      {
        ...(io.signal && { signal: io.signal }),
        onProgress: showProgress(io),
        onNote,
        onArm: ({ name, number, arms }) => io.log(`arm ${number} of ${arms}: ${name}`),
        onResult({ arm, evaluation, training }) {
          const metrics = Object.entries(evaluation.metrics).map(
            ([name, value]) => `${name} ${value.toFixed(4)}`,
          );
          io.log(`${arm}: ${metrics.join(', ')} after ${formatDuration(training.wallMs)}`);
        },
        describe: withFlags,
        onFailure: ({ arm, message }) => io.log(`${arm} failed: ${message}`),
      },
    );
    io.finishProgress();
    return await reportResults({ out: comparison.out, results }, options);
  },
});
