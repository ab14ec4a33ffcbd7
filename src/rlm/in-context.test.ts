import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CrossEncoder } from '../models/cross-encoder/cross-encoder.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import { type InContextOptions, inContextSystem } from './in-context.ts';
import type { LanguageSystem, Segment } from './language-system.ts';
import type { PassageQuery } from './leak-filter.ts';
import type { PassageSource } from './passage-source.ts';
import { goldSource } from './passage-source.ts';
import type { Passages } from './passages.ts';
import { logEnsembleWeights, replugSystem } from './replug.ts';
import { rerankerLists } from './reranker-lists.ts';
import { crossEncoderReranker } from './rerankers.ts';

interface Golden {
  folder: string;
  settings: Required<Pick<InContextOptions, 'retrievalStride' | 'passageTokens'>>;
  prefixTokens: number;
  temperature: number;
  passages: string[];
  segments: (Omit<Segment, 'ids'> & {
    ids: number[];
    stretches: { query: string; target: string; rows: number[]; scores: number[] }[];
  } & Record<Arm, number[]>)[];
}
type Arm = 'none' | 'first' | 'logProbability' | 'oracle' | 'replug';

const golden: Golden = JSON.parse(
  readFileSync(fileURLToPath(new URL('fixtures/passages_in_front.json', import.meta.url)), 'utf8'),
);
const { settings, passages: texts } = golden;
const passages: Passages = {
  size: texts.length,
  id: (row) => `p${row}`,
  text: (row) => texts[row]!,
  document: (row) => `p${row}`,
};
const segments: Segment[] = golden.segments.map((segment) => ({
  ...segment,
  ids: Int32Array.from(segment.ids),
}));
const known = new Map(
  golden.segments.flatMap(({ stretches }) =>
    stretches.map((stretch) => [`${stretch.query}/${stretch.target}`, stretch] as const),
  ),
);
/** Source that gives the candidates of the reference, best first, and refuses a query that the reference does not make. */
const source: PassageSource = {
  name: 'fixed',
  passages,
  find: async (queries, k) =>
    queries.map(({ text, target }) => {
      const { rows, scores } = known.get(`${text}/${target}`)!;
      return { rows: Int32Array.from(rows.slice(0, k)), scores: Float32Array.from(scores.slice(0, k)) };
    }),
  dispose: async () => {},
};
const empty: PassageSource = {
  ...source,
  find: async (queries) => queries.map(() => ({ rows: new Int32Array(0), scores: new Float32Array(0) })),
};
const compute = { threads: 1 };

let model: LanguageModel;
beforeAll(async () => {
  model = await LanguageModel.load(golden.folder);
});
afterAll(() => model.dispose());

const flat = (scores: readonly Float32Array[]) => scores.flatMap((each) => [...each]);
const score = async (system: LanguageSystem, of = segments) => await system.score(of, compute);

