import type { AnyCommand, CommandResult } from '../src/cli/command.ts';
import { allOptions } from '../src/cli/command.ts';
import type { Io } from '../src/cli/io.ts';
import { parseFlag, resolveOptions } from '../src/cli/options.ts';
import type { OptionTable } from '../src/util/option-table.ts';

/** Runs a command in this process, flags as texts, and returns its result with what it has logged and streamed. */
export async function runCommand(
  command: AnyCommand,
  flags: Readonly<Record<string, string>>,
  words: string[] = [],
): Promise<CommandResult & { readonly logged: readonly string[]; readonly streamed: string }> {
  const table: OptionTable = allOptions(command);
  const values = Object.fromEntries(
    Object.entries(flags).map(([key, text]) => [key, parseFlag(key, table[key]!, text)]),
  );
  const logged: string[] = [];
  let streamed = '';
  const io: Io = {
    signal: new AbortController().signal,
    async stream(text) {
      streamed += text;
    },
    log: (line) => logged.push(line),
    progress() {},
    finishProgress() {},
  };
  const result = await command.run(resolveOptions(command.options, values), io, words);
  return { ...result, logged, streamed };
}
