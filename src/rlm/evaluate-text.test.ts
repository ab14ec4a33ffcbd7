import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LanguageModel } from '../models/language/language-model.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { countScoredTokens, documentSegments, evaluateText } from './evaluate-text.ts';
import { knnLmSystem } from './knn-lm.ts';
import { plainSystem } from './plain-system.ts';

interface Golden {
  documents: string[];
  evaluations: {
    model: string;
    window: number;
    stride: number;
    documents: { nats: number; tokens: number }[];
  }[];
}

const golden: Golden = JSON.parse(
  readFileSync(fileURLToPath(new URL('fixtures/knn_lm.json', import.meta.url)), 'utf8'),
);
const documents = golden.documents.map((text, i) => ({ id: `d${i}`, text }));
const models = new Map<string, LanguageModel>();
beforeAll(async () => {
  for (const name of ['gpt2', 'llama-untied'])
    models.set(name, await LanguageModel.load(`src/models/language/fixtures/causal/${name}`));
});
afterAll(async () => {
  for (const model of models.values()) await model.dispose();
});
const compute = { threads: 1 };

describe('evaluateText', () => {
  it.each(golden.evaluations)(
    'equals transformers: $model, window $window, stride $stride',
    async (expected) => {
      const system = plainSystem(models.get(expected.model)!);
      const { window, stride } = expected;
      const progress: number[] = [];
      const found = await evaluateText(system, documents, {
        ...{ window, stride, ...compute },
        onProgress: ({ done }) => progress.push(done),
      });
      const sum = (of: 'nats' | 'tokens') => expected.documents.reduce((total, each) => total + each[of], 0);
      expect(found.tokens).toBe(sum('tokens'));
      expect(found.perplexity).toBeCloseTo(Math.exp(sum('nats') / sum('tokens')), 3);
      expect(progress.at(-1)).toBe(found.tokens);
      expect(await countScoredTokens(system, documents, { window, stride })).toBe(found.tokens);
      for (const [i, { nats, tokens }] of expected.documents.entries()) {
        const own = found.documents.find(({ id }) => id === `d${i}`);
        expect(own?.tokens ?? 0).toBe(tokens);
        expect(own?.nats ?? 0).toBeCloseTo(nats, 3);
      }
    },
  );

  it('tells progress within a group of tokens that are scored together', async () => {
    const model = models.get('llama-untied')!;
    const long = [{ id: 'long', text: 'abcdefghij'.repeat(500) }];
    const cache = { lambda: 0, temperature: 1, cacheTheta: 0.1, cacheLambda: 0.1 };
    for (const system of [plainSystem(model), knnLmSystem(model, undefined, cache)]) {
      const progress: number[] = [];
      const { tokens } = await evaluateText(system, long, {
        ...{ window: 32, stride: 32, ...compute },
        onProgress: ({ done }) => progress.push(done),
      });
      expect(tokens).toBeGreaterThan(4096);
      expect(
        progress.findIndex((done) => done >= 4096),
        system.name,
      ).toBeGreaterThan(1);
      expect(progress).toEqual([...progress].sort((a, b) => a - b));
      expect(progress.at(-1)).toBe(tokens);
      await system.dispose();
    }
  });

  it('counts words and bytes of the text that is scored', async () => {
    const system = plainSystem(models.get('llama-untied')!);
    const found = await evaluateText(system, documents, { window: 12, stride: 6, ...compute });
    const texts = golden.documents.join('');
    expect(found).toMatchObject({ bytes: texts.length, words: golden.documents.length });
    expect(found.bitsPerByte).toBeCloseTo(found.nats / Math.LN2 / texts.length, 10);
    expect(found.wordPerplexity).toBeCloseTo(Math.exp(found.nats / golden.documents.length), 3);
    // A token is a letter here, and the first of each further window is not scored.
    const apart = await evaluateText(system, documents, { window: 8, stride: 8, ...compute });
    expect(apart.bytes).toBe(apart.tokens);
  });

  it.each([1, 9, 20, 58, 59, 1000])('scores the first tokens only: limit %i', async (limitTokens) => {
    const system = plainSystem(models.get('gpt2')!);
    const all = await evaluateText(system, documents, { window: 12, stride: 6, ...compute });
    const some = await evaluateText(system, documents, { window: 12, stride: 6, limitTokens, ...compute });
    expect(some.tokens).toBe(Math.min(limitTokens, all.tokens));
    expect(some.bytes).toBe(some.tokens);
    const shared = some.documents.slice(0, -1);
    expect(shared.map(({ id, tokens }) => ({ id, tokens }))).toEqual(
      all.documents.slice(0, shared.length).map(({ id, tokens }) => ({ id, tokens })),
    );
    expect(some.nats).toBeLessThanOrEqual(all.nats + 1e-6);
  });

  it('never scores what every text begins with, and without it not the first token', () => {
    const model = models.get('gpt2')!;
    const json = structuredClone(model.tokenizer.toJson());
    const plain = Tokenizer.fromJson({ ...json, post_processor: null });
    const cut = (tokenizer: Tokenizer, text: string) => {
      const { segments, scored } = documentSegments(
        { model: { tokenizer } as unknown as LanguageModel },
        { id: 'd', text },
        { window: 4, stride: 2 },
      );
      return { from: segments.map(({ from }) => from), scored, read: segments.map(({ ids }) => ids.length) };
    };
    expect(model.tokenizer.wrapper.before).toHaveLength(1);
    expect(cut(model.tokenizer, 'abcdef')).toEqual({ from: [1, 2, 2], scored: 'abcdef', read: [4, 4, 3] });
    expect(cut(plain, 'abcdef')).toEqual({ from: [1, 2], scored: 'bcdef', read: [4, 4] });
    expect(cut(plain, 'a')).toEqual({ from: [], scored: '', read: [] });
  });

  it('leaves documents without a token to score out, and refuses text without any', async () => {
    const system = plainSystem(models.get('gpt2')!);
    const notes: string[] = [];
    const found = await evaluateText(system, [{ id: 'empty', text: '' }, ...documents], {
      ...compute,
      window: 16,
      onNote: (note) => notes.push(note),
    });
    expect(found.documents.map(({ id }) => id)).not.toContain('empty');
    expect(notes).toEqual([expect.stringContaining('have none to score: empty')]);
    await expect(evaluateText(system, [{ id: 'empty', text: '' }])).rejects.toThrow('has no token to score');
    await expect(evaluateText(system, documents, { window: 8, stride: 9 })).rejects.toThrow(
      'stride: 9 is more',
    );
  });
});
