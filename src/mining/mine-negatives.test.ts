import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { loadData } from '../data/load.ts';
import type { RetrievalData } from '../data/retrieval-data.ts';
import { duplicateMap } from '../data/text-identity.ts';
import type { Run } from '../eval/ranking.ts';
import { createRetriever } from '../models/retriever/create-retriever.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { ExactIndex } from '../search/exact-search.ts';
import { Bm25 } from '../text/bm25.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { trainVocabulary } from '../text/train-vocabulary.ts';
import { permutation, rngKey } from '../util/rng.ts';
import {
  type CandidateSource,
  denseCandidates,
  lexicalCandidates,
  runCandidates,
} from './candidate-source.ts';
import { type MiningOptions, type MiningTask, mineNegatives } from './mine-negatives.ts';
import { minableQueries } from './mined-pairs.ts';
import { MiningStatistics } from './mining-statistics.ts';

/** All negatives, by query. */
async function mine(source: CandidateSource, task: MiningTask, options: MiningOptions): Promise<number[][]> {
  const lists: number[][] = [];
  for await (const { start, offsets, rows } of mineNegatives(source, task, options)) {
    expect(start).toBe(lists.length);
    for (let i = 0; i + 1 < offsets.length; i++) lists.push([...rows.subarray(offsets[i], offsets[i + 1])]);
  }
  return lists;
}

const WORDS = 12;
const words = (i: number) => [...permutation(rngKey(2, i, 'words'), WORDS).subarray(0, 3)];
/** 40 documents of three words out of 12; 21 is a copy of 20, 30 has no text. Query 9 asks what query 8 asks. */
const documents = Array.from({ length: 40 }, (_, i) =>
  i === 30
    ? ' '
    : words(i === 21 ? 20 : i)
        .map((w) => `word${w}`)
        .join(' '),
);
const queries = Array.from({ length: 25 }, (_, i) =>
  words(i === 9 ? 8 : i)
    .slice(0, 2)
    .map((w) => `word${w}`)
    .join(' '),
);
const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
const folder = tempFiles({
  'corpus.jsonl': lines(documents.map((text, i) => ({ _id: `d${i}`, text }))),
  'queries.jsonl': lines(queries.map((text, i) => ({ _id: `d${i}`, text }))),
  // Queries 3 and 4 have a second answer.
  'qrels/train.tsv': `query-id\tcorpus-id\tscore\n${queries
    .map((_, i) => `d${i}\td${i}\t1\n${i === 3 || i === 4 ? `d${i}\td${i + 20}\t1\n` : ''}`)
    .join('')}`,
});
const data: RetrievalData = await loadData(folder);
const { queryRows } = data.examples('train');
const positivesOf = data.positiveSets('train');
const task: MiningTask = {
  positives: (query) => positivesOf(queryRows[query]!),
  empty: new Set([30]),
};
const texts = {
  documents: documents.length,
  document: (row: number) => data.corpus.text(row),
  queries: queryRows.length,
  query: (query: number) => data.queries.text(queryRows[query]!),
};

function makeRetriever(): Retriever {
  const tokenizer = Tokenizer.fromJson(trainVocabulary(documents, { model: 'wordpiece', vocabSize: 90 }));
  return createRetriever({
    kind: 'static',
    tokenizer,
    hidden: 16,
    maxQueryTokens: 16,
    maxDocTokens: 16,
    seed: 4,
  });
}

async function makeDense(retriever: Retriever): Promise<CandidateSource> {
  return await denseCandidates(
    retriever,
    {
      tokens: retriever.tokenize('query', data.queries.size, (row) => data.queries.text(row)),
      rows: Uint32Array.from(queryRows),
    },
    retriever.tokenize('document', documents.length, texts.document),
    { threads: 1 },
  );
}

/** What mining without scores and margins should find, said in another way. */
function expected(ranked: readonly number[], query: number, from: number, to: number): number[] {
  const same = queries.flatMap((text, i) => (text === queries[query] ? [i] : []));
  const answers = same.flatMap((i) => [...(task.positives(i) as Int32Array)].map((row) => documents[row]));
  const candidates = ranked.filter((row) => row !== 30 && !answers.includes(documents[row]));
  return candidates
    .slice(from, to)
    .filter((row, i, all) => all.findIndex((other) => documents[other] === documents[row]) === i);
}

