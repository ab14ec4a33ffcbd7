import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { UndriftError } from '../util/errors.ts';
import type { Comparison } from './comparison.ts';
import { checkComparison, readComparison } from './read-comparison.ts';

const least = { data: '../data', out: 'runs', arms: [{ method: 'in-batch' }] };

async function read(
  config: unknown,
  flags: { data?: string; out?: string } = {},
): Promise<Comparison & { folder: string }> {
  const text = typeof config === 'string' ? config : JSON.stringify(config);
  const folder = tempFiles({ 'configs/first.json': text });
  const comparison = await readComparison(join(folder, 'configs/first.json'), {
    ...flags,
  });
  return { ...comparison, folder };
}

describe('readComparison', () => {
  it('fills in what may be left out', async () => {
    const { folder, ...comparison } = await read(least);
    expect(comparison).toEqual({
      name: 'first',
      data: join(folder, 'data'),
      out: join(folder, 'configs/runs'),
      budget: null,
      seeds: [1],
      arms: [{ name: 'in-batch', method: 'in-batch', written: {}, options: {} }],
      evaluate: { split: 'test', metrics: ['ndcg@10', 'mrr@10', 'recall@100'], queries: null },
    });
  });

  it('puts arms over the base; null takes an option of the base away', async () => {
    const { arms, folder } = await read({
      ...least,
      base: {
        method: 'dpr',
        'batch-size': 16,
        maxGradNorm: 0,
        normalize: false,
        tokenizer: '../t.json',
        model: './m',
      },
      arms: [
        { name: 'cold', temperature: 0.01 },
        { name: 'warm', 'batch-size': null, model: 'static', 'learn-temperature': true },
      ],
    });
    const base = { maxGradNorm: 0, normalize: false, tokenizer: '../t.json' };
    expect(arms.map(({ method }) => method)).toEqual(['in-batch', 'in-batch']);
    expect(arms[0]!.written).toEqual({ ...base, batchSize: 16, temperature: 0.01, model: './m' });
    expect(arms[0]!.options).toEqual({
      ...arms[0]!.written,
      tokenizer: join(folder, 't.json'),
      model: join(folder, 'configs/m'),
    });
    expect(arms[1]!.written).toEqual({ ...base, model: 'static', learnTemperature: true });
    expect(arms[1]!.options.model).toBe('static');
  });

  it('lets the command line name data and folder', async () => {
    const { data, out } = await read({ arms: least.arms }, { data: 'here', out: 'there' });
    expect({ data, out }).toEqual({ data: 'here', out: 'there' });
  });

  it.each(['steps', 'epochs', 'encodes', 'minutes'])('reads a budget of %s', async (kind) => {
    expect((await read({ ...least, budget: { [kind]: 7 } })).budget).toEqual({ kind, amount: 7 });
  });

  it('reads metrics in any spelling', async () => {
    const { evaluate } = await read({
      ...least,
      evaluate: { metrics: 'nDCG@10, MAP', queries: 50, split: 'dev' },
    });
    expect(evaluate).toEqual({ split: 'dev', metrics: ['ndcg@10', 'map'], queries: 50 });
  });

  it.each<[string, unknown, RegExp]>([
    ['no JSON', '{"arms": [', /first\.json:1: not valid JSON/],
    ['a list', [], /first\.json: should be an object, found \[\]/],
    ['an unknown key', { ...least, seed: [1] }, /first\.json: unknown key "seed"\. Did you mean 'seeds'\?/],
    ['no data', { ...least, data: undefined }, /first\.json: "data" is missing\n {2}help: .*give data/],
    ['a number for a folder', { ...least, out: 3 }, /first\.json: out: should be a text, found 3/],
    ['no arms', { data: 'd', out: 'o' }, /first\.json: "arms" is missing/],
    ['an empty list of arms', { ...least, arms: [] }, /arms: should be a list of arms, found \[\]/],
    [
      'an arm that is a name',
      { ...least, arms: ['in-batch'] },
      /arms\[0\]: should be an object, found "in-batch"/,
    ],
    ['an arm without method', { ...least, arms: [{ name: 'x' }] }, /arms\[0\]: "method" is missing/],
    [
      'an unknown method',
      { ...least, arms: [{ method: 'in-bach' }] },
      /arms\[0\]\.method: unknown method "in-bach"\. Did you mean/,
    ],
    [
      'a name that is no file name',
      { ...least, arms: [{ name: '../up', method: 'dpr' }] },
      /arms\[0\]\.name: should be a name for files.*"\.\.\/up"/,
    ],
    [
      'a name twice',
      { ...least, arms: [{ method: 'dpr' }, { name: 'IN-BATCH', method: 'dpr' }] },
      /arms\[1\]: there is another arm "IN-BATCH"/,
    ],
    [
      'an unknown option',
      { ...least, arms: [{ method: 'dpr', temprature: 1 }] },
      /arms\[0\] \("in-batch"\): unknown option "temprature", did you mean 'temperature'\?/,
    ],
    [
      'an option twice',
      { ...least, base: { 'batch-size': 8, batchSize: 8 } },
      /base: "batch-size" is given twice/,
    ],
    [
      'a value out of range',
      { ...least, base: { 'batch-size': 1 } },
      /base: "batch-size" should be a whole number from 2 to 65,536, found 1/,
    ],
    [
      'a number as text',
      { ...least, base: { lr: '0.1' } },
      /base: "lr" should be a number above 0, found "0\.1"/,
    ],
    [
      'a choice that is none',
      { ...least, base: { schedule: 'liner' } },
      /base: "schedule" should be one of .*did you mean 'linear'/,
    ],
    [
      'a seed in an arm',
      { ...least, arms: [{ method: 'dpr', seed: 3 }] },
      /arms\[0\].*"seed" does not belong here\n {2}help: say it as "seeds"/,
    ],
    [
      'steps beside a budget',
      { ...least, budget: { steps: 5 }, base: { steps: 6 } },
      /base: "steps" contradicts the budget/,
    ],
    [
      'steps and epochs',
      { ...least, base: { steps: 5 }, arms: [{ method: 'dpr', epochs: 1 }] },
      /arms\[0\] \("in-batch"\): steps and epochs both/,
    ],
    [
      'two budgets',
      { ...least, budget: { steps: 5, minutes: 1 } },
      /budget: one of steps, epochs, encodes, minutes is wanted, found 2/,
    ],
    ['an unknown budget', { ...least, budget: { hours: 1 } }, /budget: unknown key "hours"/],
    [
      'half a step',
      { ...least, budget: { steps: 0.5 } },
      /budget\.steps: should be a whole number of at least 1, found 0\.5/,
    ],
    [
      'no minutes',
      { ...least, budget: { minutes: 0 } },
      /budget\.minutes: should be a number above 0, found 0/,
    ],
    ['no seeds', { ...least, seeds: [] }, /seeds: should be a list of whole numbers/],
    ['a negative seed', { ...least, seeds: [1, -1] }, /seeds: should be a list of whole numbers/],
    ['a seed twice', { ...least, seeds: [1, 2, 1] }, /seeds: 1 stands there twice/],
    [
      'an unknown metric',
      { ...least, evaluate: { metrics: ['ndgc@10'] } },
      /evaluate\.metrics: unknown metric "ndgc@10", did you mean "ndcg@10"/,
    ],
    [
      'one query',
      { ...least, evaluate: { queries: 1 } },
      /evaluate\.queries: should be a whole number of at least 2, found 1/,
    ],
    [
      'thousands of runs',
      { ...least, seeds: Array.from({ length: 10_001 }, (_, i) => i) },
      /1 arms with 10001 seeds are more than 10000 runs/,
    ],
  ])('refuses %s', async (_, config, message) => {
    await expect(read(config)).rejects.toThrow(UndriftError);
    await expect(read(config)).rejects.toThrow(message);
  });
});

it('takes options of reading the data for all arms, and refuses arms that read it differently', () => {
  const config = { data: 'd', out: 'o', base: { 'skip-bad-rows': 1 }, arms: [{ method: 'in-batch' }] };
  const { arms } = checkComparison(config, { columns: { query: 'Frage' }, evalData: 'e' });
  expect(arms[0]!.options).toEqual({ skipBadRows: 1, columns: { query: 'Frage' }, evalData: 'e' });
  const two = [...config.arms, { name: 'b', method: 'in-batch', 'eval-data': 'e' }];
  expect(() => checkComparison({ ...config, arms: two })).toThrow(
    /arms: "in-batch" and "b" read the data differently: .*\n.*say in "base"/,
  );
});
