import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import { buildDatastore } from './build-datastore.ts';
import { documentSegments, evaluateText } from './evaluate-text.ts';
import type { Segment } from './language-system.ts';
import { PastTokens } from './past-tokens.ts';
import { plainSystem } from './plain-system.ts';
import type { SystemContext } from './system-spec.ts';
import { TokenDatastore } from './token-datastore.ts';
import { type TrimeOptions, trimeRecaller, trimeSystem } from './trime.ts';
import { trime } from './trime-spec.ts';
import { tuneTrime } from './tune-trime.ts';

const golden: { documents: string[]; memory: string[] } = JSON.parse(
  readFileSync(fileURLToPath(new URL('fixtures/knn_lm.json', import.meta.url)), 'utf8'),
);
const WINDOW = { window: 16, stride: 16 };
const compute = { threads: 1 };
const PLAIN: TrimeOptions = { temperature: 1, externalTemperature: 1, lambda: 0 };
let model: LanguageModel;
let memory: TokenDatastore;
let folder: string;
beforeAll(async () => {
  model = await LanguageModel.load('src/models/language/fixtures/causal/gpt2');
  folder = join(tempFiles(), 'store');
  const documents = golden.memory.map((text, i) => ({ id: `m${i}`, text }));
  await buildDatastore(model, documents, folder, { ...WINDOW, ...compute });
  memory = await TokenDatastore.open(folder, { blockRows: 16, ...compute });
});
afterAll(async () => {
  await memory.dispose();
  await model.dispose();
});

/** A document of several windows. */
const text = () => golden.documents.join(' ');
const segmentsOf = (id = 'd', windows = WINDOW) =>
  documentSegments({ model }, { id, text: text() }, windows).segments;

async function scoresOf(segments: readonly Segment[], options: TrimeOptions, store?: TokenDatastore) {
  const system = trimeSystem(model, store, options);
  const scores = await system.score(segments, compute);
  await system.dispose();
  return scores;
}

/** Straight form of the probabilities, from states and logits of whole windows. */
async function straight(segments: readonly Segment[], options: TrimeOptions, store?: TokenDatastore) {
  const { local = true, longTokens = 0, externalInside = true, neighbours: k = 1024 } = options;
  const D = model.decoder.hiddenSize;
  const read = await model.scoreTokens(
    segments.map(({ ids }) => ({ ids, from: 1 })),
    { ...compute, keys: 'feed-forward-input', targetScores: true },
  );
  const product = (a: ArrayLike<number>, b: ArrayLike<number>) => {
    let sum = 0;
    for (let d = 0; d < D; d++) sum += a[d]! * b[d]!;
    return sum / Math.sqrt(D);
  };
  const state = (s: number, row: number) => read[s]!.keys!.subarray(row * D, (row + 1) * D);
  const results: number[][] = [];
  for (const [s, { ids, document, start }] of segments.entries()) {
    const own: number[] = [];
    for (let row = 0; row < ids.length - 1; row++) {
      const g = state(s, row);
      const remembered: { token: number; score: number }[] = [];
      if (longTokens > 0) {
        const past = segments.slice(0, s).flatMap((each, other) =>
          each.document === document
            ? Array.from({ length: each.ids.length - 1 }, (_, i) => ({
                ...{ place: each.start! + i, token: each.ids[i + 1]! },
                score: product(g, state(other, i)),
              }))
            : [],
        );
        // A place that two windows share is remembered as the first of them read it.
        const earlier = past.filter(({ place }) => place < start!).reverse();
        const first = new Map(earlier.map((each) => [each.place, each]));
        remembered.push(...[...first.values()].sort((a, b) => a.place - b.place).slice(-longTokens));
      }
      for (let j = 0; local && j < row; j++)
        remembered.push({ token: ids[j + 1]!, score: product(g, state(s, j)) });
      const near: { token: number; score: number }[] = [];
      if (store) {
        const found = await store.search(g.slice(), k, { by: 'product' });
        for (const [i, each] of found.rows.entries())
          near.push({ token: store.values[each]!, score: found.similarities[i]! / Math.sqrt(D) });
      }
      const target = read[s]!.targetScores![row]!;
      const all = target - read[s]!.logProbabilities[row]!;
      const inside = externalInside ? [...remembered, ...near] : remembered;
      const sum = (list: typeof near, temperature: number) =>
        list.reduce((total, { score }) => total + Math.exp(score / temperature), 0);
      const right = (list: typeof near) => list.filter(({ token }) => token === ids[row + 1]);
      const { temperature, externalTemperature, lambda } = options;
      let p =
        (Math.exp(target) + sum(right(inside), temperature)) / (Math.exp(all) + sum(inside, temperature));
      if (lambda > 0)
        p =
          (1 - lambda) * p +
          (lambda * sum(right(near), externalTemperature)) / sum(near, externalTemperature);
      own.push(Math.log(p));
    }
    results.push(own);
  }
  return results;
}