describe('mining by BM25', () => {
  it.each([
    [0, 40],
    [2, 9],
  ])('gives ranks %d to %d without right answers and copies', async (from, to) => {
    const source = lexicalCandidates('bm25', texts);
    const found = await mine(source, task, { negatives: 1, strategy: 'all', rankFrom: from, rankTo: to });
    const index = Bm25.build(documents.length, texts.document);
    const wanted = queries.map((text, i) => expected([...index.search(text, 40).rows], i, from, to));
    expect(found).toEqual(wanted);
    expect(found.flat().length).toBeGreaterThan(50);
    // Document 8 answers what query 9 asks as well.
    expect(index.search(queries[9]!, 3).rows).toContain(8);
    expect(found[9]).not.toContain(8);
  });

  it('leaves out the query itself, where ids say so', async () => {
    const source = lexicalCandidates('bm25', texts);
    const statistics = new MiningStatistics(3);
    // As if documents were queries: none of them has its own among its answers now.
    const own: MiningTask = {
      positives: (query) => [(query + 1) % 25],
      ownDocument: (query) => data.corpus.row(data.queries.id(queryRows[query]!)),
    };
    const found = await mine(source, own, { negatives: 3, statistics });
    for (const [query, rows] of found.entries()) {
      expect(rows.map((row) => documents[row])).not.toContain(documents[query]);
    }
    expect(statistics.removed.sameId).toBeGreaterThan(20);
  });
});

describe('mining by a retriever', () => {
  it('gives what exact search ranks, in blocks of any size', async () => {
    const retriever = makeRetriever();
    const source = await makeDense(retriever);
    const [q, d] = [await retriever.encode('query', queries), await retriever.encode('document', documents)];
    const index = ExactIndex.create(d, 16, { threads: 1 });
    const { rows, k } = await index.search(q, 40);
    for (const [from, to] of [
      [0, 40],
      [5, 20],
    ] as const) {
      const found = await mine(source, task, { negatives: 2, strategy: 'all', rankFrom: from, rankTo: to });
      const wanted = queries.map((_, i) => expected([...rows.subarray(i * k, (i + 1) * k)], i, from, to));
      // Copies score alike: as texts.
      const spell = (lists: number[][]) => lists.map((list) => list.map((row) => documents[row]));
      expect(spell(found)).toEqual(spell(wanted));
    }
    // A depth beyond 2²² / 512 shortens the blocks, and changes nothing.
    const options = { negatives: 2, rankFrom: 0 };
    const whole = await mine(source, task, { ...options, rankTo: 100 });
    expect(await mine(source, task, { ...options, rankTo: 2 ** 20 })).toEqual(whole);
    await index.dispose();
    await source.dispose();
    await retriever.dispose();
  });

  it('reports progress with its stage', async () => {
    const retriever = makeRetriever();
    const stages = new Map<string, number>();
    const source = await denseCandidates(
      retriever,
      { tokens: retriever.tokenize('query', 25, texts.query), rows: Uint32Array.from(queryRows.keys()) },
      retriever.tokenize('document', documents.length, texts.document),
      { threads: 1, onProgress: ({ stage, done, total }) => stages.set(`${stage} of ${total}`, done) },
    );
    const done: number[] = [];
    await mine(source, task, {
      negatives: 1,
      onProgress: (progress) => done.push(progress.done, progress.total!),
    });
    expect([...stages]).toEqual([['encode documents of 40', 40]]);
    expect(done).toEqual([25, 25]);
    expect(source.bytes).toBe(40 * 16 * 4);
    await source.dispose();
    await retriever.dispose();
  });
});

describe('mining from a run', () => {
  const run: Run = new Map([
    ['d0', [5, 0, 7, 6].map((row, i) => ({ docId: `d${row}`, score: 9 - i }))],
    ['d3', [{ docId: 'd1', score: -1 }]],
    ['another', [{ docId: 'nothing of ours', score: 1 }]],
  ]);

  it('keeps the order of the run', async () => {
    const source = runCandidates(run, data, queryRows, { file: 'r.run' });
    const statistics = new MiningStatistics(2);
    const found = await mine(source, task, { negatives: 2, statistics });
    expect(found.slice(0, 4)).toEqual([[5, 7], [], [], [1]]);
    expect(statistics.short).toEqual({ queries: 24, withNone: 23, missing: 23 * 2 + 1 });
    expect(statistics.shortCounts).toEqual([23, 1]);
    // The positive has rank 1 of 4: only what is below it can keep a distance; query d3's is not there at all.
    expect((await mine(source, task, { negatives: 2, absoluteMargin: 1.5 })).slice(0, 4)).toEqual([
      [6],
      [],
      [],
      [],
    ]);
  });

  it('names a document that is not in the corpus, and a run of something else', () => {
    const wrong: Run = new Map([['d0', [{ docId: 'x1', score: 1 }]]]);
    expect(() => runCandidates(wrong, data, queryRows, { file: 'r.run' })).toThrow(
      /r\.run: document "x1" of query "d0" is not among the documents of /,
    );
    expect(() => runCandidates(new Map([['q', []]]), data, queryRows, { file: 'r.run' })).toThrow(
      /r\.run has results for none of the 25 queries/,
    );
  });
});

