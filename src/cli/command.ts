import { Argument, Command as Commander, type CommanderError, Help, Option } from 'commander';
import { type UndriftError, UsageError } from '../util/errors.ts';
import {
  type GivenValues,
  nearestOption,
  type OptionTable,
  type OptionValues,
  suggestion,
} from '../util/option-table.ts';
import type { Io } from './io.ts';
import {
  describeDefault,
  flagOf,
  flagWithValue,
  parseFlag,
  readConfigFile,
  resolveOptions,
} from './options.ts';

/** What a command found out: for programs and for people. */
export interface CommandResult {
  /** Printed by `--json`, alone on the standard output. */
  readonly json: Readonly<Record<string, unknown>>;
  /** Printed without `--json`; ends with a line end. */
  readonly text: string;
  /** Default 0. */
  readonly exitCode?: 0 | 1;
}

/** A command as data: the parser, the help and the reference are made from it. */
export interface CommandSpec<T extends OptionTable> {
  readonly name: string;
  /** One line, for the list of commands. */
  readonly summary: string;
  /** Further sentences, for the command's own help. */
  readonly description?: string;
  /** The last one may end in `...`, and takes all that is left. */
  readonly arguments?: readonly {
    readonly name: string;
    readonly help: string;
    readonly required?: boolean;
  }[];
  readonly options: T;
  /** Options may also come from `--config FILE`; flags win. */
  readonly config?: boolean;
  /** It stops by itself, in its own time, when `io.signal` is aborted. */
  readonly stopsGracefully?: boolean;
  readonly examples: readonly string[];
  readonly run: (options: OptionValues<T>, io: Io, args: readonly string[]) => Promise<CommandResult>;
}

// biome-ignore lint/suspicious/noExplicitAny: a list of commands holds specs of different option tables.
export type AnyCommand = CommandSpec<any>;

/** Commands under a common first word. */
export interface CommandGroup {
  readonly name: string;
  readonly summary: string;
  readonly commands: readonly AnyCommand[];
}

/** Checks a command's table against its `run`. */
export const defineCommand = <const T extends OptionTable>(spec: CommandSpec<T>): CommandSpec<T> => spec;

/** Options of every command. */
export const COMMON_OPTIONS = {
  json: { type: 'switch', default: false, help: 'print the result as one JSON object' },
  quiet: { type: 'switch', default: false, help: 'print no progress on stderr' },
} as const satisfies OptionTable;

const CONFIG_OPTION = {
  config: { type: 'text', value: 'file', help: 'JSON file of options; flags override it' },
} as const satisfies OptionTable;

/** All options of a command, as its parser takes them. */
export const allOptions = (spec: AnyCommand): OptionTable => ({
  ...(spec.options as OptionTable),
  ...(spec.config && CONFIG_OPTION),
  ...COMMON_OPTIONS,
});

/** A command line that was understood. */
export interface Invocation {
  readonly spec: AnyCommand;
  /** What stood on the command line, by option key. */
  readonly given: GivenValues;
  readonly args: readonly string[];
}

/** What to do instead of a command: text was asked for and printed already, or help was shown for want of a command. */
export type Outcome =
  | { readonly kind: 'run'; readonly invocation: Invocation }
  | { readonly kind: 'done'; readonly exitCode: 0 | 2 };

/**
 * Parses a command line. Help and version are printed here.
 *
 * @throws UsageError for anything that is not understood, with the nearest known word
 */
export function parseCommandLine(
  argv: readonly string[],
  options: { version: string; summary: string; commands: readonly (AnyCommand | CommandGroup)[] },
): Outcome {
  let invocation: Invocation | undefined;
  const root = strict(new Commander('undrift'))
    .description(options.summary)
    .version(options.version, '--version', 'print the version')
    .usage('<command> [options]')
    .addHelpText('after', '\nundrift help <command> tells more about one.');
  const found = (spec: AnyCommand, given: GivenValues, args: readonly string[]) => {
    invocation = { spec, given, args };
  };
  for (const entry of options.commands) {
    if (!('commands' in entry)) {
      root.addCommand(parserOf(entry, found));
      continue;
    }
    const group = strict(new Commander(entry.name))
      .description(`${capital(entry.summary)}.`)
      .summary(entry.summary);
    for (const spec of entry.commands) group.addCommand(parserOf(spec, found, `${entry.name} `));
    root.addCommand(group);
  }
  const names = root.commands.map((command) => command.name());
  if (argv[0] === 'help' && argv[1] !== undefined && ![...names, 'help', '--help', '-h'].includes(argv[1])) {
    throw unknown('command', argv[1], names, 'undrift --help');
  }
  try {
    root.parse([...argv], { from: 'user' });
  } catch (error) {
    if (error instanceof Shown) return { kind: 'done', exitCode: error.exitCode };
    throw error;
  }
  if (!invocation) throw new UsageError('no command is given', { help: 'see undrift --help' });
  return { kind: 'run', invocation };
}

