import { appendFileSync, readdirSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { largestDifference } from '../../../test/small-models.ts';
import { tempFiles } from '../../../test/temp-files.ts';
import { bytesOf } from '../../onnx/dtypes.ts';
import { Program } from '../../runtime/program.ts';
import { ByteDigest } from '../../util/byte-digest.ts';
import { LanguageModel } from './language-model.ts';
import { LanguageTeacher, type LanguageTeacherOptions } from './language-teacher.ts';
import { ReaderPrompt } from './reader-prompt.ts';

const FOLDER = fileURLToPath(new URL('fixtures/causal/llama-untied', import.meta.url));
const PROMPT = '{passage} {query} {answer}';
const prompts = ['the cat sat', 'a dog', 'the cat sat on', ''].map((passage) => ({
  passage,
  query: 'who sat?',
  answer: 'the cat',
}));
const compute = { threads: 1 };

let model: LanguageModel;
beforeAll(async () => {
  model = await LanguageModel.load(FOLDER);
});
afterAll(() => model.dispose());
const teacher = (options: LanguageTeacherOptions = {}) =>
  LanguageTeacher.create(model, { prompt: PROMPT, ...options });
const digest = () => {
  const all = new ByteDigest();
  for (const name of Object.keys(model.weights).sort()) all.add(bytesOf(model.weights[name]!.data));
  return all.digest();
};

describe('LanguageTeacher', () => {
  it("scores the answer's tokens alone, by their mean or their sum, and leaves the weights as they are", async () => {
    const before = digest();
    const { scores, promptTokens, read } = await (await teacher()).scores(prompts, compute);
    const sums = await (await teacher({ score: 'sum' })).scores(prompts, compute);
    for (const [i, texts] of prompts.entries()) {
      const { ids, from } = new ReaderPrompt(PROMPT).tokens(model.tokenizer, texts);
      const [whole, context] = await model.logLikelihoods([{ ids }, { ids: ids.subarray(0, from) }], compute);
      expect(sums.scores[i]).toBeCloseTo(whole! - context!, 3);
      expect(scores[i]).toBeCloseTo((whole! - context!) / (ids.length - from), 3);
      expect(promptTokens[i]).toBe(ids.length);
    }
    expect(read).toBe(prompts.length);
    expect(new Set(scores).size).toBe(prompts.length);
    expect(digest()).toBe(before);
  });

  it('gives the same bits in any company and order, and reads equal prompts once', async () => {
    const whole = await (await teacher()).scores(prompts, compute);
    const alone = await teacher();
    for (const i of [2, 0, 3, 1])
      expect((await alone.scores([prompts[i]!], compute)).scores[0]).toBe(whole.scores[i]);
    const twice = await (await teacher()).scores([prompts[1]!, prompts[0]!, prompts[1]!], compute);
    expect(twice.read).toBe(2);
    expect([...twice.scores]).toEqual([whole.scores[1], whole.scores[0], whole.scores[1]]);
  });

  it('keeps scores on the disk for others, by model, prompt and length', async () => {
    const cache = join(tempFiles({}), 'new', 'scores');
    const first = await teacher({ cache });
    const later = await teacher({ cache });
    const { scores } = await first.scores(prompts, compute);
    const scored = vi.spyOn(Program.prototype, 'run');
    try {
      // Opened before anything was written, and after.
      for (const other of [later, await teacher({ cache }), await teacher({ cache, score: 'sum' })]) {
        const found = await other.scores(prompts, compute);
        expect(found.read).toBe(0);
        expect([...found.promptTokens]).toEqual([...(await first.scores(prompts, compute)).promptTokens]);
      }
      expect([...(await later.scores(prompts, compute)).scores]).toEqual([...scores]);
      expect(scored).not.toHaveBeenCalled();
      expect((await (await teacher({ cache, maxTokens: 14 })).scores(prompts, compute)).read).toBe(4);
      expect(
        (await (await teacher({ cache, prompt: '{query} {passage} {answer}' })).scores(prompts)).read,
      ).toBe(4);
    } finally {
      scored.mockRestore();
    }
    const other = await LanguageModel.load(FOLDER);
    const [name] = Object.keys(other.weights);
    (other.weights[name!]!.data as Float32Array)[0]! += 1;
    const changed = await LanguageTeacher.create(other, { prompt: PROMPT, cache });
    expect((await changed.scores(prompts, compute)).read).toBe(4);
    await other.dispose();
  });

  it('passes over records that a killed process has cut short, or a disk has damaged', async () => {
    const cache = tempFiles({});
    const { scores } = await (await teacher({ cache })).scores(prompts, compute);
    const [file] = readdirSync(cache).map((name) => join(cache, name));
    truncateSync(file!, statSync(file!).size - 5);
    const cut = await (await teacher({ cache })).scores(prompts, compute);
    expect(cut.read).toBe(1);
    expect([...cut.scores]).toEqual([...scores]);
    appendFileSync(file!, Buffer.alloc(100, 7));
    const damaged = await (await teacher({ cache })).scores(prompts, compute);
    expect(damaged.read).toBe(0);
    expect([...damaged.scores]).toEqual([...scores]);
  });

  it('names what does not fit, and an answer that nothing precedes', async () => {
    const small = await teacher({ maxTokens: 5 });
    await expect(small.scores(prompts, compute)).rejects.toThrow(/where 5 are read: query "who sat\?"/);
    const folder = join(tempFiles({ file: 'x' }), 'file');
    await expect(teacher({ cache: folder })).rejects.toThrow(/file/);
  });

  it('reads prompts with anything before, in or after the passage', async () => {
    for (const prompt of [
      '{query} {passage}{answer}',
      'P: {passage} Q: {query}\\nA:{answer}',
      '{query}{passage} {answer}',
    ]) {
      const { scores, logProbabilities } = await (await teacher({ prompt, score: 'sum' })).scores(
        prompts,
        compute,
      );
      for (const [i, texts] of prompts.entries()) {
        const { ids, from } = new ReaderPrompt(prompt).tokens(model.tokenizer, texts);
        const [wanted] = await model.scoreTokens([{ ids, from }], compute);
        expect(largestDifference(logProbabilities[i]!, wanted!.logProbabilities)).toBeLessThan(1e-5);
        expect(scores[i]).toBeCloseTo(
          logProbabilities[i]!.reduce((a, b) => a + b),
          5,
        );
      }
    }
  });

  it('reads a passage once for all queries of a call', async () => {
    const run = vi.spyOn(Program.prototype, 'run');
    try {
      const many = ['who sat?', 'a dog?', 'on'].flatMap((query) =>
        prompts.slice(0, 2).map((each) => ({ ...each, query })),
      );
      await (await teacher()).scores(many, compute);
      const passes = run.mock.calls.map(([feeds]) => ('past/0/key' in feeds ? 'query' : 'passage'));
      expect(passes.filter((pass) => pass === 'passage').length).toBe(2);
      expect(passes.filter((pass) => pass === 'query').length).toBe(6);
    } finally {
      run.mockRestore();
    }
  });

  it('reports progress in prompts', async () => {
    const seen: number[] = [];
    await (await teacher()).scores(prompts, {
      ...compute,
      onProgress: ({ stage, done, total }) => seen.push(stage === 'reader' && total === 4 ? done : -1),
    });
    expect(seen).toEqual([1, 2, 3, 4]);
  });
});
