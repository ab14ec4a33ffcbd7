#!/usr/bin/env node
import { runCli } from './run-cli.ts';

// A reader that has seen enough, as in `undrift search … | head -1`, is no fault.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});
process.stderr.on('error', () => {});

process.exitCode = await runCli(process.argv.slice(2));
