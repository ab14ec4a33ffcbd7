import { join } from 'node:path';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { methods } from '../methods/methods.ts';
import { systems } from '../rlm/systems.ts';
import { languageTrainings } from '../train/language-methods/language-trainings.ts';
import { TRAIN_OPTIONS } from '../train/options.ts';
import { DataError, UsageError } from '../util/errors.ts';
import { describeRange, type OptionTable, type OptionValues } from '../util/option-table.ts';
import {
  describeDefault,
  flagWithValue,
  optionsAsMarkdown,
  parseFlag,
  readConfigFile,
  resolveOptions,
} from './options.ts';

const TABLE = {
  out: { type: 'text', value: 'folder', required: true, help: 'where to' },
  batchSize: { type: 'integer', min: 1, max: 65_536, default: 32, help: 'queries in a batch' },
  lr: { type: 'number', above: 0, help: 'learning rate' },
  dropout: { type: 'number', min: 0, below: 1, help: 'share dropped' },
  schedule: { type: 'choice', choices: ['constant', 'linear'], default: 'linear', help: 'schedule' },
  metrics: { type: 'list', default: ['ndcg@10'], help: 'metrics' },
  resume: { type: 'switch', default: false, help: 'go on' },
  normalize: { type: 'switch', negative: true, help: 'no unit length' },
} as const satisfies OptionTable;

describe('flags', () => {
  it('are spelt from the names', () => {
    expect(flagWithValue('batchSize', TABLE.batchSize)).toBe('--batch-size <n>');
    expect(flagWithValue('out', TABLE.out)).toBe('--out <folder>');
    expect(flagWithValue('schedule', TABLE.schedule)).toBe('--schedule <constant|linear>');
    expect(flagWithValue('resume', TABLE.resume)).toBe('--resume');
    expect(flagWithValue('normalize', TABLE.normalize)).toBe('--no-normalize');
  });

  it('turn off what is on by default', () => {
    const tables = [
      TRAIN_OPTIONS,
      ...[...methods, ...systems, ...languageTrainings].map(({ options }) => options),
    ];
    const on = tables.flatMap((table: OptionTable) =>
      Object.entries(table).filter(([, spec]) => spec.type === 'switch' && spec.default === true),
    );
    expect(on.map(([name]) => name)).toEqual(expect.arrayContaining(['externalInside', 'gates']));
    for (const [name, spec] of on) expect(flagWithValue(name, spec), name).toMatch(/^--no-/);
  });

  it('say what they take', () => {
    expect(describeRange(TABLE.batchSize)).toBe('a whole number from 1 to 65,536');
    expect(describeRange(TABLE.lr)).toBe('a number above 0');
    expect(describeRange(TABLE.dropout)).toBe('a number of at least 0 and below 1');
    expect(describeRange(TABLE.schedule)).toBe('one of constant, linear');
    expect(describeDefault(TABLE.batchSize)).toBe(' (default 32)');
    expect(describeDefault(TABLE.lr)).toBe(' (above 0)');
    expect(describeDefault(TABLE.out)).toBe(' (required)');
    expect(describeDefault(TABLE.resume)).toBe('');
    // A table of the reference has one line for each option.
    const prompt = { type: 'text', default: 'Question: {question}\nAnswer:', help: 'prompt' } as const;
    expect(describeDefault(prompt)).toBe(' (default: Question: {question}\\nAnswer:)');
  });
});

describe('parseFlag', () => {
  it.each([
    ['batchSize', '64', 64],
    ['batchSize', '1e3', 1000],
    ['lr', '5e-4', 5e-4],
    ['lr', '.5', 0.5],
    ['dropout', '0', 0],
    ['schedule', 'constant', 'constant'],
    ['metrics', 'ndcg@10, mrr@10', ['ndcg@10', 'mrr@10']],
    ['out', '', ''],
  ] as const)('%s %j', (key, text, value) => {
    expect(parseFlag(key, TABLE[key], text)).toEqual(value);
  });

  it.each([
    ['batchSize', 'abc', '--batch-size should be a whole number from 1 to 65,536, found "abc"'],
    ['batchSize', '1.5', '--batch-size should be a whole number from 1 to 65,536, found "1.5"'],
    ['batchSize', '0', 'found "0"'],
    ['batchSize', '65537', 'found "65537"'],
    ['batchSize', '', 'found ""'],
    ['batchSize', '0x10', 'found "0x10"'],
    ['lr', '0', '--lr should be a number above 0, found "0"'],
    ['lr', 'NaN', 'found "NaN"'],
    ['lr', '1e999', 'found "1e999"'],
    ['lr', '1,5', 'found "1,5"'],
    ['dropout', '1', '--dropout should be a number of at least 0 and below 1, found "1"'],
    [
      'schedule',
      'liner',
      `--schedule should be one of constant, linear, found "liner", did you mean 'linear'?`,
    ],
    ['metrics', ',', '--metrics should be texts separated by commas, found ","'],
  ] as const)('refuses %s %j', (key, text, message) => {
    expect(() => parseFlag(key, TABLE[key], text)).toThrow(UsageError);
    expect(() => parseFlag(key, TABLE[key], text)).toThrow(message);
  });
});