/** Help or version was printed. */
class Shown extends Error {
  readonly exitCode: 0 | 2;

  constructor(exitCode: 0 | 2) {
    super('shown');
    this.exitCode = exitCode;
  }
}

/** A parser that throws errors of ours and never ends the process. */
function strict(command: Commander, table: OptionTable = {}): Commander {
  return command
    .exitOverride((error) => {
      throw translated(error, command, table);
    })
    .configureOutput({ outputError: () => {} })
    .configureHelp({ showGlobalOptions: false, padWidth, formatItem })
    .helpOption('-h, --help', 'show this help')
    .showSuggestionAfterError(false);
}

/** Widest column of flags; what is said of a longer flag stands below it. */
const FLAG_COLUMN = 26;

function padWidth(this: Help, command: Commander, helper: Help): number {
  return Math.min(FLAG_COLUMN, Help.prototype.padWidth.call(this, command, helper));
}

function formatItem(this: Help, term: string, termWidth: number, text: string, helper: Help): string {
  const item = (shown: string) => Help.prototype.formatItem.call(this, shown, termWidth, text, helper);
  return term.length > termWidth && text !== '' ? `  ${term}\n${item('')}` : item(term);
}

/** What a complaint of the parser becomes. */
function translated(error: CommanderError, command: Commander, table: OptionTable): Shown | UndriftError {
  if (error.code === 'commander.helpDisplayed' || error.code === 'commander.version') return new Shown(0);
  // Help was shown because a command is missing.
  if (error.code === 'commander.help') return new Shown(error.exitCode === 0 ? 0 : 2);
  const path = commandPath(command);
  const word = /'([^']*)'/.exec(error.message)?.[1] ?? '';
  if (error.code === 'commander.unknownOption') {
    const flags = command.options.flatMap(({ long }) => long ?? []);
    const flag = word.replace(/=.*/s, '');
    const meant = nearestOption(flag, table);
    const near = meant === undefined ? [...flags, '--help'] : flagOf(meant, table[meant]!);
    return unknown('option', flag, near, `${path} --help`);
  }
  if (error.code === 'commander.unknownCommand') {
    const names = command.commands.map((sub) => sub.name());
    return unknown('command', word, names, `${path} --help`);
  }
  return new UsageError(error.message.replace(/^error: /, ''), { help: `see ${path} --help` });
}

/** @param near  the word that was meant, or words of which it may be one */
function unknown(what: string, word: string, near: string | readonly string[], see: string): UsageError {
  const hint = typeof near === 'string' ? `, did you mean '${near}'?` : suggestion(word, near);
  return new UsageError(`unknown ${what} '${word}'${hint}`, { help: `see ${see}` });
}

function commandPath(command: Commander): string {
  return command.parent ? `${commandPath(command.parent)} ${command.name()}` : command.name();
}

function parserOf(
  spec: AnyCommand,
  found: (spec: AnyCommand, given: GivenValues, args: readonly string[]) => void,
  group = '',
): Commander {
  const table = allOptions(spec);
  const command = strict(new Commander(spec.name), table).summary(spec.summary);
  command.description(
    spec.description ? `${capital(spec.summary)}.\n\n${spec.description}` : `${capital(spec.summary)}.`,
  );
  for (const { name, help, required = false } of spec.arguments ?? []) {
    command.addArgument(new Argument(required ? `<${name}>` : `[${name}]`, help));
  }
  for (const [key, option] of Object.entries(table)) {
    const parser = new Option(flagWithValue(key, option), option.help + describeDefault(option));
    if (option.type !== 'switch') parser.argParser((text) => parseFlag(key, option, text));
    if (option.group) parser.helpGroup(`${option.group}:`);
    command.addOption(parser);
  }
  const examples = spec.examples.map((example) => `  undrift ${group}${spec.name} ${example}\n`).join('');
  if (examples !== '') command.addHelpText('after', `\nExamples:\n${examples.trimEnd()}`);
  command.action(() => {
    const given: Record<string, unknown> = {};
    for (const [key, value] of Object.entries(command.opts())) {
      if (command.getOptionValueSource(key) === 'cli') given[key] = value;
    }
    const args = command.processedArgs.flat().filter((arg) => arg !== undefined) as string[];
    found(spec, given, args);
  });
  return command;
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** Runs a command that was parsed: reads its config file, fills in defaults, and does the work. */
export async function runInvocation({ spec, given, args }: Invocation, io: Io): Promise<CommandResult> {
  const file = given.config;
  const config = typeof file === 'string' ? await readConfigFile(file, spec.options as OptionTable) : {};
  return await spec.run(resolveOptions(spec.options as OptionTable, config, given), io, args);
}
