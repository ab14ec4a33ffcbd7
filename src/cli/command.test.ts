import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { UsageError } from '../util/errors.ts';
import { kebabCase, option } from '../util/option-name.ts';
import type { OptionSpec } from '../util/option-table.ts';
import { type AnyCommand, allOptions, HELP_WIDTH, type Outcome, parseCommandLine } from './command.ts';
import { allCommands, commandsFor, specsByPath } from './commands.ts';
import { describeError } from './describe-error.ts';
import { Interrupted } from './io.ts';
import { flagOf } from './options.ts';
import { commandReference } from './reference.ts';

const COMMANDS = await allCommands();
const parse = (...argv: string[]): Outcome =>
  outcomeOf(parseCommandLine(argv, { version: '1.2.3', summary: 'Trains.', commands: COMMANDS }));

function given(...argv: string[]) {
  const outcome = parse(...argv);
  if (outcome.kind !== 'run') throw new Error('nothing to run');
  const { name, given, args } = outcome.invocation;
  return { name, given, args };
}

/** What the parser wrote to each stream. */
/** Collects what a command line shows. */
function outcomeOf(outcome: Outcome): Outcome {
  if (outcome.kind === 'done') stdout += outcome.text;
  return outcome;
}

let stdout = '';
let stderr = '';
beforeEach(() => {
  stdout = '';
  stderr = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    stdout += text;
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    stderr += text;
    return true;
  });
});
afterEach(() => vi.restoreAllMocks());

describe('parseCommandLine', () => {
  it('gives what stood on the command line, and nothing else', () => {
    expect(given('train', '--data', 'd', '--out', 'o', '--batch-size', '64', '--no-normalize')).toEqual({
      name: 'train',
      given: { data: 'd', out: 'o', batchSize: 64, normalize: false },
      args: [],
    });
    expect(given('eval', '--model', 'bm25', '--metrics', 'map,mrr@10', '--json').given).toEqual({
      model: 'bm25',
      metrics: ['map', 'mrr@10'],
      json: true,
    });
    expect(given('train', '--query-prompt=query: ', '--doc-prompt', '').given).toEqual({
      queryPrompt: 'query: ',
      docPrompt: '',
    });
  });

  it('collects arguments, words of a search among options', () => {
    expect(given('search', 'read', 'a', '--model', 'bm25', 'file')).toMatchObject({
      given: { model: 'bm25' },
      args: ['read', 'a', 'file'],
    });
    expect(given('data', 'api-docs', 'zod', '--out', 'x')).toMatchObject({
      name: 'api-docs',
      given: { out: 'x' },
      args: ['zod'],
    });
  });

  const paths = COMMANDS.flatMap((entry) =>
    'commands' in entry
      ? [[entry.name], ...entry.commands.map(({ name }) => [entry.name, name])]
      : [[entry.name]],
  );
  it.each([[], ...paths])('the help of %s %s fits a terminal of 80 columns', (...path) => {
    parse(...path, '--help');
    const lines = stdout.split('\n');
    expect(lines.length).toBeGreaterThan(8);
    expect(lines.filter((line) => line.length > HELP_WIDTH)).toEqual([]);
    // An example that is broken is one command for a shell.
    const broken = lines.filter((line) => line.endsWith('\\'));
    for (const line of broken) expect(lines[lines.indexOf(line) + 1]).toMatch(/^ {4}--/);
  });

  it('knows every option that the issue asks of train', () => {
    const names =
      'data out model method epochs steps batch-size lr temperature hidden layers heads vocab-size max-query-tokens ' +
      'max-doc-tokens seed threads device eval-every resume json config optimizer weight-decay max-grad-norm schedule warmup ' +
      'accumulate learn-temperature negatives towers pooling normalize projection dropout tokenizer vocabulary query-prompt ' +
      'doc-prompt eval-split eval-metric patience save-every overwrite';
    parse('train', '--help');
    for (const name of names.split(' ')) expect(stdout).toMatch(new RegExp(`--(no-)?${name}\\b`));
  });

  it.each([
    [['tarin'], "unknown command 'tarin', did you mean 'train'?"],
    [['help', 'evall'], "unknown command 'evall', did you mean 'eval'?"],
    [['data', 'api-doc'], "unknown command 'api-doc', did you mean 'api-docs'?"],
    [['eval', '--modle', 'x'], "unknown option '--modle', did you mean '--model'?"],
    [['train', '--bacth-size=3'], "unknown option '--bacth-size', did you mean '--batch-size'?"],
    [['train', '--learning-rate', '0.1'], "unknown option '--learning-rate', did you mean '--lr'?"],
    [
      ['train', '--max_seq_length', '9'],
      "unknown option '--max_seq_length', did you mean '--max-doc-tokens'?",
    ],
    [['train', '--normalize'], "unknown option '--normalize', did you mean '--no-normalize'?"],
    [['--verzion'], "unknown option '--verzion', did you mean '--version'?"],
    [['eval', '--model'], "option '--model <model>' argument missing"],
    [['eval', 'extra'], "too many arguments for 'eval'. Expected 0 arguments but got 1."],
    [['search', '--model', 'bm25'], "missing required argument 'text'"],
    [['train', '--batch-size', '1'], '--batch-size should be a whole number from 2 to 65,536, found "1"'],
    [['eval', '--b', '2'], '--b should be a number from 0 to 1, found "2"'],
    [['eval', '--device', 'gpu'], '--device should be one of cpu, webgpu, cuda, found "gpu"'],
  ])('refuses %j', (argv, message) => {
    expect(() => parse(...argv)).toThrow(UsageError);
    expect(() => parse(...argv)).toThrow(message);
    expect(stdout + stderr).toBe('');
  });

  it('shows help: on stdout where it was asked for, on stderr for want of a command', () => {
    expect(parse('--help')).toMatchObject({ kind: 'done', exitCode: 0 });
    for (const { name } of COMMANDS) expect(stdout).toContain(`\n  ${name} `);
    expect(stderr).toBe('');
    stdout = '';
    expect(parse()).toMatchObject({ kind: 'done', exitCode: 2 });
    expect(parse('data')).toMatchObject({ kind: 'done', exitCode: 2 });
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^Usage: undrift <command>/);
  });

  it('shows the same help by help <command> and --help', () => {
    for (const { name } of COMMANDS) {
      stdout = '';
      expect(parse(name, '--help')).toMatchObject({ kind: 'done', exitCode: 0 });
      const own = stdout;
      expect(own).toMatch(new RegExp(`^Usage: undrift ${name} `));
      stdout = '';
      expect(parse('help', name)).toMatchObject({ kind: 'done', exitCode: 0 });
      expect(stdout).toBe(own);
    }
    expect(stderr).toBe('');
  });

  it('prints the version', () => {
    expect(parse('--version')).toMatchObject({ kind: 'done', exitCode: 0 });
    expect(stdout).toBe('1.2.3\n');
  });
});

