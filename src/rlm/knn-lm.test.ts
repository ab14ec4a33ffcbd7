import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import type { TokenState } from '../models/language/decoder.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import { buildDatastore } from './build-datastore.ts';
import { documentSegments } from './evaluate-text.ts';
import { type KnnLmOptions, knnLmSystem } from './knn-lm.ts';
import { plainSystem } from './plain-system.ts';
import { mixLogProbabilities, RecalledTokens } from './recalled-tokens.ts';
import { Recaller } from './recaller.ts';
import { TokenDatastore } from './token-datastore.ts';
import { bestWeights, tuneKnnLm } from './tune-knn-lm.ts';

type Arm = 'base' | 'neighbours' | 'cache' | 'both';
interface Golden {
  documents: string[];
  memory: string[];
  predictions: {
    model: string;
    keys: TokenState;
    k: number;
    temperature: number;
    weight: number;
    cacheScale: number;
    cacheWeight: number;
    values: number[];
    documents: Record<Arm, (number | null)[]>[];
  }[];
}

const golden: Golden = JSON.parse(
  readFileSync(fileURLToPath(new URL('fixtures/knn_lm.json', import.meta.url)), 'utf8'),
);
const WINDOW = { window: 32, stride: 32 };
const compute = { threads: 1 };
const models = new Map<string, LanguageModel>();
beforeAll(async () => {
  for (const name of ['gpt2', 'llama-untied'])
    models.set(name, await LanguageModel.load(`src/models/language/fixtures/causal/${name}`));
});
afterAll(async () => {
  for (const model of models.values()) await model.dispose();
});

async function datastoreOf(
  model: LanguageModel,
  keys?: TokenState,
  texts = golden.memory,
): Promise<TokenDatastore> {
  const folder = join(tempFiles(), 'store');
  const documents = texts.map((text, i) => ({ id: `m${i}`, text }));
  await buildDatastore(model, documents, folder, { ...WINDOW, ...compute, keys });
  return await TokenDatastore.open(folder, { blockRows: 16, ...compute });
}
const segmentsOf = (model: LanguageModel, prefix = 'd') =>
  golden.documents.flatMap(
    (text, i) => documentSegments({ model }, { id: `${prefix}${i}`, text }, WINDOW).segments,
  );
const NONE: KnnLmOptions = { temperature: 1, lambda: 0, cacheTheta: 1, cacheLambda: 0 };