describe('TRIME', () => {
  it.each<[string, TrimeOptions, boolean]>([
    ['local', { ...PLAIN, temperature: 1.3 }, false],
    ['long', { ...PLAIN, longTokens: 20 }, false],
    ['long alone', { ...PLAIN, longTokens: 500, local: false, temperature: 2 }, false],
    ['external', { ...PLAIN, neighbours: 7, temperature: 0.8 }, true],
    [
      'all, mixed',
      { temperature: 1.1, externalTemperature: 3, lambda: 0.3, longTokens: 30, neighbours: 9 },
      true,
    ],
    [
      'external beside the softmax',
      { temperature: 1.1, externalTemperature: 0.5, lambda: 0.4, neighbours: 9, externalInside: false },
      true,
    ],
  ])('equals a straight computation: %s', async (_, options, hasStore) => {
    const segments = segmentsOf();
    expect(segments.length).toBeGreaterThan(3);
    const store = hasStore ? memory : undefined;
    const scores = await scoresOf(segments, options, store);
    const expected = await straight(segments, options, store);
    for (const [s, values] of expected.entries()) {
      const from = segments[s]!.from - 1;
      for (const [t, value] of values.slice(Math.max(0, from)).entries())
        expect(scores[s]![t]).toBeCloseTo(value, 4);
    }
  });

  it('is the language model to the bit without memory', async () => {
    const segments = segmentsOf();
    const options = { ...PLAIN, local: false };
    const scores = await scoresOf(segments, options);
    expect(scores).toEqual(await plainSystem(model).score(segments, compute));
    // The first token of a window has nothing before it in the window.
    const local = await scoresOf(segments, PLAIN);
    for (const [s, { from }] of segments.entries()) if (from <= 1) expect(local[s]![0]).toBe(scores[s]![0]);
  });

  it('is a distribution: probabilities of all tokens sum to 1', async () => {
    const context = [...segmentsOf()[0]!.ids.subarray(0, 9)];
    const segments = Array.from({ length: model.decoder.vocabSize }, (_, token) => ({
      ids: Int32Array.from([...context, token]),
      from: 9,
    }));
    const options = { temperature: 0.7, externalTemperature: 2, lambda: 0.3, neighbours: 5 };
    const scores = await scoresOf(segments, options, memory);
    expect(scores.reduce((sum, [score]) => sum + Math.exp(score!), 0)).toBeCloseTo(1, 5);
  });

  it('finds no later window, whatever the order, and nothing of another document', async () => {
    const options = { ...PLAIN, longTokens: 1000 };
    const [first, second] = segmentsOf();
    const alone = await scoresOf([first!], options);
    const system = trimeSystem(model, undefined, options);
    const [, , again] = await system.score([first!, second!, first!], compute);
    expect(again).toEqual(alone[0]);
    const other = { ...second!, document: 'other' };
    expect((await system.score([first!, other], compute))[1]).toEqual((await scoresOf([other], options))[0]);
    // Two calls continue one document.
    await system.score([first!], compute);
    const [continued] = await system.score([second!], compute);
    expect(continued).toEqual((await scoresOf([first!, second!], options))[1]);
    await system.dispose();
  });

  it('leaves the tokens of its own document out', async () => {
    const options = { ...PLAIN, neighbours: 1, local: false };
    const id = memory.rowsOf('m0') ? 'm0' : 'm1';
    const own = await scoresOf(segmentsOf(id), options, memory);
    expect(own).not.toEqual(await scoresOf(segmentsOf('d'), options, memory));
  });

  it('reads the same with overlapping windows: what is remembered is remembered once', async () => {
    const overlapping = segmentsOf('d', { window: 16, stride: 8 });
    const options = { ...PLAIN, longTokens: 40 };
    const scores = await scoresOf(overlapping, options);
    const expected = await straight(overlapping, options);
    for (const [s, segment] of overlapping.entries()) {
      for (const [t, score] of scores[s]!.entries())
        expect(score).toBeCloseTo(expected[s]![segment.from - 1 + t]!, 4);
    }
  });

  it.each([
    [{ temperature: 0 }, 'temperature must be above 0'],
    [{ lambda: 2 }, 'lambda must be from 0 to 1'],
    [{ lambda: 0.5 }, 'there is no datastore'],
    [{ longTokens: -1 }, 'longTokens must be a whole number of at least 0'],
    [{ neighbours: 0 }, 'neighbours must be a whole number of at least 1'],
  ])('refuses %j', (options, message) => {
    expect(() => trimeSystem(model, undefined, { ...PLAIN, ...options })).toThrow(message);
  });
});

