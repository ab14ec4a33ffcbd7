#!/usr/bin/env node
import { runCli } from './run-cli.ts';

// A reader may close the pipe early, as in `undrift search … | head -1`. That is not an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});
process.stderr.on('error', () => {});

process.exitCode = await runCli(process.argv.slice(2));