describe('kNN-LM', () => {
  it.each(golden.predictions)(
    'equals a straight implementation with transformers: $model, $keys',
    async (expected) => {
      const model = models.get(expected.model)!;
      const memory = await datastoreOf(model, expected.keys);
      expect([...memory.values]).toEqual(expected.values);
      const {
        temperature,
        weight: lambda,
        cacheScale: cacheTheta,
        cacheWeight: cacheLambda,
        keys,
      } = expected;
      const both = { temperature, lambda, cacheTheta, cacheLambda, neighbours: expected.k, keys };
      const arms: Record<Arm, KnnLmOptions> = {
        base: { ...both, lambda: 0, cacheLambda: 0 },
        neighbours: { ...both, cacheLambda: 0 },
        cache: { ...both, lambda: 0 },
        both,
      };
      for (const [arm, options] of Object.entries(arms) as [Arm, KnnLmOptions][]) {
        const system = knnLmSystem(model, memory, options);
        const scores = await system.score(segmentsOf(model), compute);
        const wanted = expected.documents.map((each) => each[arm]).filter((values) => values.length > 0);
        for (const [i, values] of wanted.entries()) {
          expect(scores[i]).toHaveLength(values.length);
          for (const [t, value] of values.entries())
            if (value !== null) expect(scores[i]![t]).toBeCloseTo(value, 3);
        }
        await system.dispose();
      }
      await memory.dispose();
    },
  );

  it('is the language model to the bit where the weights are 0', async () => {
    const model = models.get('gpt2')!;
    const memory = await datastoreOf(model);
    const segments = segmentsOf(model);
    const system = knnLmSystem(model, memory, NONE);
    expect(await system.score(segments, compute)).toEqual(await plainSystem(model).score(segments, compute));
    expect(system.ledger.totals.searches).toBeUndefined();
    await memory.dispose();
  });

  it('is a distribution: probabilities of all tokens sum to 1', async () => {
    const model = models.get('gpt2')!;
    const memory = await datastoreOf(model);
    const V = model.decoder.vocabSize;
    const context = [...segmentsOf(model).at(-1)!.ids.subarray(0, 9)];
    const segments = Array.from({ length: V }, (_, token) => ({
      ids: Int32Array.from([...context, token]),
      from: 9,
    }));
    for (const weights of [
      { temperature: 0.5, lambda: 0.4, cacheTheta: 0.3, cacheLambda: 0.35 },
      { temperature: 5, lambda: 1, cacheTheta: 1, cacheLambda: 0 },
      { temperature: 1, lambda: 0, cacheTheta: 2, cacheLambda: 1 },
    ]) {
      const system = knnLmSystem(model, memory, { ...weights, neighbours: 5 });
      const scores = await system.score(segments, compute);
      expect(scores.reduce((sum, [score]) => sum + Math.exp(score!), 0)).toBeCloseTo(1, 5);
      await system.dispose();
    }
    await memory.dispose();
  });

  it('is the unigram of the datastore with all neighbours and a high temperature', async () => {
    const model = models.get('gpt2')!;
    const memory = await datastoreOf(model);
    const segments = segmentsOf(model);
    const system = knnLmSystem(model, memory, { ...NONE, temperature: 1e12, lambda: 1, neighbours: 10_000 });
    const scores = await system.score(segments, compute);
    const share = (token: number) => memory.values.filter((value) => value === token).length / memory.size;
    for (const [i, { ids, from }] of segments.entries()) {
      for (const [t, score] of scores[i]!.entries())
        expect(score).toBeCloseTo(Math.log(share(ids[from + t]!)), 5);
    }
    await system.dispose();
    await memory.dispose();
  });

  it('leaves the tokens of its own document out', async () => {
    const model = models.get('gpt2')!;
    const memory = await datastoreOf(model, undefined, golden.documents);
    const system = (prefix: string) => {
      const made = knnLmSystem(model, memory, { ...NONE, temperature: 0.01, lambda: 0.5, neighbours: 1 });
      return made.score(segmentsOf(model, prefix), compute).finally(() => made.dispose());
    };
    const [other, own] = [await system('x'), await system('m')];
    // A token is its own nearest neighbour, but for those of equal contexts, and not where its document is left out.
    const found = (scores: readonly Float32Array[]) =>
      scores.flatMap((each) => [...each]).filter((score) => score > Math.log(0.5) - 1e-3).length;
    expect(found(other)).toBeGreaterThan(50);
    expect(found(own)).toBeLessThan(30);
    await memory.dispose();
  });

  it('reads the context of overlapping windows into the cache', async () => {
    const model = models.get('gpt2')!;
    const [segment] = segmentsOf(model).slice(-1);
    const options = { ...NONE, cacheTheta: 0.5, cacheLambda: 0.3 };
    const system = knnLmSystem(model, undefined, options);
    const [whole] = await system.score([segment!], compute);
    const [end] = await system.score([{ ...segment!, from: 20 }], compute);
    expect(end).toHaveLength(segment!.ids.length - 20);
    for (const [t, score] of end!.entries()) expect(score).toBeCloseTo(whole![19 + t]!, 4);
    await system.dispose();
  });

  it.each([
    [{ lambda: 1.5 }, 'lambda must be from 0 to 1, found 1.5'],
    [{ lambda: 0.7, cacheLambda: 0.5 }, 'cacheLambda must be from 0 to 0.3'],
    [{ lambda: 0.1, temperature: 0 }, 'temperature must be above 0'],
    [{ cacheLambda: 0.1, cacheTheta: 0 }, 'cacheTheta must be above 0'],
    [{ neighbours: 0 }, 'neighbours must be a whole number of at least 1'],
    [{ lambda: 0.1 }, 'there is no datastore'],
  ])('refuses %j', (options, message) => {
    expect(() => knnLmSystem(models.get('gpt2')!, undefined, { ...NONE, ...options })).toThrow(message);
  });
});