describe('the choice', () => {
  const source = lexicalCandidates('bm25', texts);
  const rules = { rankFrom: 0, rankTo: 12, negatives: 3 };

  it('is the best ones, or random ones that follow from the seed and the query', async () => {
    const all = await mine(source, task, { ...rules, strategy: 'all' });
    const top = await mine(source, task, rules);
    expect(top).toEqual(all.map((list) => list.slice(0, 3)));
    const random = (seed: number) => mine(source, task, { ...rules, strategy: 'random', seed });
    const one = await random(1);
    expect(await random(1)).toEqual(one);
    expect(await random(2)).not.toEqual(one);
    for (const [query, rows] of one.entries()) {
      expect(rows.length).toBe(Math.min(3, all[query]!.length));
      // Different ones, in the order of their ranks.
      const places = rows.map((row) => all[query]!.indexOf(row));
      expect(places).toEqual([...new Set(places)].sort((a, b) => a - b));
      expect(Math.min(...places)).toBeGreaterThanOrEqual(0);
    }
  });

  it('at random takes each as often as any other', async () => {
    const all = await mine(source, task, { ...rules, strategy: 'all' });
    const counts = all.map((list) => list.map(() => 0));
    const rounds = 300;
    for (let seed = 0; seed < rounds; seed++) {
      const found = await mine(source, task, { ...rules, strategy: 'random', seed });
      for (const [query, rows] of found.entries())
        for (const row of rows) counts[query]![all[query]!.indexOf(row)]! += 1;
    }
    // Over the queries: the share of the first and of the last of the list.
    const long = counts.filter((list) => list.length >= 6);
    expect(long.length).toBeGreaterThan(5);
    for (const list of long) {
      const p = 3 / list.length;
      const deviation = Math.sqrt(rounds * p * (1 - p));
      for (const count of list) expect(Math.abs(count - rounds * p)).toBeLessThan(4.5 * deviation);
    }
  });

  it.each([
    [{ negatives: 0 }, /^negatives should be a whole number from 1 to 10,000, found 0/],
    [{ rankFrom: 10 }, /ranks 10 … 11 hold 2 documents, not 3\n {2}help: end the range at rank 13 or later/],
    [{ rankTo: 0 }, /^rankTo should be a whole number of at least 1, found 0/],
    [{ rankFrom: 1, rankTo: 1 }, /no rank from 1 and before 1/],
    [{ maxScore: 1, minScore: 2 }, /no score is below 1 and above 2/],
  ])('refuses %j', async (wrong, message) => {
    await expect(mine(source, task, { ...rules, ...wrong })).rejects.toThrow(message);
  });
});

describe("sentence-transformers' mine_hard_negatives", () => {
  const golden = JSON.parse(readFileSync(new URL('fixtures/mine-golden.json', import.meta.url), 'utf8')) as {
    dimension: number;
    wanted: number;
    documents: number[];
    queries: number[];
    positives: number[][];
    cases: { rules: Partial<MiningOptions>; negatives: number[][] }[];
  };
  const D = golden.dimension;
  const total = golden.positives.length;
  const nothing = duplicateMap({ rows: 0, tokens: () => [] });

  it.each(golden.cases)('finds the same: $rules', async ({ rules, negatives }) => {
    const index = ExactIndex.create(Float32Array.from(golden.documents), D, { threads: 1 });
    const source: CandidateSource = {
      queries: total,
      async search(start, end) {
        const vectors = Float32Array.from(golden.queries.slice(start * D, end * D));
        const { rows, scores, k } = await index.search(vectors, golden.documents.length / D);
        return (query) => ({
          rows: rows.subarray((query - start) * k, (query - start + 1) * k),
          scores: scores.subarray((query - start) * k, (query - start + 1) * k),
        });
      },
      sameDocuments: nothing,
      sameQueries: nothing,
      bytes: 0,
      dispose: () => index.dispose(),
    };
    const found = await mine(
      source,
      { positives: (query) => golden.positives[query]! },
      { negatives: golden.wanted, ...rules },
    );
    expect(found).toEqual(negatives);
    await source.dispose();
  });
});

it('mines neither the own text of a query nor copies of its positive, whatever the case and white space', async () => {
  const positive = 'Paris is the capital of France';
  const twins = [`${positive} `, 'Paris is  the capital\nof France', positive.toUpperCase()];
  const asked = 'what is the capital of France';
  const given = await loadData({
    documents: [positive, ...twins, 'Lyon in France', 'Berlin is the capital', `${asked.toUpperCase()} `].map(
      (text, i) => ({ id: `d${i}`, text }),
    ),
    queries: [
      { id: 'a', text: asked },
      { id: 'b', text: ` ${asked}` },
    ],
    judgements: {
      train: [
        { queryId: 'a', docId: 'd0' },
        { queryId: 'b', docId: 'd4' },
      ],
    },
  });
  const minable = minableQueries(given, 'train');
  const statistics = new MiningStatistics(5);
  const options: MiningOptions = { negatives: 5, strategy: 'all', statistics };
  const bm25 = lexicalCandidates('bm25', minable.texts);
  expect(await mine(bm25, minable, options)).toEqual([[5], [5]]);
  expect(statistics.removed).toMatchObject({ positive: 4, duplicate: 6, sameId: 2 });
  // A source that knows nothing of texts mines the same.
  const unknowing = { ...bm25, sameDocuments: () => [], sameQueries: () => [] };
  expect(await mine(unknowing, minable, { ...options, statistics: undefined })).toEqual([[5], [5]]);
});
