import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { sharedData } from '../../test/shared-data.ts';
import { Bm25 } from './bm25.ts';
import { bm25Terms } from './index-terms.ts';

/** The formula, document by document, in float64 and without an index. */
function naiveScores(docs: string[], query: string, k1: number, b: number): number[] {
  const docTerms = docs.map((doc) => bm25Terms(doc));
  const averageLength = docTerms.reduce((sum, terms) => sum + terms.length, 0) / docs.length;
  return docTerms.map((terms) => {
    let score = 0;
    for (const term of bm25Terms(query)) {
      const df = docTerms.filter((other) => other.includes(term)).length;
      const tf = terms.filter((other) => other === term).length;
      const idf = Math.log(1 + (docs.length - df + 0.5) / (df + 0.5));
      if (tf > 0) score += (idf * tf) / (tf + k1 * (1 - b + (b * terms.length) / averageLength));
    }
    return score;
  });
}

/** Numbers in [0, 1) from a linear congruential generator. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Words w0, w1, … with Zipf-like frequencies. */
function randomText(random: () => number, words: number, vocabulary: number): string {
  return Array.from({ length: words }, () => `w${Math.floor(vocabulary ** random()) - 1}`).join(' ');
}

const build = (docs: string[], options = {}) => Bm25.build(docs.length, (row) => docs[row]!, options);

