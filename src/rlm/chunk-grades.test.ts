import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { TEST_COMPUTE } from '../../test/test-device.ts';
import { createLanguageModel } from '../models/language/create-language-model.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { trainVocabulary } from '../text/train-vocabulary.ts';
import { randomInts, rngKey } from '../util/rng.ts';
import { gradedChunks, randomChunks, similarChunks } from './chunk-choice.ts';
import { lexicalGrader, ReferenceGrader } from './chunk-grades.ts';
import { ChunkedText, earlierChunks } from './chunked-text.ts';

const M = 4;
const WORDS = Array.from({ length: 12 }, (_, i) => `w${String.fromCharCode(97 + i)}`);
const words = (count: number, seed: number) => {
  const draws = new Int32Array(count);
  randomInts(rngKey(seed, 0, 'words'), WORDS.length, draws);
  return Array.from(draws, (draw) => ` ${WORDS[draw]}`).join('');
};
const vocabulary = (vocabSize: number) =>
  Tokenizer.fromJson(
    trainVocabulary([words(400, 1), words(400, 2)], { model: 'bpe', purpose: 'decoder', vocabSize }),
  );
const modelOf = (tokenizer: Tokenizer) =>
  createLanguageModel({ kind: 'llama', tokenizer, hidden: 16, layers: 1, heads: 2, maxTokens: 24, seed: 2 });

describe('grades of chunks', () => {
  let model: LanguageModel;
  let text: ChunkedText;
  let ids: Int32Array;
  beforeAll(() => {
    const tokenizer = vocabulary(300);
    model = modelOf(tokenizer);
    ids = tokenizer.encodeRaw(words(51, 3));
    text = new ChunkedText(ids, { tokenizer, chunkTokens: M, name: 'a' });
  });
  afterAll(() => model.dispose());
  const grader = (cache?: string, of = model, candidates = 5) =>
    ReferenceGrader.create(of, {
      ...{ candidates, chunkTokens: M, tokenizer: model.tokenizer, cache },
      ...TEST_COMPUTE,
    });

  it('are likelihood ratios beside the two chunks before', async () => {
    const found = await (await grader()).grade(text, 9, 6);
    const chunk = (i: number, count = 1) => [...text.tokens(i, count)];
    const likelihood = async (before: readonly number[]) =>
      (await model.logLikelihoods([{ ids: [...before, ...chunk(9), ...chunk(10)], from: 12 }]))[0]!;
    const reference = await likelihood(chunk(7, 2));
    expect(found.chunks.length).toBeGreaterThan(1);
    for (const [i, each] of found.chunks.entries()) {
      expect(each).toBeLessThan(6);
      expect(found.grades[i]).toBeCloseTo((await likelihood(chunk(each, 2))) - reference, 4);
      if (i > 0) expect(found.grades[i]).toBeLessThanOrEqual(found.grades[i - 1]!);
    }
  });

  it('are of the candidates of BM25, with the next chunk in the query, and of none without a next chunk', async () => {
    const { chunks, grades } = await lexicalGrader(5).grade(text, 9, 6);
    const own = await (await grader()).grade(text, 9, 6);
    expect([...own.chunks].sort()).toEqual([...chunks].sort());
    expect(chunks).toEqual(text.similar(text.text(9, 2), 6, 5).rows);
    expect(grades.every((grade) => grade > 0)).toBe(true);
    for (const each of [lexicalGrader(5), await grader()]) {
      expect((await each.grade(text, text.chunks - 1, 6)).chunks).toHaveLength(0);
      expect((await each.grade(text, 9, 0)).chunks).toHaveLength(0);
    }
  });

  it('are kept on the disk, and equal in any order', async () => {
    const cache = tempFiles();
    const first = await grader(cache);
    const found = [];
    for (const chunk of [8, 9, 10]) found.push(await first.grade(text, chunk, 6));
    await first.flush();
    expect(first.read).toBe(3);
    const second = await grader(cache);
    for (const chunk of [10, 9, 8]) expect(await second.grade(text, chunk, 6)).toEqual(found[chunk - 8]);
    expect(second.read).toBe(0);
    // Other candidates are other grades.
    const fewer = await grader(cache, model, 2);
    expect((await fewer.grade(text, 9, 6)).chunks).toHaveLength(2);
    expect(fewer.read).toBe(1);
  });

  it('of a model with another tokenizer are those of the text', async () => {
    const other = modelOf(vocabulary(280));
    const { chunks, grades } = await (await grader(undefined, other)).grade(text, 9, 6);
    expect(chunks.length).toBeGreaterThan(1);
    expect(grades.every(Number.isFinite)).toBe(true);
    await other.dispose();
    await expect(
      ReferenceGrader.create(model, { candidates: 2, chunkTokens: 7, tokenizer: model.tokenizer }),
    ).rejects.toThrow('the reference model reads 24 tokens, less than four chunks of 7');
  });

  it('choose neighbours, and so do BM25 and chance, without a look at what comes later', async () => {
    const graded = await (await grader()).grade(text, 9, 6);
    expect(await gradedChunks(await grader())(text, 9, 6, 2)).toEqual(graded.chunks.subarray(0, 2));
    const { tokenizer } = model;
    const cut = new ChunkedText(ids.subarray(0, 40), { tokenizer, chunkTokens: M, name: 'a' });
    for (const choice of [similarChunks, randomChunks(3)]) {
      const found = await choice(text, 9, 6, 3);
      expect(found).toHaveLength(3);
      expect(await choice(cut, 9, 6, 3)).toEqual(found);
      expect(await choice(text, 9, 0, 3)).toHaveLength(0);
    }
    expect(await randomChunks(4)(text, 9, 6, 3)).not.toEqual(await randomChunks(3)(text, 9, 6, 3));
  });

  it('concern chunks that lie with their successors before the window', () => {
    expect([0, 4, 8, 12, 20].map((start) => earlierChunks(start, M))).toEqual([0, 0, 1, 2, 4]);
  });
});
