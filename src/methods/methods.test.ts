import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { copyingReader } from '../../test/copying-reader.ts';
import { type ToyOptions, ToyRun, toyTokenizer } from '../../test/toy-training.ts';
import { BackgroundEncoder } from '../models/background/background-encoder.ts';
import { Program } from '../runtime/program.ts';
import type { StepReport } from '../train/loop.ts';
import { optionValues } from '../util/option-table.ts';
import type { Method } from './contract/method.ts';
import { resolveMethodOptions } from './contract/method-options.ts';
import { findMethod, methods } from './methods.ts';
import { METHOD_OPTIONS, type MethodOptions } from './options.ts';

/** Reader whose answers are likely where the passage has their words. */
const reader = await copyingReader(toyTokenizer());

/** Options that fit 60 documents, and a refresh that waits, so that the run can be repeated. */
const SMALL: Readonly<Record<string, Partial<MethodOptions>>> = {
  'momentum-queue': { cacheSize: 20 },
  'negative-cache': { cacheSize: 20, samples: 2 },
  'async-index': { refresh: 'async:3:wait', rankTo: 20 },
  snapshot: { cacheSize: 20, snapshotEvery: 3, samples: 2 },
  exhaustive: { refresh: 'every:3', samples: 2 },
  crop: { queueSize: 20, positives: 'fresh', cropMax: 0.8 },
  corrector: {
    samples: 2,
    teachingSamples: 6,
    refresh: 'write-back,auto:kl:0.001:2',
    correctorAge: true,
    uniformSteps: 2,
  },
  'replug-lsr': {
    reader,
    readerPrompt: '{passage} {query} {answer}',
    candidates: 24,
    refresh: 'every:3',
    corrector: 'mlp',
    teachingSamples: 6,
  },
  realm: { reader, readerPrompt: '{passage} {query} {answer}', candidates: 6, refresh: 'every:3' },
  atlas: {
    reader,
    readerPrompt: '{passage} {query} {answer}',
    candidates: 12,
    overRetrieve: 24,
    refresh: 'every:3',
  },
};

/** Runs with settings that every method must handle. */
const SETTINGS: [string, ToyOptions][] = [
  ['static', {}],
  [
    'transformer with dropout, accumulation, a learned temperature and two towers',
    {
      model: { kind: 'transformer', towers: 'separate' },
      dropoutRatio: 0.1,
      accumulate: 2,
      temperature: { initial: 0.1, learned: true },
    },
  ],
];

const withOptions = (method: Method, settings: ToyOptions): ToyOptions => ({
  ...settings,
  options: SMALL[method.id] ?? {},
});

/** Runs a function on a run, and disposes of the run. */
async function using<T>(run: ToyRun, work: (run: ToyRun) => Promise<T>): Promise<T> {
  try {
    return await work(run);
  } finally {
    await run.dispose();
  }
}

