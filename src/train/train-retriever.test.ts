import { existsSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { loadData } from '../data/load.ts';
import { loadRetriever } from '../models/folder/model-folder.ts';
import { evaluateRetriever } from '../retrieval/evaluate-retriever.ts';
import { permutation, rngKey } from '../util/rng.ts';
import { InterruptedError, type TrainCallbacks } from './callbacks.ts';
import { readEventLog } from './event-log.ts';
import { readRunSettings } from './run-folder.ts';
import type { TrainOptions } from './settings.ts';
import { trainRetriever } from './train-retriever.ts';

/**
 * A corpus that words alone do not solve: a document names a thing in one language, its query in another, so that BM25 finds
 * nothing and a trained encoder can. 200 documents of three "words" out of 60, queries of the same words' translations.
 */
function toyData(): Record<string, string> {
  const corpus: string[] = [];
  const queries: string[] = [];
  const qrels: Record<string, string[]> = { train: [], dev: [], test: [] };
  for (let i = 0; i < 200; i++) {
    const words = [...permutation(rngKey(5, i, 'words'), 60).subarray(0, 3)];
    corpus.push(JSON.stringify({ _id: `d${i}`, text: words.map((w) => `doc${w}x`).join(' ') }));
    queries.push(JSON.stringify({ _id: `q${i}`, text: words.map((w) => `ask${w}y`).join(' ') }));
    qrels[i % 10 === 0 ? 'dev' : i % 10 === 1 ? 'test' : 'train']!.push(`q${i}\td${i}\t1`);
  }
  const lines = (rows: readonly string[]) => `${rows.join('\n')}\n`;
  return {
    'corpus.jsonl': lines(corpus),
    'queries.jsonl': lines(queries),
    ...Object.fromEntries(
      Object.entries(qrels).map(([split, rows]) => [
        `qrels/${split}.tsv`,
        lines(['query-id\tcorpus-id\tscore', ...rows]),
      ]),
    ),
  };
}

let data: string;
let runs: string;
beforeAll(async () => {
  data = tempFiles(toyData());
  runs = await mkdtemp(join(tmpdir(), 'undrift-runs-'));
});
afterAll(() => rm(runs, { recursive: true, force: true }));

const small = (out: string, more: Partial<TrainOptions> = {}): TrainOptions & { threads: number } => ({
  data,
  out: join(runs, out),
  batchSize: 16,
  steps: 40,
  hidden: 32,
  vocabSize: 200,
  evalEvery: 10,
  threads: 1,
  ...more,
});
const transformerOptions = {
  model: 'transformer',
  layers: 1,
  heads: 2,
  lr: 1e-3,
  dropout: 0.1,
  maxDocTokens: 32,
  maxQueryTokens: 32,
};

const bytes = (out: string, file: string) => readFile(join(runs, out, file));
const MODEL_FILES = {
  shared: ['model/model.safetensors'],
  separate: ['query', 'document'].map((t) => `model/${t}/model.safetensors`),
};
const CHECKPOINT_FILES = [
  'checkpoint/parameters.safetensors',
  'checkpoint/optimizer.safetensors',
  'checkpoint/state.json',
];
async function expectSameRun(
  a: string,
  b: string,
  towers: keyof typeof MODEL_FILES = 'shared',
): Promise<void> {
  for (const file of [...MODEL_FILES[towers], ...CHECKPOINT_FILES])
    expect((await bytes(a, file)).equals(await bytes(b, file)), file).toBe(true);
  const log = async (out: string) =>
    (await readEventLog(join(runs, out, 'metrics.jsonl'))).map(({ wallMs: _, values, ...event }) => ({
      ...event,
      // Times differ; what was spent otherwise does not.
      values: Object.fromEntries(Object.entries(values).filter(([name]) => !name.endsWith('Ms'))),
    }));
  expect(await log(b)).toEqual(await log(a));
}
/** Interrupts a run, as Ctrl-C does, while it makes the given step. */
function interruptAt(step: number): TrainCallbacks {
  const controller = new AbortController();
  return { signal: controller.signal, onStep: (report) => report.step === step && controller.abort() };
}

describe('a training run', () => {
  it('learns matches that share no words, and keeps the best model', async () => {
    const losses: number[] = [];
    const result = await trainRetriever(small('learn', { steps: 120, evalEvery: 40 }), {
      onStep: ({ trainingLoss }) => losses.push(trainingLoss),
    });
    expect(losses[0]).toBeGreaterThan(2);
    expect(losses.at(-1)).toBeLessThan(0.5 * losses[0]!);
    const retriever = await loadRetriever(result.model);
    const { metrics } = await evaluateRetriever(retriever, await loadData(data), 'dev', {
      metrics: ['ndcg@10'],
    });
    await retriever.dispose();
    expect(metrics['ndcg@10']).toBeGreaterThan(0.5);
    expect(metrics['ndcg@10']).toBeCloseTo(result.best.value!, 6);
  });

  it('gives the same bytes with the same seed, and others with another', async () => {
    await trainRetriever(small('same-a'));
    await trainRetriever(small('same-b'));
    await trainRetriever(small('other', { seed: 2 }));
    await expectSameRun('same-a', 'same-b');
    expect(
      (await bytes('other', 'model/model.safetensors')).equals(
        await bytes('same-a', 'model/model.safetensors'),
      ),
    ).toBe(false);
  });

  it.each([
    ['static', {}],
    [
      'transformer with dropout, accumulation and a learned temperature',
      { ...transformerOptions, accumulate: 2, learnTemperature: true, towers: 'separate' as const },
    ],
  ])('goes on after an interruption as if there had been none: %s', async (name, options) => {
    const [whole, parts] = [`whole-${name.length}`, `parts-${name.length}`];
    await trainRetriever(small(whole, options));
    await expect(trainRetriever(small(parts, options), interruptAt(13))).rejects.toThrow(InterruptedError);
    await expect(trainRetriever({ ...small(parts, options), resume: true }, interruptAt(27))).rejects.toThrow(
      /--resume/,
    );
    await trainRetriever({ ...small(parts, options), resume: true });
    await expectSameRun(whole, parts, 'towers' in options ? 'separate' : 'shared');
  });

  it('diagnoses a cache, which changes nothing, and goes on with it after a stop', async () => {
    const cached = { method: 'negative-cache', cacheSize: 64, accumulate: 2, steps: 24, evalEvery: 8 };
    const diagnosed = { ...cached, diagnose: 8 };
    const plain = await trainRetriever(small('undiagnosed', cached));
    const found: number[] = [];
    const whole = await trainRetriever(small('diagnosed', diagnosed), {
      onDiagnosis: ({ step, values }) => found.push(step, values.klStale!),
    });
    await expect(trainRetriever(small('diagnosed-parts', diagnosed), interruptAt(13))).rejects.toThrow(
      InterruptedError,
    );
    await trainRetriever({ ...small('diagnosed-parts', diagnosed), resume: true });
    await expectSameRun('diagnosed', 'diagnosed-parts');
    for (const file of [...MODEL_FILES.shared, 'model/README.md', 'model/undrift.json']) {
      expect((await bytes('undiagnosed', file)).equals(await bytes('diagnosed', file)), file).toBe(true);
    }

    // Of 200 queries 160 are in the train split.
    const card = String(await bytes('diagnosed', 'model/README.md'));
    expect(card).toMatch(/\| data \| documents \| training queries \|\n.*\n\|[^|]*\| 200 \| 160 \|/);

    const events = await readEventLog(join(runs, 'diagnosed', 'metrics.jsonl'));
    const diagnoses = events.filter(({ kind }) => kind === 'diagnosis');
    expect(diagnoses.map(({ step }) => step)).toEqual([8, 16, 24]);
    expect(found).toEqual(diagnoses.flatMap(({ step, values }) => [step, values.klStale]));
    for (const { values } of diagnoses) {
      expect(values).toMatchObject({ rows: 64, falseNegativeRatio: 0 });
      expect(values.klStale).toBeGreaterThan(0);
      expect(values.klStale).toBeLessThan(values.klBound!);
    }
    expect(diagnoses.map(({ values }) => 'lipschitzEstimate' in values)).toEqual([false, true, true]);
    // 64 rows, 128 queries and their positives each time, and none of it among what training embedded.
    expect(whole.ledger.diagnosisEncodes).toBe(3 * (64 + 2 * 128));
    expect(whole.ledger.documentEncodes).toBe(plain.ledger.documentEncodes);
    expect(whole.ledger.diagnoseMs).toBeGreaterThan(0);
    expect(plain.ledger).not.toHaveProperty('diagnosisEncodes');
  });

  it('notes that there is nothing to diagnose', async () => {
    const notes: string[] = [];
    await trainRetriever(small('nothing', { steps: 4, diagnose: 2 }), { onNote: (note) => notes.push(note) });
    expect(notes.join()).toContain('in-batch keeps no embeddings whose staleness could be measured');
    const events = await readEventLog(join(runs, 'nothing', 'metrics.jsonl'));
    expect(events.some(({ kind }) => kind === 'diagnosis')).toBe(false);
  });

  it('counts what each update embedded, batches of one update together, and all time once', async () => {
    const startMs = performance.now();
    const { ledger } = await trainRetriever(
      small('counted', { method: 'exhaustive', refresh: 'every:10', accumulate: 2, steps: 20, saveEvery: 5 }),
    );
    const tookMs = performance.now() - startMs;
    const events = await readEventLog(join(runs, 'counted', 'metrics.jsonl'));
    const train = events.filter(({ kind }) => kind === 'train');
    expect(train.map(({ step }) => step)).toEqual([1, 10, 20]);
    for (const { step, values } of train) {
      // Two batches of 16 positives and at most as many negatives; with every tenth update all 200 documents.
      const own = values.documentEncodes! - (step % 10 === 0 ? 200 : 0);
      expect(own).toBeGreaterThan(32);
      expect(own).toBeLessThanOrEqual(64);
      expect(values).toMatchObject({ filledRatio: 1, tableVersion: step - (step % 10) });
      expect(values.ageMax).toBe(step % 10);
      expect(values.staleness).toBeGreaterThanOrEqual(0);
      expect(values.maskedRatio).toBeCloseTo(1 / 200, 3);
    }
    // The first fill belongs to no update.
    expect(ledger).toMatchObject({ refreshEncodes: 600, positiveEncodes: 640 });
    const { prepareMs, refreshMs, sampleMs, stepMs, updateMs, evaluateMs, saveMs } = ledger;
    const training = prepareMs! + refreshMs! + sampleMs! + stepMs! + updateMs!;
    expect(evaluateMs).toBeGreaterThan(0);
    expect(training + evaluateMs! + saveMs!).toBeLessThan(tookMs);
    // The log's clock stands still while others than training are at work.
    const { wallMs } = events.at(-1)!;
    expect(wallMs).toBeGreaterThan(0.6 * training);
    expect(wallMs).toBeLessThan(tookMs - evaluateMs! - saveMs!);
  });

  it('starts over when it was killed before its first checkpoint', async () => {
    await trainRetriever(small('whole-start', { steps: 6, evalEvery: 6 }));
    await expect(trainRetriever(small('killed', { steps: 6, evalEvery: 6 }), interruptAt(2))).rejects.toThrow(
      /saved/,
    );
    // What kill -9 leaves: settings and a log, but no checkpoint yet, or not even the tokenizer.
    for (const name of ['checkpoint', 'tokenizer.json']) {
      await rm(join(runs, 'killed', name), { recursive: true, force: true });
    }
    await trainRetriever({ ...small('killed', { steps: 6, evalEvery: 6 }), resume: true });
    await expectSameRun('whole-start', 'killed');
  });

  it('starts from the weights of a model folder', async () => {
    const first = await trainRetriever(small('first'));
    const notes: string[] = [];
    const second = await trainRetriever(small('second', { model: first.model, steps: 1, lr: 1e-9 }), {
      onNote: (n) => notes.push(n),
    });
    const [before, after] = [await loadRetriever(first.model), await loadRetriever(second.model)];
    const [a, b] = [
      await before.encode('query', ['ask1y ask2y']),
      await after.encode('query', ['ask1y ask2y']),
    ];
    expect(Math.hypot(...a.map((x, i) => x - b[i]!))).toBeLessThan(1e-5);
    expect(after.trainedSteps).toBe(before.trainedSteps + 1);
    // A run stands for its best model, here as everywhere.
    const third = await trainRetriever(small('third', { model: join(runs, 'first'), steps: 1, lr: 1e-9 }));
    expect(third.embeddingSpace).toBe(second.embeddingSpace);
    await expect(trainRetriever(small('fourth', { model: 'transfomer' }))).rejects.toThrow(
      /transfomer: no such folder\. Did you mean 'transformer'\?/,
    );
  });

  it('refuses to resume another run, and to overwrite one unasked', async () => {
    await expect(trainRetriever(small('guard', { lr: 0.02 }), interruptAt(3))).rejects.toThrow(
      InterruptedError,
    );
    await expect(trainRetriever(small('guard', { lr: 0.02 }))).rejects.toThrow(
      /already holds a run.*\n.*resume: true/,
    );
    await expect(trainRetriever({ ...small('guard', { lr: 0.5 }), resume: true })).rejects.toThrow(
      /lr: 0.02 then, 0.5 now/,
    );
    await expect(
      trainRetriever({
        ...small('guard', { lr: 0.02, data: tempFiles({ ...toyData(), 'qrels/dev.tsv': 'q0\td0\t1\n' }) }),
        resume: true,
      }),
    ).rejects.toThrow(/fingerprint/);
    await expect(trainRetriever({ ...small('nowhere'), resume: true })).rejects.toThrow(/no run to resume/);
    expect((await readRunSettings(join(runs, 'guard'))).lr).toBe(0.02);
    const { steps } = await trainRetriever({ ...small('guard', { steps: 5 }), overwrite: true });
    expect(steps).toBe(5);
  });

  it('refuses a folder that holds something else', async () => {
    const out = tempFiles({ 'thesis.txt': 'years of work' });
    await expect(trainRetriever({ ...small('x'), out, overwrite: true })).rejects.toThrow(/thesis.txt/);
    expect(await readFile(join(out, 'thesis.txt'), 'utf8')).toBe('years of work');
  });

  it('stops early when the metric no longer rises', async () => {
    const result = await trainRetriever(small('early', { steps: 400, evalEvery: 5, patience: 2, lr: 1e-7 }));
    expect(result.stoppedEarly).toBe(true);
    expect(result.steps).toBeLessThan(400);
  });

  it('stops with the step and the parameter when numbers blow up', async () => {
    const run = trainRetriever(
      small('blow-up', { lr: 1e38, maxGradNorm: 0, normalize: false, schedule: 'constant', warmup: 0 }),
    );
    await expect(run).rejects.toThrow(/step \d+: the (loss is|gradient of encoder\/)/);
  });

  it('says what is wrong with a batch that is too large', async () => {
    await expect(trainRetriever(small('large', { batchSize: 500 }))).rejects.toThrow(
      /500 is more than the 160 training queries/,
    );
    // The failed run leaves nothing for which the corrected command would be refused.
    expect(existsSync(join(runs, 'large'))).toBe(false);
  });

  it('replaces an earlier run only once everything is right with the new one', async () => {
    await trainRetriever(small('kept', { steps: 2 }));
    const again = (more: Partial<TrainOptions>) =>
      trainRetriever({ ...small('kept', more), overwrite: true });
    await expect(again({ data: join(data, 'absent') })).rejects.toThrow(/no such file or folder/);
    await expect(again({ batchSize: 500 })).rejects.toThrow(/500 is more than/);
    await expect(again({ evalSplit: 'dve' })).rejects.toThrow(
      /no split "dve".*\n.*dev, test, train|train, dev, test/,
    );
    expect(existsSync(join(runs, 'kept', 'model', 'model.safetensors'))).toBe(true);
    expect((await readRunSettings(join(runs, 'kept'))).batchSize).toBe(16);
    expect((await again({ steps: 1 })).steps).toBe(1);
  });

  it('evaluates nothing on request, and keeps the last model', async () => {
    const notes: string[] = [];
    const onEvaluation = vi.fn();
    const result = await trainRetriever(
      { ...small('unevaluated'), steps: 3, evalEvery: 1, evalSplit: 'none' },
      { onEvaluation, onNote: (note) => notes.push(note) },
    );
    expect(onEvaluation).not.toHaveBeenCalled();
    expect(notes).toContain('no evaluation: the last model is kept, not the best');
    expect(result.best.value).toBeNull();
    expect((await loadRetriever(result.model)).trainedSteps).toBe(3);
  });

  it('stops at once while it reads data', async () => {
    const controller = new AbortController();
    const run = trainRetriever(small('reading'), {
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(run).rejects.toThrow(/stopped before training began/);
    expect(existsSync(join(runs, 'reading'))).toBe(false);
  });

  it.each([
    ['settings.json', 'null', /settings\.json: these are not the settings of a run/],
    ['settings.json', '{"settings": {}}', /settings\.json: these are not the settings of a run/],
  ])('names what is damaged of a run that is to go on: %s %s', async (file, content, message) => {
    if (!existsSync(join(runs, 'whole'))) await trainRetriever(small('whole', { steps: 2 }));
    const damaged = join(runs, 'damaged');
    await rm(damaged, { recursive: true, force: true });
    await cp(join(runs, 'whole'), damaged, { recursive: true });
    await writeFile(join(damaged, file), content);
    await expect(trainRetriever({ ...small('damaged', { steps: 2 }), resume: true })).rejects.toThrow(
      message,
    );
  });
});