describe('every command', () => {
  let byPath: Awaited<ReturnType<typeof specsByPath>>;
  let specs: AnyCommand[];
  beforeAll(async () => {
    byPath = await specsByPath();
    specs = [...byPath.values()];
  });

  it('has examples that parse', () => {
    for (const [path, spec] of byPath) {
      const words = path.split(' ');
      for (const example of spec.examples) {
        const rest = (example.match(/"[^"]*"|\S+/g) ?? []).map((word) => word.replaceAll('"', ''));
        expect(given(...words, ...rest).name).toBe(words.at(-1));
      }
    }
  });

  it('is loaded when a command line names it, and only then', async () => {
    const loadedBy = async (...argv: string[]) =>
      (await commandsFor(argv)).flatMap((entry) =>
        'commands' in entry
          ? entry.commands.flatMap(({ name, spec }) => (spec ? [`${entry.name} ${name}`] : []))
          : entry.spec
            ? [entry.name]
            : [],
      );
    expect(await loadedBy('train', '--help')).toEqual(['train']);
    expect(await loadedBy('lm', 'train', '--data', 'x')).toEqual(['lm train']);
    expect(await loadedBy('help', 'eval')).toEqual(['eval']);
    expect(await loadedBy('--help')).toEqual([]);
    expect(await loadedBy('lm', '--help')).toEqual([]);
    const listed = await commandsFor(['lm']);
    expect(parseCommandLine(['lm', '--help'], { version: '1', summary: '', commands: listed })).toEqual(
      parse('lm', '--help'),
    );
  });

  it('is in the reference with all its options', () => {
    const reference = commandReference(COMMANDS);
    for (const [path, spec] of byPath) {
      expect(reference).toContain(`## \`undrift ${path}`);
      for (const key of Object.keys(spec.options)) expect(reference).toContain(kebabCase(key));
    }
    expect(reference).not.toMatch(/undefined|\[object/);
  });

  it('has the flags that messages name', () => {
    const source = fileURLToPath(new URL('..', import.meta.url));
    const others = ['--help', '--version', '--save-dev']; // npm has the last one
    const flags = specs.flatMap((spec) =>
      Object.entries<OptionSpec>(allOptions(spec)).map(([key, option]) => flagOf(key, option)),
    );
    const named = readdirSync(source, { recursive: true, encoding: 'utf8' })
      .filter(
        (file) =>
          /\.ts$/.test(file) && !/\.test\.ts$|page-style|report-style|serve\/browser|chart/.test(file),
      )
      .flatMap(
        (file) =>
          readFileSync(join(source, file), 'utf8').match(/(?<![\w-])--[a-z][a-z-]*[a-z](?![\w-])/g) ?? [],
      );
    expect(named).toContain('--overwrite');
    expect([...new Set(named)].filter((flag) => ![...flags, ...others].includes(flag))).toEqual([]);
  });

  it('has the options that messages of the library name', () => {
    const source = fileURLToPath(new URL('..', import.meta.url));
    const known = specs.flatMap((spec) => Object.keys(allOptions(spec)));
    const named = readdirSync(source, { recursive: true, encoding: 'utf8' })
      .filter((file) => /\.ts$/.test(file) && !/\.test\.ts$/.test(file))
      .flatMap((file) => [
        ...readFileSync(join(source, file), 'utf8').matchAll(/\$\{option\(\s*'([a-zA-Z]+)'/g),
      ])
      .map(([, key]) => key!);
    expect(named).toContain('maxGradNorm');
    expect([...new Set(named)].filter((key) => !known.includes(key))).toEqual([]);
  });
});

describe('runCli', () => {
  it('ends with a rejection that a library leaves unhandled', async () => {
    const script = `
      import { runCli } from ${JSON.stringify(join(import.meta.dirname, '../../dist/cli/run-cli.js'))};
      import { DataError } from ${JSON.stringify(join(import.meta.dirname, '../../dist/util/errors.js'))};
      setTimeout(() => void Promise.reject(new DataError('is damaged', { file: 'a.parquet' })), 10);
      setInterval(() => {}, 1000);
      process.exitCode = await runCli(['doctor', '--json']);`;
    const run = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    expect(run.stderr).toContain('error: a.parquet: is damaged\n');
    expect(JSON.parse(run.stdout)).toEqual({
      error: { type: 'DataError', message: 'a.parquet: is damaged' },
    });
    expect(run.status).toBe(1);
  });
});

describe('describeError', () => {
  it('gives errors of ours without a stack', () => {
    const found = describeError(new UsageError('the flag is wrong', { help: 'use another' }));
    expect(found).toEqual({
      message: 'error: the flag is wrong\n  help: use another\n',
      json: { type: 'UsageError', message: 'the flag is wrong', help: 'use another' },
      exitCode: 2,
    });
  });

  it('gives anything else with its stack, and asks to report it', () => {
    const { message, json, exitCode } = describeError(new TypeError('x is not a function'));
    expect(exitCode).toBe(1);
    expect(message).toContain('command.test.ts');
    expect(message).toMatch(/fault in undrift \d+\.\d+\.\d+ \(Node v\d+.*Please report it/s);
    expect(json).toEqual({ type: 'TypeError', message: 'x is not a function' });
    expect(describeError('text').message).toContain('text');
  });

  it('turns the names of options into flags', () => {
    const message = `${option('loss', 'gist')} needs ${option('guide')}; sizes are ${option('matryoshka', [8, 4])}`;
    const error = new UsageError(message, {
      help: `use ${option('normalize', false)} or ${option('learnTemperature', true)}`,
    });
    expect(error.message).toBe(
      "loss: 'gist' needs guide; sizes are matryoshka: [8, 4]\n  help: use normalize: false or learnTemperature: true",
    );
    expect(error.help).toBe('use normalize: false or learnTemperature: true');
    expect(describeError(error)).toEqual({
      message:
        'error: --loss gist needs --guide; sizes are --matryoshka 8,4\n  help: use --no-normalize or --learn-temperature\n',
      json: {
        type: 'UsageError',
        message: '--loss gist needs --guide; sizes are --matryoshka 8,4',
        help: 'use --no-normalize or --learn-temperature',
      },
      exitCode: 2,
    });
  });

  it('takes Ctrl-C for no error', () => {
    expect(describeError(new Interrupted())).toMatchObject({ message: 'interrupted\n', exitCode: 130 });
  });
});
