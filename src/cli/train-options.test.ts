import { describe, expect, expectTypeOf, it } from 'vitest';
import { CLUSTER_OPTIONS } from '../cluster/cluster-options.ts';
import { correctorPlan, PLAN_OPTIONS } from '../correctors/corrector-options.ts';
import { FIT_OPTIONS, fitCorrector } from '../correctors/fit-corrector.ts';
import { ANY_DATA_OPTIONS } from '../data/load-options.ts';
import { methods } from '../methods/methods.ts';
import { METHOD_OPTIONS, type MethodOptions } from '../methods/options.ts';
import { CORRECTION_OPTIONS } from '../migration/correction-options.ts';
import { measureCorrection } from '../migration/measure-correction.ts';
import { checkMiningOptions } from '../mining/mine-negatives.ts';
import { MINING_OPTIONS } from '../mining/mining-options.ts';
import { TUNING_OPTIONS } from '../models/retriever/tuning-options.ts';
import { evaluateRetriever } from '../retrieval/evaluate-retriever.ts';
import { DENSE_OPTIONS, SPLIT_OPTIONS } from '../retrieval/retrieval-options.ts';
import { TRAIN_COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { Bm25 } from '../text/bm25.ts';
import { BM25_OPTIONS } from '../text/bm25-options.ts';
import { CROSS_ENCODER_OPTIONS } from '../train/cross-encoder/options.ts';
import { MODEL_OPTIONS, TEXT_OPTIONS } from '../train/model-options.ts';
import { FOLDER_OPTIONS, SUBJECT_OPTIONS, TRAIN_OPTIONS, type TrainOptions } from '../train/options.ts';
import { EVALUATION_OPTIONS, LENGTH_OPTIONS, OPTIMISATION_OPTIONS } from '../train/run-options.ts';
import { resolveSettings } from '../train/settings.ts';
import { trainRetriever } from '../train/train-retriever.ts';
import { UsageError } from '../util/errors.ts';
import type { OptionSpec, OptionTable } from '../util/option-table.ts';
import { correctCommand } from './correct.ts';
import { evalCommand } from './eval.ts';
import { mineCommand } from './mine.ts';
import { flagOf, parseFlag } from './options.ts';
import { TRAIN_OPTIONS as FLAGS } from './train-options.ts';

const specs = Object.entries<OptionSpec>(TRAIN_OPTIONS);

/** Options of plain JavaScript, which no compiler has checked. */
const resolve = (given: Readonly<Record<string, unknown>>) =>
  resolveSettings({ data: 'd', out: 'o', ...given } as TrainOptions);

/** A method that takes an option; any for options of the run. */
const methodFor = (key: string): string =>
  methods.find(({ options }) => Object.hasOwn(options, key))?.id ?? 'in-batch';

/** Values outside an option's range, and the nearest inside. */
function edges(spec: OptionSpec): { outside: unknown[]; inside: unknown[] } {
  switch (spec.type) {
    case 'integer': {
      const { min = 0, max } = spec;
      const above = max === undefined ? [] : [max + 1];
      return { outside: [min - 1, ...above, min + 0.5], inside: [min, ...(max === undefined ? [] : [max])] };
    }
    case 'number': {
      const { min, max, above, below } = spec;
      const bounds = [min, max].filter((bound) => bound !== undefined);
      return {
        outside: [
          ...(min === undefined ? [] : [min - 1e-6]),
          ...(max === undefined ? [] : [max + 1e-6]),
          ...[above, below].filter((bound) => bound !== undefined),
        ],
        inside: bounds.length > 0 ? bounds : [(above ?? 0) + 1e-3],
      };
    }
    case 'choice':
      return { outside: ['no-such-choice'], inside: [...spec.choices] };
    case 'numbers':
      return { outside: [[(spec.min ?? 0) - 1], ...(spec.whole ? [[1.5]] : [])], inside: [[spec.min ?? 0]] };
    case 'text':
      return { outside: spec.nonEmpty ? [''] : [], inside: [] };
    default:
      return { outside: [], inside: [] };
  }
}

const asText = (value: unknown): string => (Array.isArray(value) ? value.join(',') : String(value));

describe('the options of a run', () => {
  it('are each declared once', () => {
    const tables = [
      ...[
        SUBJECT_OPTIONS,
        ANY_DATA_OPTIONS,
        FOLDER_OPTIONS,
        LENGTH_OPTIONS,
        OPTIMISATION_OPTIONS,
        TUNING_OPTIONS,
        METHOD_OPTIONS,
      ],
      ...[MODEL_OPTIONS, TEXT_OPTIONS, EVALUATION_OPTIONS, TRAIN_COMPUTE_OPTIONS, CLUSTER_OPTIONS],
    ];
    const keys = tables.flatMap((table) => Object.keys(table));
    expect(new Set(keys).size).toBe(keys.length);
    expect(new Set(keys)).toEqual(new Set(Object.keys(TRAIN_OPTIONS)));
    const declared: Readonly<Record<string, OptionSpec>> = METHOD_OPTIONS;
    for (const { options } of methods) {
      for (const [key, { default: _, ...spec }] of Object.entries(options)) {
        const { default: __, ...own } = declared[key]!;
        expect(spec).toEqual(own);
      }
    }
  });

  it('have help that says something, and the names of other libraries for one option each', () => {
    for (const [key, { help }] of specs) expect(help.length, key).toBeGreaterThan(15);
    const aliases = specs.flatMap(([, spec]) => spec.aliases ?? []);
    expect(new Set(aliases).size).toBe(aliases.length);
    for (const alias of aliases) expect(TRAIN_OPTIONS).not.toHaveProperty(alias);
  });

  it('are those of the command line', () => {
    const { corpus, ...flags } = FLAGS;
    expect(corpus.help).toContain('crop');
    const all = { ...TRAIN_OPTIONS, ...CROSS_ENCODER_OPTIONS };
    expect(new Set(Object.keys(flags))).toEqual(new Set(Object.keys(all)));
    for (const [key, spec] of Object.entries<OptionSpec>(flags)) {
      const { default: _, defaultHelp: __, required: ___, ...shared } = spec;
      const {
        default: ____,
        defaultHelp: _____,
        required: ______,
        ...own
      } = (all as Readonly<Record<string, OptionSpec>>)[key]!;
      expect(shared).toEqual(own);
    }
  });

  it('are those of the type', () => {
    type Machine =
      | keyof typeof FOLDER_OPTIONS
      | keyof typeof TRAIN_COMPUTE_OPTIONS
      | keyof typeof CLUSTER_OPTIONS;
    // Options of a caller's own method have a place of their own.
    expectTypeOf<Exclude<keyof TrainOptions, 'methodOptions'>>().toEqualTypeOf<
      Exclude<keyof typeof TRAIN_OPTIONS, Machine>
    >();
    expectTypeOf<keyof MethodOptions>().toEqualTypeOf<keyof typeof METHOD_OPTIONS>();
    expectTypeOf<TrainOptions['optimizer']>().toEqualTypeOf<'adamw' | 'sgd' | 'lion' | undefined>();
    expectTypeOf<TrainOptions['matryoshka']>().toEqualTypeOf<readonly number[] | undefined>();
    // @ts-expect-error a misspelt option is an error of the compiler too
    const misspelt: TrainOptions = { data: 'd', out: 'o', learningRate: 0.1 };
    expect(() => resolveSettings(misspelt)).toThrow(UsageError);
  });

  it.each(specs)('%s: the library and the command line refuse the same values', (key, spec) => {
    const { outside, inside } = edges(spec);
    const flag = (FLAGS as Readonly<Record<string, OptionSpec>>)[key]!;
    for (const value of outside) {
      expect(() => resolve({ method: methodFor(key), [key]: value })).toThrow(`${key} should be `);
      expect(() => parseFlag(key, flag, asText(value))).toThrow(`${flagOf(key, flag)} should be `);
    }
    for (const value of inside) {
      expect(parseFlag(key, flag, asText(value))).toEqual(value);
      // Alone the value may contradict other options, but never the option's range.
      try {
        resolve({ method: methodFor(key), [key]: value });
      } catch (error) {
        expect(String(error)).not.toContain(`${key} should be `);
      }
    }
  });

  it.each(specs)('%s: a value of another type is refused', (key, spec) => {
    const others = {
      integer: '3',
      number: '3',
      text: 3,
      choice: 3,
      list: 'x',
      numbers: '3',
      map: 'x',
      switch: 'yes',
    };
    const refused = () => resolve({ method: methodFor(key), [key]: others[spec.type] });
    expect(refused).toThrow(UsageError);
    expect(refused).toThrow(new RegExp(`^${key} should be .*, found ${JSON.stringify(others[spec.type])}`));
  });
});

describe('unknown options', () => {
  it.each([
    ['learningRate', 'lr'],
    ['learning_rate', 'lr'],
    ['learningrate', 'lr'],
    ['batchsize', 'batchSize'],
    ['batch_size', 'batchSize'],
    ['batch-size', 'batchSize'],
    ['per_device_train_batch_size', 'batchSize'],
    ['num_train_epochs', 'epochs'],
    ['numTrainEpoch', 'epochs'],
    ['warmup_ratio', 'warmup'],
    ['gradient_accumulation_steps', 'accumulate'],
    ['max_seq_length', 'maxDocTokens'],
    ['scale', 'temperature'],
    ['tempreature', 'temperature'],
    ['matryoshka_dims', 'matryoshka'],
    ['output_dir', 'out'],
    ['cachesize', 'cacheSize'],
  ])('%s: %s is named', (given, meant) => {
    expect(() => resolve({ [given]: 1 })).toThrow(UsageError);
    expect(() => resolve({ [given]: 1 })).toThrow(`unknown option "${given}", did you mean '${meant}'?\n`);
  });

  it('that resemble none are refused too, with the list of all', () => {
    for (const name of ['zzzzzzzz', 'toString', 'constructor'])
      expect(() => resolve({ [name]: 1 })).toThrow(
        new RegExp(`^unknown option "${name}".*\n.*known: data, out, `),
      );
    const parsed = JSON.parse('{"__proto__": 1}') as Record<string, unknown>;
    expect(() =>
      resolveSettings(Object.assign(parsed, { data: 'd', out: 'o' }) as unknown as TrainOptions),
    ).toThrow(/unknown option "__proto__"/);
  });

  it('stop trainRetriever before anything is read or written', async () => {
    const run = (options: object) => trainRetriever({ data: 'no-such-data', out: 'no-such-run', ...options });
    await expect(run({ learningRate: 0.1 })).rejects.toThrow(
      /^unknown option "learningRate", did you mean 'lr'\?/,
    );
    await expect(run({ threads: '4' })).rejects.toThrow(
      /^threads should be a whole number from 1 to 1,024, found "4"/,
    );
    await expect(run({ device: 'gpu' })).rejects.toThrow(
      /^device should be one of cpu, webgpu, cuda, found "gpu"/,
    );
    await expect(run({ resume: true, overwrite: true })).rejects.toThrow(
      /^resume and overwrite exclude each other/,
    );
    await expect(run({ out: undefined })).rejects.toThrow(/^out is missing/);
    await expect(run({ warmup: 1.5 })).rejects.toThrow(/^warmup should be below 1 .*, found "1.5"/);
    await expect(run({ evalMetric: 'ndgc@10' })).rejects.toThrow(/unknown metric "ndgc@10"/);
  });

  it('are not those that are undefined or null', () => {
    const defaults = resolve({});
    const none = Object.fromEntries(
      specs.map(([key]) => [key, key === 'data' || key === 'out' ? key[0] : null]),
    );
    expect(resolve(none)).toEqual(defaults);
    expect(resolve({ method: undefined, lr: undefined })).toEqual(defaults);
  });
});

describe('the options of other parts of the library', () => {
  const pairs = { stale: new Float32Array(0), fresh: new Float32Array(0) };
  const models = {} as Parameters<typeof measureCorrection>[0];
  const data = {} as Parameters<typeof measureCorrection>[1];
  const retriever = {} as Parameters<typeof evaluateRetriever>[0];
  /** Table, function of the library that checks it, and the command's own table where it has one. */
  const parts: readonly [string, OptionTable, (given: object) => unknown, OptionTable?][] = [
    ['mining', MINING_OPTIONS, (given) => checkMiningOptions(given), mineCommand.options],
    ['bm25', BM25_OPTIONS, (given) => Bm25.build(0, String, given), mineCommand.options],
    ['corrector', PLAN_OPTIONS, (given) => correctorPlan('mlp', { dimension: 8, ...given })],
    ['fit', FIT_OPTIONS, (given) => fitCorrector('mlp', pairs, { dimension: 8, ...given })],
    [
      'correction',
      CORRECTION_OPTIONS,
      (given) => measureCorrection(models, data, given),
      // Lists of words, which the command checks itself.
      { ...correctCommand.options, topK: CORRECTION_OPTIONS.topK },
    ],
    [
      'evaluation',
      { ...SPLIT_OPTIONS, ...DENSE_OPTIONS },
      (given) => evaluateRetriever(retriever, data, 'test', { metrics: ['ndcg@10'], ...given }),
      evalCommand.options,
    ],
  ];
  const all = parts.flatMap(([part, table, check, flags]) =>
    Object.entries(table).map(([key, spec]) => [part, key, { spec, check, flags }] as const),
  );
  const failure = async (check: (given: object) => unknown, given: object): Promise<string> => {
    try {
      await check(given);
    } catch (error) {
      return (error as Error).message;
    }
    return '';
  };

  it.each(all)('%s, %s: the library and the command line refuse the same values', async (_, key, part) => {
    const { spec, check, flags } = part;
    expect(spec.help.length).toBeGreaterThan(15);
    const { outside, inside } = edges(spec);
    const flag = flags?.[key];
    for (const value of outside) {
      expect(await failure(check, { [key]: value })).toMatch(new RegExp(`^${key} should be .*, found `));
      if (flag) expect(() => parseFlag(key, flag, asText(value))).toThrow(`${flagOf(key, flag)} should be `);
    }
    for (const value of inside)
      expect(await failure(check, { [key]: value })).not.toContain(`${key} should be `);
  });

  it.each(parts)('%s: unknown options are refused, with the one that was meant', async (_, table, check) => {
    const known = Object.keys(table).at(-1)!;
    expect(await failure(check, { [`${known}z`]: 1 })).toMatch(
      `unknown option "${known}z", did you mean '${known}'?`,
    );
    expect(await failure(check, { zzzzzzzz: 1 })).toMatch(/^unknown option "zzzzzzzz"\n {2}help: known: /);
  });
});
