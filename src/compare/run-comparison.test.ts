import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { type FakeTrainer, fakeTrainer } from '../../test/fake-comparison.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { InterruptedError } from '../train/callbacks.ts';
import { UndriftError } from '../util/errors.ts';
import type { ArmOptions, Comparison } from './comparison.ts';
import { readResults } from './results.ts';
import { type ComparisonCallbacks, runComparison } from './run-comparison.ts';

let trainer: FakeTrainer;
let out: string;
beforeEach(() => {
  trainer = fakeTrainer();
  out = join(tempFiles(), 'out');
});

const arm = (name: string, options: ArmOptions) => ({ name, method: 'in-batch', written: options, options });

const comparison = (more: Partial<Comparison> = {}): Comparison => ({
  name: 'temperatures',
  data: 'data/toy',
  out,
  budget: { kind: 'steps', amount: 10 },
  seeds: [1, 2],
  arms: [arm('warm', { temperature: 0.1 }), arm('cold', { temperature: 0.05 })],
  evaluate: { split: 'test', metrics: ['ndcg@10', 'mrr@10'], queries: 30 },
  ...more,
});

const run = (more: Partial<Comparison> = {}, callbacks: ComparisonCallbacks = {}, overwrite = false) =>
  runComparison(comparison(more), { trainer, overwrite }, callbacks);

/** Ctrl-C at a step of a run, counted from 1. */
function interruptAt(number: number, step: number): ComparisonCallbacks {
  const controller = new AbortController();
  let current = 0;
  return {
    signal: controller.signal,
    onRun: (begun) => {
      current = begun.number;
    },
    onStep: (report) => current === number && report.step === step && controller.abort(),
  };
}

const ALL = ['warm-1', 'cold-1', 'warm-2', 'cold-2'];
const inFull = (names: readonly string[]) =>
  names.flatMap((name) => [`train ${name} from 0`, `evaluate ${name}`]);

