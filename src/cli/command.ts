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

/** Result of a command, in a form for programs and a form for people. */
export interface CommandResult {
  /** Object that `--json` prints to standard output. Nothing else is printed there. */
  readonly json: Readonly<Record<string, unknown>>;
  /** Text printed without `--json`. Ends with a line break. */
  readonly text: string;
  /** Exit code. Default 0. */
  readonly exitCode?: 0 | 1;
}

/** Command as data, but for its name and summary (see `COMMANDS`). The parser, the help and the reference are made from it. */
export interface CommandSpec<T extends OptionTable> {
  /** Further sentences, for the help of the command. */
  readonly description?: string;
  /**
   * Positional arguments in order. If the name of the last one ends in `...`, it takes all remaining words.
   */
  readonly arguments?: readonly {
    readonly name: string;
    readonly help: string;
    readonly required?: boolean;
  }[];
  /** Table of the options. */
  readonly options: T;
  /** Accepts options from `--config FILE` too; flags take precedence. */
  readonly config?: boolean;
  /** Stops by itself, in its own time, when `io.signal` is aborted. Default false. */
  readonly stopsGracefully?: boolean;
  /** Examples for the help, each without `undrift` and the name of the command. */
  readonly examples: readonly string[];
  /** Does the work. `args` holds the positional arguments. */
  readonly run: (options: OptionValues<T>, io: Io, args: readonly string[]) => Promise<CommandResult>;
}

/** Command with any table of options. */
// biome-ignore lint/suspicious/noExplicitAny: a list of commands holds specs of different option tables.
export type AnyCommand = CommandSpec<any>;

/** Command in the list of commands. */
export interface NamedCommand {
  /** Word that names the command. */
  readonly name: string;
  /** Summary of one line. */
  readonly summary: string;
  /** Rest of the command; absent if it is only listed. */
  readonly spec?: AnyCommand;
}

/** Commands that share their first word. */
export interface CommandGroup {
  /** The shared first word. */
  readonly name: string;
  /** Summary of one line, for the list of commands. */
  readonly summary: string;
  /** Commands of the group. */
  readonly commands: readonly NamedCommand[];
}

/** Entry of the list of commands. */
export type CommandEntry = NamedCommand | CommandGroup;

/** Declares a command; the types of its `run` are checked against its option table. */
export const defineCommand = <const T extends OptionTable>(spec: CommandSpec<T>): CommandSpec<T> => spec;

/** Options that every command has. */
export const COMMON_OPTIONS = {
  json: { type: 'switch', default: false, help: 'print the result as one JSON object' },
  quiet: { type: 'switch', default: false, help: 'print no progress on stderr' },
} as const satisfies OptionTable;

const CONFIG_OPTION = {
  config: { type: 'text', value: 'file', help: 'JSON file of options; flags override it' },
} as const satisfies OptionTable;

/** Returns all options of a command: its own, `--config` if it takes a config file, and `COMMON_OPTIONS`. */
export const allOptions = (spec: AnyCommand): OptionTable => ({
  ...(spec.options as OptionTable),
  ...(spec.config && CONFIG_OPTION),
  ...COMMON_OPTIONS,
});

/** Parsed command line of one command. */
export interface Invocation {
  /** Name of the command. */
  readonly name: string;
  /** The command to run. */
  readonly spec: AnyCommand;
  /** Values given on the command line, by option key. */
  readonly given: GivenValues;
  /** Positional arguments. */
  readonly args: readonly string[];
}

/** Outcome of parsing: a command to run, or the text of a help or version that was asked for, with an exit code. */
export type Outcome =
  | { readonly kind: 'run'; readonly invocation: Invocation }
  | { readonly kind: 'done'; readonly text: string; readonly exitCode: 0 | 2 };

/**
 * Parses a command line.
 *
 * @param options.commands  list of commands, with the spec of the one that the line names
 * @throws UsageError for an unknown command or option, or an invalid value; the message suggests the nearest
 *   known word
 */
export function parseCommandLine(
  argv: readonly string[],
  options: { version: string; summary: string; commands: readonly CommandEntry[] },
): Outcome {
  let invocation: Invocation | undefined;
  const shown: string[] = [];
  const root = strict(new Commander('undrift'), shown)
    .description(options.summary)
    .version(options.version, '--version', 'print the version')
    .usage('<command> [options]')
    .addHelpText('after', '\nundrift help <command> tells more about one.');
  const found = (named: Invocation) => {
    invocation = named;
  };
  for (const entry of options.commands) {
    if (!('commands' in entry)) {
      root.addCommand(parserOf(entry, { found, shown }));
      continue;
    }
    const group = strict(new Commander(entry.name), shown)
      .description(`${capital(entry.summary)}.`)
      .summary(entry.summary);
    for (const command of entry.commands)
      group.addCommand(parserOf(command, { found, shown }, `${entry.name} `));
    root.addCommand(group);
  }
  const names = root.commands.map((command) => command.name());
  if (argv[0] === 'help' && argv[1] !== undefined && ![...names, 'help', '--help', '-h'].includes(argv[1])) {
    throw unknown('command', argv[1], names, 'undrift --help');
  }
  try {
    root.parse([...argv], { from: 'user' });
  } catch (error) {
    if (error instanceof Shown) return { kind: 'done', text: shown.join(''), exitCode: error.exitCode };
    throw error;
  }
  if (!invocation) throw new UsageError('no command is given', { help: 'see undrift --help' });
  return { kind: 'run', invocation };
}

