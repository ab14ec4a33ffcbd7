import { readFileSync } from 'node:fs';
import { InterruptedError } from '../train/train-retriever.ts';
import { UndriftError } from '../util/errors.ts';
import { type AnyCommand, type CommandGroup, parseCommandLine, runInvocation } from './command.ts';
import { dataCommands } from './data.ts';
import { doctorCommand } from './doctor.ts';
import { encodeCommand } from './encode.ts';
import { evalCommand } from './eval.ts';
import { INTERRUPTED_EXIT_CODE, Interrupted, TerminalIo } from './io.ts';
import { searchCommand } from './search.ts';
import { trainCommand } from './train.ts';

/** Every command, in the order of the help. */
export const COMMANDS: readonly (AnyCommand | CommandGroup)[] = [
  dataCommands,
  trainCommand,
  evalCommand,
  encodeCommand,
  searchCommand,
  doctorCommand,
];

const SUMMARY = 'Train dense retrievers at native speed, on embeddings that are allowed to go stale.';

/** How long a command that does not stop by itself may take to clean up after Ctrl-C. */
const CLEANUP_MS = 3000;

/**
 * Runs one command line. The result goes to stdout, everything else to stderr.
 *
 * With `--json` stdout gets exactly one JSON object: the result, or `{"error": {"type", "message", "help"}}`.
 *
 * @returns  the exit code: 0 success, 1 failure, 2 wrong usage, 130 interrupted
 */
export async function runCli(argv: readonly string[]): Promise<number> {
  const json = argv.includes('--json');
  try {
    const version = packageVersion();
    const outcome = parseCommandLine(argv, { version, summary: SUMMARY, commands: COMMANDS });
    if (outcome.kind === 'done') return outcome.exitCode;
    const { invocation } = outcome;
    const graceful = invocation.spec.stopsGracefully ?? false;
    const stop = stopOnSignals({ graceful });
    const io = new TerminalIo({ signal: stop.signal, quiet: invocation.given.quiet === true, graceful });
    try {
      const result = await runInvocation(invocation, io);
      io.finishProgress();
      process.stdout.write(json ? `${JSON.stringify(result.json)}\n` : result.text);
      return result.exitCode ?? 0;
    } finally {
      io.finishProgress();
      stop.dispose();
    }
  } catch (error) {
    return report(error, json);
  }
}

/** Says what went wrong, and gives the exit code for it. */
function report(error: unknown, json: boolean): number {
  if (error instanceof Interrupted || error instanceof InterruptedError) {
    process.stderr.write(`${error.message}\n`);
    if (json) writeErrorJson(error);
    return INTERRUPTED_EXIT_CODE;
  }
  if (json) writeErrorJson(error);
  if (error instanceof UndriftError) {
    process.stderr.write(`error: ${error.message}\n`);
    return error.exitCode;
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(
    `${stack}\n\nThis should not happen: it is a fault in undrift ${packageVersion()} (Node ${process.version}, ` +
      `${process.platform} ${process.arch}).\nPlease report it with the command and the lines above.\n`,
  );
  return 1;
}

function writeErrorJson(error: unknown): void {
  const { name, message } = error instanceof Error ? error : { name: 'Error', message: String(error) };
  const help = error instanceof UndriftError ? error.help : undefined;
  const suffix = `\n  help: ${help}`;
  const text = message.endsWith(suffix) ? message.slice(0, -suffix.length) : message;
  process.stdout.write(
    `${JSON.stringify({ error: { type: name, message: text, ...(help !== undefined && { help }) } })}\n`,
  );
}

/**
 * The first Ctrl-C asks the command to stop: a graceful one finishes in its own time, the others at their next sign of progress,
 * and at the latest after `CLEANUP_MS`. The second ends the process.
 */
function stopOnSignals({ graceful }: { graceful: boolean }): { signal: AbortSignal; dispose(): void } {
  const controller = new AbortController();
  const handle = () => {
    if (controller.signal.aborted) process.exit(INTERRUPTED_EXIT_CODE);
    controller.abort();
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

/** From package.json, which lies two folders up in the sources and in the package. */
export function packageVersion(): string {
  const json = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return json.version;
}