describe('runComparison', () => {
  it('measures BM25 once, where an arm is trained beside it', async () => {
    await run();
    await run();
    expect(trainer.baselines).toBe(1);
    await run({ evaluate: { split: 'dev', metrics: ['map'], queries: null } });
    expect(trainer.baselines).toBe(2);
    trainer.fingerprint = 'f2';
    const without = await run({ arms: [arm('warm', { temperature: 0.1, baseline: false })] }, {}, true);
    expect([trainer.baselines, without.baselines]).toEqual([2, []]);
  });

  it('reads the one baseline of results of earlier versions', async () => {
    const { baselines, ...results } = await run();
    await writeFile(join(out, 'results.json'), JSON.stringify({ ...results, baseline: baselines[0] }));
    expect(await readResults(join(out, 'results.json'))).toEqual({ ...results, baselines });
  });

  it('measures given models that arms start from, each once', async () => {
    const arms = [
      arm('warm', { model: 'm', temperature: 0.1 }),
      arm('cold', { model: 'm' }),
      arm('short', { model: 'm', maxDocTokens: 8 }),
    ];
    const zeroShot = async (more: Partial<Comparison>, overwrite = false) =>
      (await run(more, {}, overwrite)).baselines.slice(1).map(({ name }) => name);
    expect(await zeroShot({ arms: arms.slice(0, 2) })).toEqual(['zero-shot']);
    expect(await zeroShot({ arms: arms.slice(0, 2) })).toEqual(['zero-shot']);
    expect(trainer.starts).toBe(1);
    expect(await zeroShot({ arms })).toEqual(['zero-shot (warm)', 'zero-shot (short)']);
    expect(trainer.starts).toBe(3);
    expect(await zeroShot({ arms: arms.slice(1) }, true)).toEqual(['zero-shot (cold)', 'zero-shot (short)']);
    expect(trainer.starts).toBe(4);
    const others = [arm('cold', { model: 'n' })];
    expect(await zeroShot({ arms: others }, true)).toEqual(['zero-shot']);
    expect(trainer.starts).toBe(5);
  });

  it('trains and measures every arm with every seed, seed by seed', async () => {
    const results = await run();
    expect(trainer.calls).toEqual(inFull(ALL));
    expect(results.baselines).toEqual([{ name: 'BM25', metrics: { 'ndcg@10': 0.5, 'mrr@10': 0.5 } }]);
    expect(results).toEqual(await readResults(join(out, 'results.json')));
    expect(results.complete).toBe(true);
    expect(results.data).toEqual({ name: 'toy', fingerprint: 'f1', documents: 123, testQueries: 30 });
    const [warm, cold] = results.arms;
    expect(cold!.metrics['ndcg@10']!.mean - warm!.metrics['ndcg@10']!.mean).toBeCloseTo(0.05, 6);
    expect(cold!.againstFirst['ndcg@10']!.pHolm).toBeLessThan(0.001);
    expect(cold!.settings).toMatchObject({ temperature: 0.05, steps: 10, seed: 1 });
    expect(cold!.settings).not.toHaveProperty('out');
    expect(cold!.cost).toMatchObject({ steps: { mean: 10 }, documentEncodes: { mean: 180, sd: 0 } });
    expect(cold!.runs[1]!.curves.find(({ name }) => name === 'staleness')).toMatchObject({
      kind: 'train',
      steps: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    });
    expect(results.machines).toHaveLength(1);
  });

  it('does nothing twice', async () => {
    const first = await run();
    trainer.calls.length = 0;
    expect(await run()).toEqual(first);
    expect(trainer.calls).toEqual([]);
  });

  it('goes on where it was stopped, to the same results', async () => {
    const whole = await run();
    await rm(out, { recursive: true });
    trainer.calls.length = 0;
    const stopped = run({}, interruptAt(2, 4));
    await expect(stopped).rejects.toThrow(InterruptedError);
    await expect(stopped).rejects.toThrow(/cold-1: stopped after step 4 of 10.*\n.*the same command goes on/);
    expect((await readResults(join(out, 'results.json'))).complete).toBe(false);
    const parts = await run();
    expect(trainer.calls).toEqual([
      ...inFull(['warm-1']),
      'train cold-1 from 0',
      'train cold-1 from 4',
      'evaluate cold-1',
      ...inFull(['warm-2', 'cold-2']),
    ]);
    const timeless = (value: unknown) =>
      JSON.parse(JSON.stringify(value, (key, field) => (/wallMs|finished/.test(key) ? 0 : field)));
    expect(timeless(parts)).toEqual(timeless(whole));
  });

  it('is not begun when it was stopped before', async () => {
    const controller = new AbortController();
    controller.abort();
    await expect(run({}, { signal: controller.signal })).rejects.toThrow(InterruptedError);
    expect(trainer.calls).toEqual([]);
  });

  it('starts a run over that was killed before its first checkpoint', async () => {
    await expect(run({}, interruptAt(1, 4))).rejects.toThrow(InterruptedError);
    await rm(join(out, 'runs/warm-1/checkpoint'), { recursive: true });
    await mkdir(join(out, 'runs/cold-1'), { recursive: true });
    await writeFile(join(out, 'runs/cold-1/tokenizer.json'), '{}');
    trainer.calls.length = 0;
    await run();
    expect(trainer.calls).toEqual(inFull(ALL));
  });

  it('measures again, without training, when something else is to be measured', async () => {
    await run();
    trainer.calls.length = 0;
    const { evaluate } = await run({ evaluate: { split: 'dev', metrics: ['map'], queries: null } });
    expect(evaluate.metrics).toEqual(['map']);
    expect(trainer.calls).toEqual(ALL.map((name) => `evaluate ${name}`));
  });

  it('runs what an added arm or seed needs', async () => {
    await run();
    trainer.calls.length = 0;
    const more = [...comparison().arms, arm('hot', { temperature: 1 })];
    const { arms } = await run({ seeds: [2, 3], arms: more });
    expect(trainer.calls).toEqual(inFull(['hot-2', 'warm-3', 'cold-3', 'hot-3']));
    expect(arms.map(({ runs }) => runs.map(({ seed }) => seed))).toEqual([
      [2, 3],
      [2, 3],
      [2, 3],
    ]);
  });

  it.each<[string, Partial<Comparison>, string, RegExp]>([
    [
      'settings',
      { arms: [arm('warm', { temperature: 0.2 }), comparison().arms[1]!] },
      'f1',
      /warm-1: temperature: 0\.1 then, 0\.2 now/,
    ],
    [
      'a budget',
      { budget: { kind: 'steps', amount: 11 } },
      'f1',
      /4 of the runs[\s\S]*cold-2: steps: 10 then, 11 now/,
    ],
    ['data', {}, 'f2', /warm-1: data: fingerprint f1 then, f2 now/],
  ])(
    'refuses to mix runs of other %s, unless told to do them again',
    async (_, change, fingerprint, message) => {
      await run();
      // One of them is only half done.
      await rm(join(out, 'runs/warm-2.json'));
      trainer.calls.length = 0;
      trainer.fingerprint = fingerprint;
      await expect(run(change)).rejects.toThrow(UndriftError);
      await expect(run(change)).rejects.toThrow(message);
      expect(trainer.calls).toEqual([]);
      const results = await run(change, {}, true);
      const again = change.arms ? ['warm-1', 'warm-2'] : ALL;
      expect(trainer.calls).toEqual(inFull(again));
      expect(results.complete).toBe(true);
    },
  );

  it('takes a setting that is younger than the run for its default', async () => {
    await run();
    const file = join(out, 'runs/warm-1.json');
    const result = JSON.parse(await readFile(file, 'utf8'));
    delete result.settings.dropout;
    await writeFile(file, JSON.stringify(result));
    trainer.calls.length = 0;
    await run();
    expect(trainer.calls).toEqual([]);
    result.settings.bygone = 3;
    await writeFile(file, JSON.stringify(result));
    await expect(run()).rejects.toThrow(/warm-1: bygone: 3 then, null now/);
  });

  it.each([
    ['bert', 5e-5, 0.01],
    ['undrift-static', 0.01, 5e-5],
  ])(
    'holds the rate of an earlier version against the default for the kind of model, %s',
    async (model_type, same, other) => {
      const arms = [arm('tuned', { model: 'some/model' })];
      await run({ arms });
      // An earlier version wrote the rate down though the config gave none.
      const file = join(out, 'runs/tuned-1.json');
      const write = async (lr: number | null | undefined) => {
        const result = JSON.parse(await readFile(file, 'utf8'));
        await writeFile(file, JSON.stringify({ ...result, settings: { ...result.settings, lr } }));
      };
      await mkdir(join(out, 'runs/tuned-1/model'), { recursive: true });
      await writeFile(join(out, 'runs/tuned-1/model/config.json'), JSON.stringify({ model_type }));
      trainer.calls.length = 0;
      for (const lr of [same, null, undefined]) {
        await write(lr);
        await run({ arms });
      }
      expect(trainer.calls).toEqual([]);
      await write(other);
      await expect(run({ arms })).rejects.toThrow(`tuned-1: lr: ${other} then, ${same} now`);
    },
  );

  it('reports a run that fails, goes on with the others, and tries it again next time', async () => {
    const arms = [...comparison().arms, arm('mad', { temperature: 1000 })];
    const failed: string[] = [];
    const callbacks = {
      onFailure: ({ arm, seed }: { arm: string; seed: number }) => failed.push(`${arm}-${seed}`),
    };
    const results = await run({ arms, seeds: [1] }, callbacks);
    expect(failed).toEqual(['mad-1']);
    expect(results.failures).toEqual([{ arm: 'mad', seed: 1, message: 'step 1: the loss is NaN' }]);
    expect(results).toMatchObject({ complete: false, arms: [{}, {}, { runs: [], settings: null }] });
    trainer.calls.length = 0;
    await run({ arms, seeds: [1] });
    expect(trainer.calls).toEqual(['train mad-1 from 0']);
  });

  it('passes on what is no error of ours', async () => {
    trainer.evaluate = () => Promise.reject(new TypeError('a fault'));
    await expect(run()).rejects.toThrow(TypeError);
  });

  it('refuses a split that is not there, before anything is trained', async () => {
    const evaluate = { split: 'tset', metrics: ['map'], queries: null };
    await expect(run({ evaluate })).rejects.toThrow(/data\/toy has no split "tset".*\n.*train, dev, test/);
    expect(trainer.calls).toEqual([]);
  });

  it('leaves a results.json of somebody else alone', async () => {
    const foreign = tempFiles({ 'results.json': '{"years": "of work"}' });
    await expect(run({ out: foreign })).rejects.toThrow(/results\.json: this is no result of a comparison/);
    expect(await readFile(join(foreign, 'results.json'), 'utf8')).toBe('{"years": "of work"}');
    expect(existsSync(join(foreign, 'runs'))).toBe(false);
  });

  it('says what is wrong with a damaged result', async () => {
    await run();
    await writeFile(join(out, 'runs/cold-1.json'), '{"arm":"cold"');
    await expect(run()).rejects.toThrow(/cold-1\.json:1: not valid JSON/);
    await writeFile(join(out, 'runs/cold-1.json'), '{"arm":"cold"}');
    await expect(run()).rejects.toThrow(/cold-1\.json: "seed" must be a number, found nothing/);
  });
});