/** Signals that help or version was printed. */
class Shown extends Error {
  readonly exitCode: 0 | 2;

  constructor(exitCode: 0 | 2) {
    super('shown');
    this.exitCode = exitCode;
  }
}

/** Configures a parser to throw this package's errors, to collect what it shows, and never to end the process. */
function strict(command: Commander, shown: string[], table: OptionTable = {}): Commander {
  return command
    .exitOverride((error) => {
      throw translated(error, command, table);
    })
    .configureOutput({ outputError: () => {}, writeOut: (text) => void shown.push(text) })
    .configureHelp({
      showGlobalOptions: false,
      padWidth,
      formatItem,
      subcommandTerm: (listed) => listed.name(),
    })
    .helpOption('-h, --help', 'show this help')
    .showSuggestionAfterError(false);
}

/** Maximum width of the flag column, in characters. The help of a longer flag stands below the flag. */
const FLAG_COLUMN = 26;

function padWidth(this: Help, command: Commander, helper: Help): number {
  return Math.min(FLAG_COLUMN, Help.prototype.padWidth.call(this, command, helper));
}

function formatItem(this: Help, term: string, termWidth: number, text: string, helper: Help): string {
  const item = (shown: string) => Help.prototype.formatItem.call(this, shown, termWidth, text, helper);
  return term.length > termWidth && text !== '' ? `  ${term}\n${item('')}` : item(term);
}

/** Translates an error of the parser into one of this package. */
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

/**
 * Makes the error for an unknown word.
 *
 * @param near  the nearest known word, or all known words to search for it
 */
function unknown(what: string, word: string, near: string | readonly string[], see: string): UsageError {
  const hint = typeof near === 'string' ? `, did you mean '${near}'?` : suggestion(word, near);
  return new UsageError(`unknown ${what} '${word}'${hint}`, { help: `see ${see}` });
}

function commandPath(command: Commander): string {
  return command.parent ? `${commandPath(command.parent)} ${command.name()}` : command.name();
}

function parserOf(
  { name, summary, spec }: NamedCommand,
  { found, shown }: { found: (named: Invocation) => void; shown: string[] },
  group = '',
): Commander {
  if (!spec) return strict(new Commander(name), shown).summary(summary);
  const table = allOptions(spec);
  const command = strict(new Commander(name), shown, table).summary(summary);
  command.description(
    spec.description ? `${capital(summary)}.\n\n${spec.description}` : `${capital(summary)}.`,
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
  const examples = spec.examples
    .map((example) => `${wrappedExample(`undrift ${group}${name} ${example}`)}\n`)
    .join('');
  if (examples !== '') command.addHelpText('after', `\nExamples:\n${examples.trimEnd()}`);
  command.action(() => {
    const given: Record<string, unknown> = {};
    for (const [key, value] of Object.entries(command.opts())) {
      if (command.getOptionValueSource(key) === 'cli') given[key] = value;
    }
    const args = command.processedArgs.flat().filter((arg) => arg !== undefined) as string[];
    found({ name, spec, given, args });
  });
  return command;
}

/** Width of the help, in characters: that of a terminal of the usual size. */
export const HELP_WIDTH = 80;

/** Breaks a command line before options, with a backslash at each break, so that a shell reads it as one line. */
function wrappedExample(line: string): string {
  const [command = '', ...options] = line.trimEnd().split(/ (?=--)/);
  let last = `  ${command}`;
  const lines: string[] = [];
  for (const option of options) {
    if (`${last} ${option} \\`.length <= HELP_WIDTH) {
      last += ` ${option}`;
      continue;
    }
    lines.push(`${last} \\`);
    last = `    ${option}`;
  }
  return [...lines, last].join('\n');
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** Runs a parsed command: reads its config file, fills in defaults, and calls its `run`. */
export async function runInvocation({ spec, given, args }: Invocation, io: Io): Promise<CommandResult> {
  const file = given.config;
  const config = typeof file === 'string' ? await readConfigFile(file, spec.options as OptionTable) : {};
  return await spec.run(resolveOptions(spec.options as OptionTable, config, given), io, args);
}