describe('mixLogProbabilities', () => {
  it('handles tokens that no memory has, and memories that are empty', () => {
    const base = Float32Array.of(-1, -2, -3);
    const memory = Float64Array.of(Number.NEGATIVE_INFINITY, Number.NaN, Math.log(0.5));
    const mixed = mixLogProbabilities(base, [{ logProbabilities: memory, weight: 0.25 }]);
    expect(mixed[0]).toBeCloseTo(-1 + Math.log(0.75), 6);
    expect(mixed[1]).toBe(-2);
    expect(mixed[2]).toBeCloseTo(Math.log(0.75 * Math.exp(-3) + 0.125), 6);
    // Far below what exp can represent.
    const far = mixLogProbabilities(Float32Array.of(-2000), [
      { logProbabilities: Float64Array.of(-1900), weight: 0.5 },
    ]);
    expect(far[0]).toBeCloseTo(-1900 + Math.log(0.5), 3);
  });
});

describe('tuneKnnLm', () => {
  it('finds the weights that a fine grid finds', () => {
    const n = 400;
    const wave = (a: number, b: number) =>
      Float64Array.from({ length: n }, (_, t) => -2 + a * Math.sin(b * t));
    const [base, near, cache] = [wave(0.8, 1.3), wave(1.5, 0.7), wave(1.1, 2.9)];
    cache[0] = Number.NaN;
    near[3] = Number.NEGATIVE_INFINITY;
    const nats = (a: number, b: number) =>
      -mixLogProbabilities(base, [
        { logProbabilities: near, weight: a },
        { logProbabilities: cache, weight: b },
      ]).reduce((sum, value) => sum + value, 0);
    let best = { a: 0, b: 0, nats: nats(0, 0) };
    for (let a = 0; a <= 1; a += 0.01) {
      for (let b = 0; a + b <= 1; b += 0.01) if (nats(a, b) < best.nats) best = { a, b, nats: nats(a, b) };
    }
    const found = bestWeights(base, [near, cache]);
    expect(found.nats).toBeLessThanOrEqual(best.nats + 1e-3);
    expect(found.weights[0]).toBeCloseTo(best.a, 1);
    expect(found.weights[1]).toBeCloseTo(best.b, 1);
    expect(bestWeights(base, [undefined, undefined]).weights).toEqual([0, 0]);
  });

  it('chooses what scores best, and what the system then gives', async () => {
    const model = models.get('gpt2')!;
    const memory = await datastoreOf(model);
    const segments = segmentsOf(model);
    const recaller = new Recaller(model, { memory, neighbours: 16, cache: true });
    const recalled = [];
    for await (const each of recaller.recall(segments, compute)) recalled.push(each);
    const { best, grid, basePerplexity, tokens } = tuneKnnLm(recalled, { neighbours: [1, 4, 16] });
    expect(grid).toHaveLength(3 * 11 * 11);
    expect(best.perplexity).toBe(Math.min(...grid.map(({ perplexity }) => perplexity)));
    expect(best.perplexity).toBeLessThan(basePerplexity);
    const system = knnLmSystem(model, memory, best);
    const scores = await system.score(segments, compute);
    const nats = -scores.flatMap((each) => [...each]).reduce((sum, score) => sum + score, 0);
    expect(Math.exp(nats / tokens)).toBeCloseTo(best.perplexity, 2);
    for (const each of [system, recaller, memory]) await each.dispose();
  });

  it('gives a useless memory no weight', () => {
    const base = new Float32Array(50).fill(-1);
    const useless = new RecalledTokens(
      Int32Array.from({ length: 51 }, (_, t) => 2 * t),
      new Float32Array(100).map((_, i) => -(i % 2)),
      new Uint8Array(100),
    );
    const { best } = tuneKnnLm([{ base, neighbours: useless }]);
    expect(best.lambda).toBe(0);
    expect(best.perplexity).toBeCloseTo(Math.E, 5);
  });
});
