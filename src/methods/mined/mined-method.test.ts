import { cp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { tempFiles } from '../../../test/temp-files.ts';
import { loadData } from '../../data/load.ts';
import type { RetrievalData } from '../../data/retrieval-data.ts';
import { readSafetensors } from '../../io/safetensors.ts';
import { loadRetriever } from '../../models/folder/model-folder.ts';
import { createRetriever } from '../../models/retriever/create-retriever.ts';
import type { Retriever } from '../../models/retriever/retriever.ts';
import { CostLedger } from '../../objective/cost-ledger.ts';
import { Temperature } from '../../objective/temperature.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import type { LexicalOptions } from '../../text/lexical-rankers.ts';
import { Tokenizer } from '../../text/tokenizer.ts';
import { trainVocabulary } from '../../text/train-vocabulary.ts';
import { InterruptedError, type TrainCallbacks } from '../../train/callbacks.ts';
import { readEventLog } from '../../train/event-log.ts';
import type { TrainOptions } from '../../train/settings.ts';
import { trainRetriever } from '../../train/train-retriever.ts';
import { permutation, rngKey } from '../../util/rng.ts';
import { NONE } from '../../util/vector-rows.ts';
import type { MethodContext } from '../contract/method.ts';
import { MinedNegatives } from './mined-negatives.ts';

const DOCUMENTS = 160;
const words = (i: number) => [...permutation(rngKey(8, i, 'words'), 30).subarray(0, 3)];

/**
 * Documents of three words out of 30. A query has the words in another language, and one of them in the documents': BM25 finds
 * candidates, not answers. Documents 4, 14, 24, … are copies of 3, 13, 23, …; queries 5, 15, 25, … have two answers.
 */
function toyData(): Record<string, string> {
  const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  const all = Array.from({ length: DOCUMENTS }, (_, i) => i);
  const wordsOf = (i: number) => words(i % 10 === 4 ? i - 1 : i);
  const judged = (keep: (i: number) => boolean) =>
    `query-id\tcorpus-id\tscore\n${all
      .filter(keep)
      .map((i) => `q${i}\td${i}\t1\n${i % 10 === 5 ? `q${i}\td${i + 1}\t1\n` : ''}`)
      .join('')}`;
  return {
    'corpus.jsonl': lines(
      all.map((i) => ({
        _id: `d${i}`,
        text: wordsOf(i)
          .map((w) => `doc${w}x`)
          .join(' '),
      })),
    ),
    'queries.jsonl': lines(
      all.map((i) => ({
        _id: `q${i}`,
        text: `doc${wordsOf(i)[0]}x ${wordsOf(i)
          .map((w) => `ask${w}y`)
          .join(' ')}`,
      })),
    ),
    'qrels/train.tsv': judged((i) => i % 10 > 1),
    'qrels/dev.tsv': judged((i) => i % 10 < 2),
  };
}

const folder = tempFiles({});
let path: string;
let data: RetrievalData;
let retriever: Retriever;
beforeAll(async () => {
  path = tempFiles(toyData());
  data = await loadData(path);
  const tokenizer = Tokenizer.fromJson(
    trainVocabulary([...data.corpus.texts(), ...data.queries.texts()], {
      model: 'wordpiece',
      vocabSize: 300,
    }),
  );
  retriever = createRetriever({
    kind: 'static',
    tokenizer,
    hidden: 16,
    maxQueryTokens: 16,
    maxDocTokens: 16,
    seed: 1,
  });
});

/** Context with the parts that `MinedNegatives` reads. */
function context(more: Partial<MethodContext> = {}): MethodContext {
  return {
    retriever,
    weights: retriever.weights,
    gradientBuffers: {},
    queries: retriever.tokenize('query', data.queries.size, (row) => data.queries.text(row)),
    documents: retriever.tokenize('document', data.corpus.size, (row) => data.corpus.text(row)),
    positives: data.positiveSets('train'),
    copies: () => [],
    temperature: new Temperature(0.05),
    dropoutRatio: 0,
    chunkSize: 8,
    seed: 1,
    compute: { threads: 1 },
    options: {},
    ledger: new CostLedger(),
    texts: { query: (row) => data.queries.text(row), document: (row) => data.corpus.text(row) },
    examples: data.examples('train'),
    folder,
    ...more,
  };
}

const CHOICES = { samples: 3, rankFrom: 0, rankTo: 30, absoluteMargin: 0, relativeMargin: 0 };

describe('mined negatives', () => {
  it.each(['bm25', 'self'])(
    'by %s are never a right answer, nor a copy of one, in many draws',
    async (from) => {
      const given = context();
      const mined = await MinedNegatives.mine(given, CHOICES, { from, step: 0 });
      const { queryRows } = given.examples;
      const drawn = new Map<number, Set<number>>();
      for (let draw = 0; draw < 200; draw++) {
        const rows = mined.draw(queryRows, 3, { seed: 1, draw });
        expect(rows.length).toBe(3 * queryRows.length);
        for (const [b, queryRow] of queryRows.entries()) {
          const own = [...rows.subarray(3 * b, 3 * b + 3)].filter((row) => row !== NONE);
          expect(new Set(own).size).toBe(own.length);
          drawn.set(queryRow, new Set([...(drawn.get(queryRow) ?? []), ...own]));
        }
      }
      for (const [queryRow, rows] of drawn) {
        const answers = [...given.positives(queryRow)].map((row) => data.corpus.text(row));
        for (const row of rows) expect(answers).not.toContain(data.corpus.text(row));
        expect(rows.size).toBeGreaterThan(3);
      }
      // The copy of its positive would have been among the first.
      const copy = data.corpus.row('d3')!;
      expect([...drawn.values()].some((rows) => rows.has(copy))).toBe(true);
      expect(drawn.get(data.queries.row('q4')!)!.has(copy)).toBe(false);
      // Every mined document is drawn at some point: 200 draws of 3 out of at most 30.
      const sizes = [...drawn.values()].map(({ size }) => size);
      expect(sizes.reduce((a, b) => a + b, 0) / sizes.length).toBeCloseTo(mined.perQuery, 1);
    },
  );

  it('are drawn uniformly, and are the same for the same seed and batch', async () => {
    const given = context();
    const mined = await MinedNegatives.mine(given, { ...CHOICES, rankTo: 6 }, { from: 'self', step: 0 });
    const query = given.examples.queryRows.subarray(0, 1);
    const counts = new Map<number, number>();
    for (let draw = 0; draw < 3000; draw++) {
      for (const row of mined.draw(query, 2, { seed: 1, draw })) counts.set(row, (counts.get(row) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    // 1,000 expected of each, with a deviation of 26.
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(130);
    const twice = [1, 1, 2].map((seed) => [...mined.draw(given.examples.queryRows, 2, { seed, draw: 7 })]);
    expect(twice[1]).toEqual(twice[0]);
    expect(twice[2]).not.toEqual(twice[0]);
  });

  it('give all negatives of a query that has fewer', async () => {
    const given = context();
    const mined = await MinedNegatives.mine(given, { ...CHOICES, rankTo: 3 }, { from: 'self', step: 0 });
    const rows = mined.draw(given.examples.queryRows.subarray(0, 2), 5, { seed: 1, draw: 0 });
    for (const b of [0, 1]) {
      const own = [...rows.subarray(5 * b, 5 * b + 5)];
      expect(own.map((row) => row === NONE)).toEqual([false, false, false, true, true]);
    }
    // A query that is not trained on has none.
    const dev = Int32Array.of(data.queries.row('q0')!);
    expect([...mined.draw(dev, 2, { seed: 1, draw: 0 })]).toEqual([NONE, NONE]);
  });

  it('are restored from a checkpoint', async () => {
    const given = context();
    const mined = await MinedNegatives.mine(given, CHOICES, { from: 'bm25', step: 12 });
    const back = MinedNegatives.restore(given, mined.state());
    expect(back.step).toBe(12);
    const { queryRows } = given.examples;
    expect(back.draw(queryRows, 3, { seed: 4, draw: 9 })).toEqual(
      mined.draw(queryRows, 3, { seed: 4, draw: 9 }),
    );
    expect(() => MinedNegatives.restore(given, {})).toThrow(/holds no mined negatives/);
    const other = context({ examples: (await loadData(path)).examples('dev') });
    expect(() => MinedNegatives.restore(other, mined.state())).toThrow(/mined for other data/);
  });

  it('add their cost to the ledger', async () => {
    const dense = context();
    await MinedNegatives.mine(dense, CHOICES, { from: 'self', step: 0 });
    const queries = dense.examples.queryRows.length;
    expect(dense.ledger.totals).toMatchObject({
      documentEncodes: DOCUMENTS,
      miningEncodes: DOCUMENTS,
      queryEncodes: queries,
      scoringFlops: 2 * queries * DOCUMENTS * 16,
    });
    // Embeddings and lists: no query has more than 30.
    const { cacheBytes } = dense.ledger.totals;
    expect(cacheBytes! - DOCUMENTS * 16 * 4 - 4 * (queries + 1)).toBeGreaterThan(4 * 25 * queries);
    expect(cacheBytes! - DOCUMENTS * 16 * 4 - 4 * (queries + 1)).toBeLessThan(4 * 30 * queries);
    const bm25 = context();
    await MinedNegatives.mine(bm25, CHOICES, { from: 'bm25', step: 0 });
    expect(bm25.ledger.totals.documentEncodes).toBeUndefined();
    expect(bm25.ledger.totals.mineMs).toBeGreaterThan(0);
  });

  it.each(['bm25', 'tfidf'])('by %s heed the options of its terms', async (from) => {
    const documents = ['run', 'the'];
    const given = context({
      texts: {
        ...context().texts,
        query: () => 'the running',
        document: (row) => documents[row] ?? 'other',
      },
    });
    const found = async (lexical: LexicalOptions) => {
      const mined = await MinedNegatives.mine(given, { ...CHOICES, samples: 1 }, { from, lexical, step: 0 });
      return new Set(mined.state()['mined/rows']!.data as Int32Array);
    };
    expect(await found({})).toEqual(new Set([1]));
    expect(await found({ stem: true, stopWords: true })).toEqual(new Set([0]));
  });

  it('refuse options that their ranker does not take', async () => {
    const checked = (from: string, lexical: LexicalOptions) =>
      MinedNegatives.check({ ...CHOICES, rankTo: 100 }, { from, lexical });
    await checked('bm25', { k1: 2, stem: true });
    await checked('tfidf', { k1: 0.9, stem: true });
    await expect(checked('tfidf', { k1: 2 })).rejects.toThrow('k1 is for BM25');
    await expect(checked('self', { stem: true })).rejects.toThrow(
      /stem: true has no meaning with mineFrom: 'self'\n {2}help: it is for mineFrom: 'bm25' and mineFrom: 'tfidf'/,
    );
  });

  it('need a ranker, and at least as many ranks as draws', async () => {
    await expect(MinedNegatives.check(CHOICES, { from: 'bm52' })).rejects.toThrow(
      /mineFrom bm52: no such folder\. Did you mean 'bm25'\?/,
    );
    await expect(
      MinedNegatives.check({ ...CHOICES, rankFrom: 10, rankTo: 12 }, { from: 'bm25' }),
    ).rejects.toThrow(
      /ranks from 10 and before 12 do not hold 3 negatives\n {2}help: use rankTo: 13 or more/,
    );
  });
});

const small = (out: string, more: Partial<TrainOptions> = {}): TrainOptions & { threads: number } => ({
  data: path,
  out: join(folder, out),
  batchSize: 16,
  steps: 24,
  hidden: 24,
  vocabSize: 300,
  lr: 0.02,
  evalEvery: 8,
  threads: 1,
  ...more,
});

/** Interrupts a run, as Ctrl-C does, while it makes the given step. */
function interruptAt(step: number): TrainCallbacks {
  const controller = new AbortController();
  return { signal: controller.signal, onStep: (report) => report.step === step && controller.abort() };
}

async function expectSameRun(a: string, b: string): Promise<void> {
  for (const file of [
    'model/model.safetensors',
    'checkpoint/parameters.safetensors',
    'checkpoint/optimizer.safetensors',
    'checkpoint/method.safetensors',
    'checkpoint/state.json',
  ]) {
    const [first, second] = [await readFile(join(folder, a, file)), await readFile(join(folder, b, file))];
    expect(first.equals(second), file).toBe(true);
  }
}

describe.each([
  ['bm25-negatives', {}],
  ['hard-negatives', { rankFrom: 2, rankTo: 40, mineEvery: 5 }],
  ['hard-negatives', { mineFrom: 'bm25', rankFrom: 0, relativeMargin: 0, samples: 2, mineEvery: 10 }],
])('training with %s %j', (method, options) => {
  const name = `${method}-${JSON.stringify(options).length}`;
  const settings = (out: string) => small(`${name}-${out}`, { method, ...options });

  it('lowers the loss', async () => {
    const losses: number[] = [];
    const drawn: number[] = [];
    await trainRetriever(
      { ...settings('learn'), steps: 80, evalEvery: 80 },
      {
        onStep: ({ trainingLoss, metrics }) => {
          losses.push(trainingLoss);
          drawn.push(metrics.drawnRatio!);
        },
      },
    );
    const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    expect(mean(losses.slice(0, 5))).toBeGreaterThan(1);
    expect(mean(losses.slice(-5))).toBeLessThan(0.5 * mean(losses.slice(0, 5)));
    expect(mean(drawn)).toBeGreaterThan(0.5);
  });

  it('gives the same bytes with the same seed, also when stopped in between', async () => {
    await trainRetriever(settings('whole'));
    await trainRetriever(settings('again'));
    await expectSameRun(`${name}-whole`, `${name}-again`);
    // Between two minings, and right after one.
    for (const step of [7, 10]) {
      const out = `stopped-${step}`;
      await expect(trainRetriever(settings(out), interruptAt(step))).rejects.toBeInstanceOf(InterruptedError);
      await trainRetriever({ ...settings(out), resume: true });
      await expectSameRun(`${name}-whole`, `${name}-${out}`);
    }
  });
});

describe('mining again', () => {
  it('is completed on Ctrl-C, and nothing is lost', async () => {
    const options = { method: 'hard-negatives', rankFrom: 2, rankTo: 40, mineEvery: 5, steps: 12 };
    await trainRetriever(small('undisturbed', options));
    const controller = new AbortController();
    let step = 0;
    const run = trainRetriever(small('disturbed', options), {
      signal: controller.signal,
      onStep: (report) => {
        step = report.step;
      },
      // While it mines after step 5, of which nobody has heard yet.
      onProgress: ({ stage }) => stage === 'mine' && step === 4 && controller.abort(),
    });
    await expect(run).rejects.toThrow(/stopped after step 5 of 12; everything is saved/);
    await trainRetriever({ ...small('disturbed', options), resume: true });
    await expectSameRun('undisturbed', 'disturbed');
  });

  it('ranks with the current weights', async () => {
    const options = { method: 'hard-negatives', rankFrom: 0, rankTo: 20, relativeMargin: 0, mineEvery: 6 };
    // The last mining is after step 12, of 12: a checkpoint holds what those weights rank.
    const result = await trainRetriever(small('again', { ...options, steps: 12, evalEvery: 12 }));
    const log = await readEventLog(join(folder, 'again', 'metrics.jsonl'));
    const last = log.findLast(({ kind }) => kind === 'train')!;
    expect(last.values).toMatchObject({ miningAgeSteps: 0 });
    expect(last.values.minedPerQuery).toBeGreaterThan(15);
    expect(result.ledger.miningEncodes).toBe(3 * DOCUMENTS);

    const trained = await loadRetriever(result.model);
    const given = context({
      retriever: trained,
      queries: trained.tokenize('query', data.queries.size, (row) => data.queries.text(row)),
      documents: trained.tokenize('document', data.corpus.size, (row) => data.corpus.text(row)),
    });
    const choices = { ...CHOICES, rankTo: 20 };
    const now = (await MinedNegatives.mine(given, choices, { from: 'self', step: 12 })).state();
    await trained.dispose();
    const stored = async (out: string) =>
      (await readSafetensors(join(folder, out, 'checkpoint', 'method.safetensors'))).tensors;
    const again = await stored('again');
    expect(again['mined/step']!.data[0]).toBe(12);
    // As texts: of copies that score alike, rounding decides which one comes first.
    const textsOf = (tensors: Readonly<Record<string, HostTensor>>) =>
      [...(tensors['mined/rows']!.data as Int32Array)].map((row) => data.corpus.text(row));
    expect(textsOf(again)).toEqual(textsOf(now));
    // The first weights would rank others.
    await trainRetriever(small('once', { ...options, mineEvery: 0, steps: 12, evalEvery: 12 }));
    expect(textsOf(await stored('once'))).not.toEqual(textsOf(now));
  });

  it('uses the ranking of another model, not of the trained one', async () => {
    const { model } = await trainRetriever(small('teacher', { steps: 8, evalEvery: 8 }));
    await cp(model, join(folder, 'moved'), { recursive: true });
    const notes: string[] = [];
    const result = await trainRetriever(
      small('pupil', { method: 'hard-negatives', mineFrom: join(folder, 'moved'), hidden: 8, steps: 4 }),
      { onNote: (note) => notes.push(note) },
    );
    expect(result.ledger.miningEncodes).toBe(DOCUMENTS);
    expect(result.ledger.documentEncodes).toBeGreaterThan(DOCUMENTS + 4 * 16);
  });

  it('says what to change where it finds nothing', async () => {
    const options = { method: 'hard-negatives', absoluteMargin: 2.5 };
    await expect(trainRetriever(small('nothing', options))).rejects.toThrow(
      /mining by self found no negative for any query\n {2}help: lower relativeMargin and absoluteMargin/,
    );
  });
});
