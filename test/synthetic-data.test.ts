import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type SyntheticOptions, syntheticData } from '../bench/quality/synthetic-data.ts';
import { wordTokenizer } from '../bench/quality/word-tokenizer.ts';
import { loadData } from '../src/data/load.ts';
import { Tokenizer } from '../src/text/tokenizer.ts';
import { tempFiles } from './temp-files.ts';

const small: Partial<SyntheticOptions> = {
  documents: 300,
  trainQueries: 150,
  devQueries: 20,
  testQueries: 100,
  topics: 4,
  facetsPerTopic: 5,
  backgroundWords: 30,
  seed: 7,
};
const { documents, queries, crops, vocabulary } = syntheticData(small);
const all = Object.values(queries).flat();
const words = (text: string) => text.split(' ');
const plain = (word: string) => word.replace(/^other/, '');

describe('the synthetic data of the experiments', () => {
  it('has documents of one topic, three of its facets, and background', () => {
    for (const text of documents) {
      const list = words(text);
      expect(list).toHaveLength(24);
      const topics = new Set(list.flatMap((word) => /^(?:topic|facet)(\d+)x/.exec(word)?.[1] ?? []));
      expect(topics.size).toBe(1);
      expect(list.filter((word) => word.startsWith('topic'))).toHaveLength(8);
      const facets = list.flatMap((word) => /^facet\d+x(\d+)x/.exec(word)?.[1] ?? []);
      expect(facets).toHaveLength(9);
      expect(new Set(facets).size).toBe(3);
      for (const facet of facets) expect(facets.filter((other) => other === facet)).toHaveLength(3);
      expect(list.filter((word) => word.startsWith('word'))).toHaveLength(7);
    }
    expect(new Set(documents.flatMap(words))).toSatisfy((used: Set<string>) =>
      [...used].every((word) => vocabulary.includes(word)),
    );
  });

  it('asks with ten words of a document of its own', () => {
    expect(all).toHaveLength(270);
    expect(new Set(all.map(({ document }) => document)).size).toBe(270);
    for (const { text, document } of all) {
      const asked = words(text).map(plain);
      expect(asked).toHaveLength(10);
      // Topics and facets of the words, without the number of the word type: "topic2", "facet2x3".
      const about = (list: readonly string[]) =>
        new Set(list.filter((word) => !word.startsWith('word')).map((word) => word.replace(/x\d+$/, '')));
      expect(about(asked)).toEqual(about(words(documents[document]!)));
      expect(asked.map((word) => word.slice(0, 4)).sort()).toEqual([
        ...Array(6).fill('face'),
        'topi',
        'topi',
        'word',
        'word',
      ]);
    }
  });

  it('has half of the words of each document for a first encoder', () => {
    expect(crops).toHaveLength(300);
    for (const [row, crop] of crops.entries()) {
      const left = words(documents[row]!);
      expect(words(crop)).toHaveLength(12);
      for (const word of words(crop)) {
        const at = left.indexOf(word);
        expect(at, `${word} in ${documents[row]}`).toBeGreaterThanOrEqual(0);
        left.splice(at, 1);
      }
    }
  });

  it('says half of the word types in queries only by their paraphrase', () => {
    const types = vocabulary.filter((word) => !word.startsWith('other'));
    expect(types).toHaveLength(4 * 8 + 4 * 5 * 3 + 30);
    expect(vocabulary).toHaveLength(1.5 * types.length);
    const inQueries = new Set(all.flatMap(({ text }) => words(text)));
    const paraphrased = new Set(vocabulary.filter((word) => word.startsWith('other')).map(plain));
    for (const word of inQueries) expect(word.startsWith('other')).toBe(paraphrased.has(plain(word)));
    expect(documents.join(' ')).not.toContain('other');
  });

  it('is the same for the same seed, and its documents do not depend on how many there are', () => {
    expect(syntheticData(small)).toEqual({ documents, queries, crops, vocabulary });
    const more = syntheticData({ ...small, documents: 350 });
    expect(more.documents.slice(0, 300)).toEqual(documents);
    expect(syntheticData({ ...small, seed: 8 }).documents).not.toEqual(documents);
  });

  it('refuses more queries than documents', () => {
    expect(() => syntheticData({ ...small, documents: 200 })).toThrow(/fewer than queries/);
  });

  it('has a tokenizer with one token for each word', () => {
    const tokenizer = Tokenizer.fromJson(wordTokenizer(vocabulary));
    expect(tokenizer.vocabSize).toBe(vocabulary.length + 2);
    for (const text of [documents[0]!, queries.test[0]!.text]) {
      expect([...tokenizer.encode(text)]).toEqual(words(text).map((word) => vocabulary.indexOf(word) + 2));
    }
  });

  it('is written as a BEIR folder', async () => {
    const out = join(tempFiles(), 'data');
    const script = fileURLToPath(new URL('../bench/quality/make-synthetic.ts', import.meta.url));
    const numbers = {
      documents: 300,
      'train-queries': 150,
      'dev-queries': 20,
      'test-queries': 100,
      topics: 4,
    };
    const rest = { 'facets-per-topic': 5, 'background-words': 30, seed: 7 };
    const flags = Object.entries({ ...numbers, ...rest }).flatMap(([name, value]) => [
      `--${name}`,
      String(value),
    ]);
    execFileSync(process.execPath, ['--import', 'tsx', script, '--out', out, ...flags]);
    const data = await loadData(out);
    expect(data.splits.toSorted()).toEqual(['dev', 'test', 'train']);
    expect([data.corpus.size, data.queries.size]).toEqual([300, 270]);
    expect(data.corpus.text(5)).toBe(documents[5]);
    const { queryRows, positives } = data.examples('train');
    expect(Array.from(queryRows, (row) => data.queries.text(row))).toEqual(
      queries.train.map(({ text }) => text),
    );
    expect([...positives.rows]).toEqual(queries.train.map(({ document }) => document));
    const pairs = await loadData(join(out, 'crops'));
    const first = pairs.examples('train');
    expect(pairs.queries.text(first.queryRows[3]!)).toBe(crops[3]);
    expect(pairs.corpus.text(first.positives.rows[3]!)).toBe(documents[3]);
    expect(JSON.parse(readFileSync(join(out, 'options.json'), 'utf8'))).toMatchObject(small);
  });
});
