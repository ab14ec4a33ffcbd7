import { parseCommandLine, runInvocation } from './command.ts';
import { commandsFor } from './commands.ts';
import { describeError } from './describe-error.ts';
import { INTERRUPTED_EXIT_CODE, Interrupted, TerminalIo } from './io.ts';
import { packageVersion } from './package-version.ts';
import { checkOutputOpen, OutputError, writeOut } from './stdout.ts';

const SUMMARY = 'Train dense retrievers at native speed, on embeddings that are allowed to go stale.';

/** Time that a command without a graceful stop has for cleaning up after Ctrl-C, in milliseconds. */
const CLEANUP_MS = 3000;

/**
 * Runs one command line. The result goes to stdout, everything else to stderr.
 *
 * With `--json`, exactly one JSON object goes to stdout: the result, or `{"error": {"type", "message",
 * "help"}}`.
 *
 * @param argv  words after the name of the program
 * @returns  the exit code: 0 success, 1 failure, 2 wrong usage, 130 interrupted
 */
export async function runCli(argv: readonly string[]): Promise<number> {
  // A command line that cannot be parsed may still contain `--json`.
  let json = argv.includes('--json');
  // A library that starts several things may drop the failure of one of them. The command ends with this failure.
  const onStray = (error: unknown) => void fail(error, json).then((code) => process.exit(code));
  process.on('unhandledRejection', onStray);
  try {
    checkOutputOpen();
    const outcome = parseCommandLine(argv, {
      version: packageVersion(),
      summary: SUMMARY,
      commands: await commandsFor(argv),
    });
    if (outcome.kind === 'done') {
      await writeOut(outcome.text);
      return outcome.exitCode;
    }
    const { invocation } = outcome;
    json = invocation.given.json === true;
    const graceful = invocation.spec.stopsGracefully ?? false;
    const stop = stopOnSignals({ graceful });
    const io = new TerminalIo({
      signal: stop.signal,
      quiet: invocation.given.quiet === true,
      graceful,
      json,
    });
    try {
      const result = await runInvocation(invocation, io);
      io.finishProgress();
      await writeOut(json ? `${JSON.stringify(result.json)}\n` : result.text);
      return result.exitCode ?? 0;
    } finally {
      io.finishProgress();
      stop.dispose();
    }
  } catch (error) {
    return await fail(error, json);
  } finally {
    process.off('unhandledRejection', onStray);
  }
}

/** Prints the error of a command, and returns its exit code. */
async function fail(error: unknown, json: boolean): Promise<number> {
  const { message, ...found } = describeError(error);
  process.stderr.write(message);
  if (json && !(error instanceof OutputError)) {
    // The error is on standard error already.
    await writeOut(`${JSON.stringify({ error: found.json })}\n`).catch(() => {});
  }
  return found.exitCode;
}

/**
 * Stops the command on SIGINT and SIGTERM.
 *
 * After the first signal, a graceful command finishes in its own time. Any other command ends at its next
 * progress report, or after `CLEANUP_MS`. The second signal ends the process.
 */
function stopOnSignals({ graceful }: { graceful: boolean }): { signal: AbortSignal; dispose(): void } {
  const controller = new AbortController();
  const handle = () => {
    if (controller.signal.aborted) process.exit(INTERRUPTED_EXIT_CODE);
    controller.abort(new Interrupted());
    if (graceful) process.stderr.write('\nstopping; press Ctrl-C again to stop at once\n');
    else setTimeout(() => process.exit(INTERRUPTED_EXIT_CODE), CLEANUP_MS).unref();
  };
  process.on('SIGINT', handle);
  process.on('SIGTERM', handle);
  return {
    signal: controller.signal,
    dispose() {
      process.off('SIGINT', handle);
      process.off('SIGTERM', handle);
    },
  };
}