describe('Bm25', () => {
  it('agrees with three documents computed by hand', () => {
    // Lengths 2, 3, 1: avgdl 2. "a" is in two of three: idf = ln(1 + 1.5/2.5) = ln 1.6.
    const bm25 = build(['a b', 'A, a; c', 'd']);
    const { rows, scores } = bm25.search('a', 10);
    expect(Array.from(rows)).toEqual([1, 0]);
    expect(scores[0]).toBeCloseTo((Math.log(1.6) * 2) / (2 + 0.9 * (0.6 + 0.4 * 1.5)), 6); // 0.305197
    expect(scores[1]).toBeCloseTo((Math.log(1.6) * 1) / (1 + 0.9), 6); // 0.247370
    expect(scores[0]).toBeCloseTo(0.305197, 6);
    expect(scores[1]).toBeCloseTo(0.24737, 6);
    expect(bm25.search('a a', 1).scores[0]).toBeCloseTo(2 * 0.305197, 5);
    expect([bm25.rows, bm25.terms, bm25.postings, bm25.averageLength]).toEqual([3, 4, 5, 2]);
  });

  it.each([
    { seed: 1, vocabulary: 400, k1: 0.9, b: 0.4 },
    { seed: 2, vocabulary: 30, k1: 1.2, b: 0.75 },
    { seed: 3, vocabulary: 3000, k1: 0, b: 0 },
    { seed: 4, vocabulary: 200, k1: 2, b: 1 },
  ])('returns the top k of the plain formula, ties by row ($vocabulary words, k1 $k1, b $b)', (arm) => {
    const random = randomNumbers(arm.seed);
    const docs = Array.from({ length: 150 }, () =>
      randomText(random, Math.floor(random() * 40), arm.vocabulary),
    );
    docs[7] = docs[3]!; // equal scores
    docs[9] = docs[3]!;
    const bm25 = build(docs, { k1: arm.k1, b: arm.b });
    for (let q = 0; q < 20; q++) {
      const query = q === 0 ? docs[3]! : randomText(random, 1 + Math.floor(random() * 8), arm.vocabulary);
      const scores = naiveScores(docs, query, arm.k1, arm.b);
      const expected = Array.from(scores.keys()).filter((row) => scores[row]! > 0);
      for (const topK of [1, 5, 1000]) {
        const found = bm25.search(query, topK);
        expect(found.rows.length).toBe(Math.min(topK, expected.length));
        const ranked = expected.map((row) => scores[row]!).sort((x, y) => y - x);
        found.rows.forEach((row, i) => {
          expect(found.scores[i]).toBeCloseTo(scores[row]!, 4);
          // Rank i holds the i-th best score: nothing better was pruned.
          expect(found.scores[i]).toBeCloseTo(ranked[i]!, 4);
          if (i > 0 && found.scores[i] === found.scores[i - 1])
            expect(row).toBeGreaterThan(found.rows[i - 1]!);
        });
      }
      // Pruning changes nothing: a shorter list is the head of a longer one, scores to the last bit.
      const all = bm25.search(query, 1000);
      const few = bm25.search(query, 5);
      expect(few.rows).toEqual(all.rows.slice(0, 5));
      expect(few.scores).toEqual(all.scores.slice(0, 5));
    }
  });

  it('keeps no state from one query to the next', () => {
    const random = randomNumbers(9);
    const docs = Array.from({ length: 100 }, () => randomText(random, 30, 80));
    const queries = Array.from({ length: 20 }, () => randomText(random, 5, 80));
    const bm25 = build(docs);
    const together = bm25.searchMany(queries, 3);
    expect(together).toEqual(queries.map((query) => build(docs).search(query, 3)));
    expect(bm25.searchMany(queries, 3)).toEqual(together);
  });

  it('accepts another tokenisation and reports progress', () => {
    const seen: number[] = [];
    const bm25 = Bm25.build(3000, (row) => `doc-${row % 7}`, {
      tokenize: (text) => text.split(' '),
      onProgress: ({ done }) => seen.push(done),
    });
    expect(Array.from(bm25.search('doc-3', 2).rows)).toEqual([3, 10]);
    expect(bm25.search('doc', 2).rows.length).toBe(0);
    expect(seen).toEqual([1024, 2048]);
  });

  it('survives empty corpora, empty documents and long texts', () => {
    expect(build([]).search('a', 3).rows.length).toBe(0);
    expect(build(['', '']).search('a', 3).rows.length).toBe(0);
    const long = 'alpha beta '.repeat(100_000);
    const bm25 = build([long, 'alpha', '']);
    expect(Array.from(bm25.search('beta', 3).rows)).toEqual([0]);
    expect(Array.from(bm25.search(long, 3).rows)).toEqual([0, 1]);
  });

  it('refuses parameters out of range', () => {
    expect(() => build(['a'], { k1: -1 })).toThrow('k1 should be a number of at least 0, found -1');
    expect(() => build(['a'], { stem: true, language: 'tr' })).toThrow('stem knows English only');
    expect(() => build(['a'], { stem: true, tokenize: (text: string) => [text] })).toThrow(
      'stem has no meaning with tokenize',
    );
    expect(() => build(['a'], { b: 1.5 })).toThrow('b should be a number from 0 to 1, found 1.5');
    expect(() => build(['a']).search('a', 0)).toThrow('topK should be a whole number of at least 1, found 0');
  });

  const nfcorpus = sharedData('nfcorpus');
  it.skipIf(nfcorpus === undefined)(
    'reaches nDCG@10 0.306 on NFCorpus (skipped without ../shared/data/nfcorpus)',
    () => {
      const { docs, queries, qrels } = readBeir(nfcorpus!, 'test');
      const bm25 = Bm25.build(docs.length, (row) => `${docs[row]!.title} ${docs[row]!.text}`);
      let sum = 0;
      for (const [queryId, relevant] of qrels) {
        const gains = Array.from(
          bm25.search(queries.get(queryId)!, 10).rows,
          (row) => relevant.get(docs[row]!._id) ?? 0,
        );
        const ideal = Array.from(relevant.values()).sort((x, y) => y - x);
        sum += discounted(gains) / discounted(ideal.slice(0, 10));
      }
      expect(sum / qrels.size).toBeCloseTo(0.3055, 3);
    },
  );
});

function discounted(gains: number[]): number {
  return gains.reduce((sum, gain, rank) => sum + (2 ** gain - 1) / Math.log2(rank + 2), 0);
}

interface BeirDoc {
  _id: string;
  title: string;
  text: string;
}

/** Reads a small BEIR folder whole. The reader of `src/data` is for folders after this one. */
function readBeir(folder: string, split: string) {
  const lines = (file: string) =>
    gunzipSync(readFileSync(join(folder, file)))
      .toString()
      .trim()
      .split('\n');
  const docs = lines('corpus.jsonl.gz').map((line) => JSON.parse(line) as BeirDoc);
  const queries = new Map(
    lines('queries.jsonl.gz').map((line) => {
      const { _id, text } = JSON.parse(line) as { _id: string; text: string };
      return [_id, text];
    }),
  );
  const qrels = new Map<string, Map<string, number>>();
  for (const line of readFileSync(join(folder, 'qrels', `${split}.tsv`), 'utf8')
    .trim()
    .split('\n')
    .slice(1)) {
    const [queryId, docId, score] = line.split('\t') as [string, string, string];
    if (!qrels.has(queryId)) qrels.set(queryId, new Map());
    qrels.get(queryId)!.set(docId, Number(score));
  }
  return { docs, queries, qrels };
}
