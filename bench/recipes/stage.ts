/**
 * Runs one command of `undrift` in a process of its own, and reports its time and peak memory:
 *
 *     stage.ts train --data data/api-docs --out runs/first …
 */
import { runCli } from '../../src/cli/run-cli.ts';
import { report } from '../fresh-process.ts';

const startMs = performance.now();
const code = await runCli(process.argv.slice(2));
if (code !== 0) process.exit(code);
report({
  seconds: (performance.now() - startMs) / 1000,
  peakResidentBytes: process.resourceUsage().maxRSS * 1024,
});