describe('tuneTrime', () => {
  it('chooses what scores best, and what the system then gives', async () => {
    const segments = segmentsOf();
    const recaller = trimeRecaller(model, memory, { neighbours: 16 });
    const recalled = [];
    for await (const each of recaller.recall(segments, compute)) recalled.push(each);
    const { best, grid, basePerplexity, tokens } = tuneTrime(recalled, {
      dimension: model.decoder.hiddenSize,
    });
    expect(grid).toHaveLength((17 + 6) * 9);
    expect(best.perplexity).toBe(Math.min(...grid.map(({ perplexity }) => perplexity)));
    expect(best.perplexity).toBeLessThan(basePerplexity);
    const scores = await scoresOf(segments, { ...best, neighbours: 16 }, memory);
    const nats = -scores.flatMap((each) => [...each]).reduce((sum, score) => sum + score, 0);
    expect(Math.exp(nats / tokens)).toBeCloseTo(best.perplexity, 2);
    await recaller.dispose();
  });
});

describe('the kind of system', () => {
  const context: SystemContext = { windows: WINDOW, ...compute };
  it('opens with tuned weights over a datastore, and reports them', async () => {
    const dev = tempFiles({ 'dev.jsonl': JSON.stringify({ id: 'x', text: text() }) });
    const options = { datastore: folder, knnK: 8, longTokens: 16, tuneData: join(dev, 'dev.jsonl') };
    const system = await trime.open(model, options, context);
    expect(system.settings).toMatchObject({
      ...{ neighbours: 8, longTokens: 16, local: true, externalInside: true },
      tuning: { tokens: expect.any(Number) },
      temperature: expect.any(Number),
    });
    const documents = [{ id: 'd', text: text() }];
    const found = await evaluateText(system, documents, { ...WINDOW, ...compute });
    const { best } = (system.settings as { tuning: ReturnType<typeof tuneTrime> }).tuning;
    expect(found.perplexity).toBeCloseTo(best.perplexity, 2);
    await system.dispose();
  });

  it.each([
    [{ externalLambda: 0.2 }, /externalLambda has no meaning without datastore/],
    [{ tuneData: 'dev.jsonl', memoryTemperature: 1 }, /memoryTemperature has no meaning with tuneData/],
    [{ localMemory: false }, /there is no memory/],
    [{ externalInside: false }, /externalInside.* has no meaning without datastore/],
    [{ knnK: 5 }, /knnK has no meaning without datastore/],
    [{ datastoreShare: 0.5 }, /datastoreShare has no meaning without datastore/],
    [{ tuneTokens: 10 }, /tuneTokens has no meaning without tuneData/],
    [
      { datastore: 'store', externalTemperature: 2 },
      /externalTemperature has no meaning unless externalLambda/,
    ],
    [{ datastore: 'store', externalInside: false }, /leaves the datastore unread/],
    [
      {
        ...{ datastore: 'store', localMemory: false, externalInside: false },
        ...{ externalLambda: 0.2, memoryTemperature: 2 },
      },
      /memoryTemperature has no meaning with .*: the softmax has no memory/,
    ],
  ])('refuses %j', async (options, message) => {
    await expect(trime.open(model, options, context)).rejects.toThrow(message);
  });
});

describe('past tokens', () => {
  it('are the last ones before a segment, each once', () => {
    const past = new PastTokens(5, 1);
    const segment = (start: number, n: number): Segment => ({
      ids: Int32Array.from({ length: n }, (_, i) => start + i),
      ...{ from: 1, document: 'd', start },
    });
    const visit = (start: number, n: number) => {
      const own = segment(start, n);
      const found = past.before(own);
      past.add(
        own,
        Float32Array.from({ length: n - 1 }, (_, i) => start + i),
      );
      // The key of place p is p, and its token p + 1.
      expect([...found.tokens]).toEqual([...found.keys].map((place) => place + 1));
      return [...found.keys];
    };
    expect(visit(0, 4)).toEqual([]);
    // Places 0, 1, 2 are known. The last place of a window predicts a token of the next, and is in neither.
    expect(visit(4, 4)).toEqual([0, 1, 2]);
    expect(visit(6, 4)).toEqual([0, 1, 2, 4, 5]);
    expect(visit(8, 4)).toEqual([2, 4, 5, 6, 7]);
    expect(visit(0, 4)).toEqual([]);
  });
});