describe('resolveOptions', () => {
  it('takes the last that was given, else the default', () => {
    const options = resolveOptions(TABLE, { out: 'a', batchSize: 4 }, { batchSize: 8, normalize: false });
    expect(options).toEqual({
      out: 'a',
      batchSize: 8,
      lr: undefined,
      dropout: undefined,
      schedule: 'linear',
      metrics: ['ndcg@10'],
      resume: false,
      normalize: false,
    });
    expect(resolveOptions(TABLE, { out: 'a' }).normalize).toBeUndefined();
  });

  it('asks for what is required', () => {
    expect(() => resolveOptions(TABLE)).toThrow('--out <folder> is missing');
  });

  it('types the values', () => {
    expectTypeOf<OptionValues<typeof TABLE>>().toEqualTypeOf<{
      readonly out: string;
      readonly batchSize: number;
      readonly lr: number | undefined;
      readonly dropout: number | undefined;
      readonly schedule: 'constant' | 'linear';
      readonly metrics: readonly string[];
      readonly resume: boolean;
      readonly normalize: boolean | undefined;
    }>();
  });
});

describe('readConfigFile', () => {
  const read = (text: string) => readConfigFile(join(tempFiles({ 'run.json': text }), 'run.json'), TABLE);

  it('reads names with dashes and in camel case', async () => {
    const config = '{"batch-size": 64, "lr": 1e-3, "metrics": "map,mrr", "normalize": false, "out": null}';
    expect(await read(config)).toEqual({
      batchSize: 64,
      lr: 1e-3,
      metrics: ['map', 'mrr'],
      normalize: false,
    });
    expect(await read('{"batchSize": 64, "metrics": ["map"]}')).toEqual({ batchSize: 64, metrics: ['map'] });
  });

  it.each([
    ['{"bacth-size": 64}', `run.json: unknown option "bacth-size", did you mean 'batch-size'?`],
    ['{"zzzzzzzzzz": 64}', 'known: out, batch-size, lr'],
    ['{"batch-size": "64"}', 'run.json: "batch-size" should be a whole number from 1 to 65,536, found "64"'],
    ['{"batch-size": 0}', 'found 0'],
    ['{"lr": true}', 'run.json: "lr" should be a number above 0, found true'],
    ['{"schedule": "liner"}', `found "liner", did you mean 'linear'?`],
    ['{"metrics": []}', 'found []'],
    ['{"resume": "yes"}', 'run.json: "resume" should be true or false, found "yes"'],
    ['{"batch-size": 1, "batchSize": 2}', 'run.json: "batch-size" is given twice'],
    ['[1]', 'run.json: should be an object of options, found [1]'],
    ['null', 'found null'],
    [`{"out": ${JSON.stringify(['x'.repeat(100)])}}`, 'found ["xxx'],
  ])('refuses %s', async (text, message) => {
    const error = await read(text).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(UsageError);
    expect((error as Error).message).toContain(message);
    expect((error as Error).message.length).toBeLessThan(400);
  });

  it('names the file that is missing or no JSON', async () => {
    await expect(read('{"lr": ')).rejects.toThrow(/run\.json:1: not valid JSON/);
    await expect(readConfigFile('/no/such/run.json', TABLE)).rejects.toThrow(DataError);
  });
});

describe('optionsAsMarkdown', () => {
  it('is a table with a row for each option', () => {
    const lines = optionsAsMarkdown(TABLE).trimEnd().split('\n');
    expect(lines).toHaveLength(2 + Object.keys(TABLE).length);
    expect(lines).toContain(
      '| `--batch-size <n>` | queries in a batch | `32` | a whole number from 1 to 65,536 |',
    );
    expect(lines).toContain(
      '| `--schedule <constant\\|linear>` | schedule | `linear` | one of constant, linear |',
    );
    expect(lines).toContain('| `--out <folder>` | where to | required |  |');
  });
});
