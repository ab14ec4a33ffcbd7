#!/usr/bin/env node
import { runCli } from './run-cli.ts';

// Whoever writes handles a failure; without a listener, it would end the process with a stack trace.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});

process.exitCode = await runCli(process.argv.slice(2));