describe('passages in front of the context', () => {
  const arms: Record<Arm, () => LanguageSystem> = {
    none: () => inContextSystem(model, empty, settings),
    first: () => inContextSystem(model, source, settings),
    logProbability: () =>
      inContextSystem(model, source, {
        ...settings,
        candidates: 3,
        reranker: 'log-probability',
        prefixTokens: golden.prefixTokens,
      }),
    oracle: () => inContextSystem(model, source, { ...settings, candidates: 3, reranker: 'oracle' }),
    replug: () =>
      replugSystem(model, source, { ...settings, ensemble: 3, scoreTemperature: golden.temperature }),
  };

  it.each(Object.keys(arms) as Arm[])(
    '%s equals a straight implementation with transformers',
    async (arm) => {
      const scores = await score(arms[arm]());
      for (const [i, expected] of golden.segments.entries()) {
        expect(scores[i]).toHaveLength(expected[arm].length);
        for (const [t, value] of expected[arm].entries()) expect(scores[i]![t]).toBeCloseTo(value, 4);
      }
    },
  );

  it('is the language model alone, to the bit, where no passage is found', async () => {
    const alone = await model.scoreTokens(segments, compute);
    const none = await score(inContextSystem(model, empty, { retrievalStride: 100 }));
    expect(none).toEqual(alone.map(({ logProbabilities }) => logProbabilities));
  });

  it('REPLUG with one passage is in-context RALM', async () => {
    const one = replugSystem(model, source, { ...settings, ensemble: 1 });
    expect(flat(await score(one))).toEqual(flat(await score(arms.first())));
  });

  it('weights passages by a softmax that sums to 1', () => {
    const weights = [...logEnsembleWeights([3, 1, 1000], 0.5)].map(Math.exp);
    expect(weights.reduce((a, b) => a + b)).toBeCloseTo(1, 12);
    expect([...logEnsembleWeights([2, 2], 0.1)]).toEqual([Math.log(0.5), Math.log(0.5)]);
  });

  it('the oracle is at least as good as every candidate', async () => {
    const sum = (scores: readonly Float32Array[]) => flat(scores).reduce((a, b) => a + b);
    const oracle = sum(await score(arms.oracle()));
    for (const arm of ['first', 'logProbability'] as const) {
      expect(oracle).toBeGreaterThanOrEqual(sum(await score(arms[arm]())));
    }
  });

  it('a cross-encoder chooses by the text that is searched with', async () => {
    const asked: (readonly [string, string])[] = [];
    // Prefers the second of three candidates, whose scores lie side by side.
    const encoder = {
      async scoreTexts(pairs: readonly (readonly [string, string])[]) {
        asked.push(...pairs);
        return Float32Array.from(pairs, (_, i) => (i % 3 === 1 ? 5 : 0));
      },
    } as unknown as CrossEncoder;
    const reranker = crossEncoderReranker(encoder, passages);
    const system = inContextSystem(model, source, { ...settings, candidates: 3, reranker });
    const [reading] = await system.read!([segments[3]!], compute);
    const { rows, query } = golden.segments[3]!.stretches[0]!;
    expect([...reading!.rows]).toEqual([rows[1]]);
    expect(asked).toEqual(rows.map((row) => [query, texts[row]]));
    expect(system.ledger.totals.rerankPairs).toBe(3);
  });

  it('lists for training a reranker hold what each passage is worth', async () => {
    const lists = [];
    const options = { ...settings, candidates: 3, ...compute };
    for await (const list of rerankerLists(model, source, segments, options)) lists.push(list);
    const stretches = golden.segments.flatMap((segment) => segment.stretches);
    expect(lists.map(({ query }) => query)).toEqual(stretches.map(({ query }) => query));
    const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
    // A question is one stretch, of which the oracle's choice is known.
    const last = lists.at(-1)!;
    expect(last.scores[0]).toBeCloseTo(sum(golden.segments.at(-1)!.oracle), 3);
    for (const { positive, negative, scores } of lists) {
      expect(scores).toHaveLength(3);
      expect(Math.max(...scores)).toBe(scores[0]);
      expect(new Set([positive, ...negative]).size).toBe(3);
    }
  });

  it('counts what is read and searched', async () => {
    const system = arms.logProbability();
    await score(system, segments.slice(0, 1));
    // 16 tokens in 4 stretches; each reads 3 candidates without the target, then one with it, 24 tokens at most.
    const { searches, forwardPasses, readTokens } = system.ledger.totals;
    expect([searches, forwardPasses]).toEqual([4, 16]);
    expect(readTokens).toBeGreaterThan(16 * 8);
    expect(readTokens).toBeLessThanOrEqual(16 * 24);
  });

  it('reads the passage with the answer, and nothing where it is unknown', async () => {
    const system = inContextSystem(model, goldSource(passages), settings);
    const question = { ...segments[3]!, gold: 5 };
    const [known, unknown] = await system.read!([question, { ...question, gold: undefined }], compute);
    expect([...known!.rows]).toEqual([5]);
    expect(model.tokenizer.decode(known!.sequences[0]!)).toContain(`Q${texts[5]!.slice(0, 2)}`);
    expect([...unknown!.rows]).toEqual([]);
    expect([...unknown!.sequences[0]!]).toEqual([...question.ids.subarray(0, 7)]);
  });

  it('reads two sequences of an ensemble, with their weights', async () => {
    const system = replugSystem(model, source, { ...settings, ensemble: 2, scoreTemperature: 1 });
    const [reading] = await system.read!([segments[3]!], compute);
    const { scores } = golden.segments[3]!.stretches[0]!;
    expect(reading!.sequences).toHaveLength(2);
    expect([...reading!.logWeights]).toEqual([
      ...logEnsembleWeights(Float32Array.from(scores.slice(0, 2)), 1),
    ]);
  });

  it('gives the leak filter document and target, never as text to search with', async () => {
    const seen: PassageQuery[] = [];
    const watching = {
      ...source,
      find: async (queries: readonly PassageQuery[], k: number) => {
        seen.push(...queries);
        return await source.find(queries, k);
      },
    };
    await score(inContextSystem(model, watching, settings), [{ ...segments[0]!, document: 'd' }]);
    expect(seen.map(({ document }) => document)).toEqual(['d', 'd', 'd', 'd']);
    expect(seen.map(({ target }) => target)).toEqual(
      golden.segments[0]!.stretches.map(({ target }) => target),
    );
  });

  it.each([
    [{ retrievalStride: 0 }, 'retrievalStride should be a whole number of at least 1, found 0'],
    [{ queryTokens: 1.5 }, 'queryTokens should be a whole number of at least 1, found 1.5'],
    [{ contextTokens: -1 }, 'contextTokens should be a whole number of at least 0, found -1'],
    [{ passageFormat: 'no place' }, 'passageFormat must contain {passage} once'],
    [
      { reranker: 'log-probability' as const, prefixTokens: 0 },
      'prefixTokens should be a whole number of at least 1',
    ],
  ])('refuses %j', (options, message) => {
    expect(() => inContextSystem(model, source, options)).toThrow(message);
  });

  it('refuses a temperature of 0', () => {
    expect(() => replugSystem(model, source, { scoreTemperature: 0 })).toThrow(
      'scoreTemperature should be a number above 0, found 0',
    );
  });
});
