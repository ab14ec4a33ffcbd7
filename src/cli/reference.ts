import { allOptions, COMMON_OPTIONS, type CommandEntry, type NamedCommand } from './command.ts';
import { flagOf, optionsAsMarkdown } from './options.ts';

/** Makes the reference of all commands as Markdown, from the tables that the parser uses. */
export function commandReference(commands: readonly CommandEntry[]): string {
  const sections = commands.flatMap((entry) =>
    'commands' in entry
      ? entry.commands.map((command) => section(command, `${entry.name} `))
      : [section(entry, '')],
  );
  return `${sections.join('\n')}\n## Options of every command\n\n${optionsAsMarkdown(COMMON_OPTIONS)}`;
}

function section({ name: word, summary, spec }: NamedCommand, group: string): string {
  if (!spec) throw new Error(`the command ${word} is not loaded`);
  const name = `undrift ${group}${word}`;
  const args = (spec.arguments ?? []).map(({ name, required }) => (required ? ` <${name}>` : ` [${name}]`));
  const examples = spec.examples.map((example) => `${name} ${example}`.trimEnd());
  const options = Object.fromEntries(
    Object.entries(allOptions(spec)).filter(([key]) => !(key in COMMON_OPTIONS)),
  );
  const config = spec.config
    ? `\n\`${flagOf('config', options.config!)} FILE\` reads the same options from a JSON object, under their names without ` +
      'the dashes: `{"model": "static", "batch-size": 64}`. Flags take precedence over the file.\n'
    : '';
  return (
    `## \`${name}${args.join('')}\`\n\n${[`${capital(summary)}.`, spec.description].join(' ').trim()}\n\n` +
    `\`\`\`sh\n${examples.join('\n')}\n\`\`\`\n${config}` +
    (Object.keys(options).length === 0 ? '' : `\n${optionsAsMarkdown(options)}`)
  );
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