describe.each(methods.map((method) => [method.id, method] as const))('%s', (_, method) => {
  it('lowers the exact loss over the whole corpus', async () => {
    const run = await ToyRun.begin(method, withOptions(method, { learningRate: 0.03 }));
    await using(run, async () => {
      const before = await run.exactLoss();
      await run.train(60);
      expect(before).toBeGreaterThan(2);
      expect(await run.exactLoss()).toBeLessThan(0.6 * before);
    });
  });

  describe.each(SETTINGS)('%s', (_, given) => {
    const settings = { ...withOptions(method, given), seed: 1 };
    /** Run that the tests look at: four steps, a checkpoint, and three more. */
    let run: ToyRun;
    let checkpoint: string;
    /** Bytes after the first four steps, their ledger, and the texts that programs were fed in them. */
    let early: { bytes: Record<string, string>; spent: Record<string, number>; texts: number };
    let reports: StepReport[];

    beforeAll(async () => {
      const fed = vi.spyOn(Program.prototype, 'run');
      const beside = vi.spyOn(BackgroundEncoder.prototype, 'encode');
      try {
        run = await ToyRun.begin(method, settings);
        await run.train(4);
        const texts =
          fed.mock.calls.reduce((sum, [feeds]) => sum + textsOf(feeds), 0) +
          beside.mock.calls.reduce((sum, [, rows]) => sum + rows.length, 0);
        early = { bytes: run.bytes(), spent: run.spent(), texts };
      } finally {
        fed.mockRestore();
        beside.mockRestore();
      }
      checkpoint = await run.save();
      reports = await run.train(3);
    });
    afterAll(() => run.dispose());

    it('continues from a checkpoint to the same bytes (U10)', async () => {
      const resumed = await ToyRun.resume(method, settings, checkpoint);
      await using(resumed, async () => {
        const figures = (list: typeof reports) => list.map(({ ledger: _, ...figures }) => figures);
        expect(figures(await resumed.train(3))).toEqual(figures(reports));
        expect(resumed.bytes()).toEqual(run.bytes());
        expect(resumed.spent()).toEqual(run.spent());
        expect(resumed.running.inspect()).toEqual(run.running.inspect());
      });
    });

    it('gives the same bytes for the same seed, and others for another seed', async () => {
      const bytesOf = async (seed: number) => {
        const again = await ToyRun.begin(method, { ...settings, seed });
        return await using(again, async () => {
          await again.train(4);
          return again.bytes();
        });
      };
      expect(await bytesOf(1)).toEqual(early.bytes);
      expect(await bytesOf(2)).not.toEqual(early.bytes);
    });

    it('counts every embedded text in the ledger, by purposes that add up', () => {
      const { queryEncodes, documentEncodes, ...others } = early.spent;
      expect(queryEncodes! + documentEncodes!).toBe(early.texts);
      const purposes = [
        'positive',
        'negative',
        'candidate',
        'teaching',
        'probe',
        'rerank',
        'refresh',
        'mining',
        'guide',
      ];
      const ofPurposes = purposes.reduce((sum, purpose) => sum + (others[`${purpose}Encodes`] ?? 0), 0);
      expect(ofPurposes).toBe(documentEncodes);
      // Every query of a batch has a document of its own: its positive, or its candidates.
      const trainedOn = others.positiveEncodes ?? others.candidateEncodes!;
      expect(trainedOn).toBeGreaterThanOrEqual(4 * 8 * (settings.accumulate ?? 1));
    });
  });

  it('refuses options that it does not take, and names those that it does', () => {
    const defaults = optionValues(method.options, {});
    for (const option of Object.keys(METHOD_OPTIONS)) {
      const own = option in method.options;
      // An option of the method may have no default, such as a model to name.
      const resolve = () => resolveMethodOptions(method, { [option]: own ? defaults[option] : 1 });
      if (own) expect(resolve()).toEqual(defaults);
      else expect(resolve, option).toThrow(`the method ${method.id} takes no ${option}\n`);
    }
    for (const option of Object.keys(method.options)) expect(METHOD_OPTIONS).toHaveProperty(option);
  });

  it('is found by its id and its aliases', () => {
    for (const name of [method.id, ...(method.aliases ?? []), method.id.toUpperCase()])
      expect(findMethod(name)).toBe(method);
  });
});

/** Texts in a run of a program: every batch of tokens is an input `<name>/ids` [texts, tokens]. */
const textsOf = (feeds: Parameters<Program['run']>[0]): number =>
  // Rows whose logits are wanted are fed to language models alone.
  'places' in feeds
    ? 0
    : Object.entries(feeds).reduce(
        (sum, [name, { dims }]) =>
          // A reader in the graph of the step has a prefix.
          sum + (name.endsWith('/ids') && !name.startsWith('reader/') ? dims[0]! : 0),
        0,
      );

describe('methods', () => {
  it('have ids and aliases of their own', () => {
    const names = methods.flatMap(({ id, aliases = [] }) =>
      [id, ...aliases].map((name) => name.toLowerCase()),
    );
    expect(new Set(names).size).toBe(names.length);
    expect(() => findMethod('negative-cach')).toThrow(/Did you mean 'negative-cache'/);
  });
});
