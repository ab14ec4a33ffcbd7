import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRetriever } from '../models/retriever/create-retriever.ts';
import { TokenStates } from '../models/retriever/token-states.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { trainVocabulary } from '../text/train-vocabulary.ts';
import { type FillOptions, PhraseIndex } from './npm.ts';

const DOCUMENTS = [
  { id: 'a', text: 'the red fox saw a blue bird near the old oak and the red fox went home unexpectedly' },
  { id: 'empty', text: '' },
  { id: 'b', text: 'a blue bird saw the red fox under the old oak while a cold wind came' },
  { id: 'c', text: 'nobody else came near the old oak because the cold wind blew hard' },
];
const TEXT = 'the fox near the [MASK] saw a bird';
const tokenizer = Tokenizer.fromJson(
  trainVocabulary(
    DOCUMENTS.map(({ text }) => text),
    { model: 'wordpiece', vocabSize: 90 },
  ),
);
const model = (towers: 'shared' | 'separate' = 'shared') =>
  createRetriever({
    ...{ kind: 'transformer', tokenizer, hidden: 16, layers: 2, heads: 2, seed: 4, towers },
    ...{ maxDocTokens: 16, maxQueryTokens: 16 },
  });
const retriever = model();
/** Room of a piece beside its two special tokens. */
const ROOM = 14;

/** Pieces of the documents: each ends before a word. */
const pieces = DOCUMENTS.flatMap(({ id, text }) => {
  const ids = [...tokenizer.encodeRaw(text)];
  const found: { id: string; first: number; ids: number[] }[] = [];
  for (let start = 0, end = 0; start < ids.length; start = end) {
    end = Math.min(start + ROOM, ids.length);
    while (end < ids.length && tokenizer.decode([ids[end]!]).startsWith('##')) end -= 1;
    found.push({ id, first: start, ids: ids.slice(start, end) });
  }
  return found;
});
const isWordStart = (id: number | undefined) => id === undefined || !tokenizer.decode([id]).startsWith('##');

/** All phrases by the definition: states, both softmaxes, and every run of whole words. */
async function bruteForce(exclude: string | undefined, options: FillOptions) {
  const { temperature = 1, lengthPower = 0, mostTokens = 10, k = Number.POSITIVE_INFINITY } = options;
  const { before, after } = tokenizer.wrapper;
  const mask = tokenizer.specialIds.mask!;
  const states = await TokenStates.compile(retriever, { threads: 1 });
  const one = async (ids: readonly number[]) => (await states.encode([[...before, ...ids, ...after]]))[0]!;
  const masked = [...tokenizer.encodeRaw(TEXT)].flatMap((id) => (id === mask ? [id, id] : [id]));
  const query = await one(masked);
  const at = masked.indexOf(mask) + before.length;
  const D = states.dimension;
  const dot = (a: ArrayLike<number>, b: ArrayLike<number>) =>
    Array.from(a).reduce((sum, value, i) => sum + value * b[i]!, 0);
  const kept = pieces.filter(({ id }) => id !== exclude);
  const keys = await Promise.all(kept.map(({ ids }) => one(ids)));
  const probabilities = [0, 1].map((side) => {
    const q = query.subarray((at + side) * D, (at + side + 1) * D);
    const scores = kept.map(({ ids }, p) =>
      ids.map((_, i) => {
        const row = (before.length + i) * D;
        return dot(q, keys[p]!.subarray(row, row + D)) / (Math.sqrt(D) * temperature);
      }),
    );
    const least = scores.flat().sort((a, b) => b - a)[Math.min(k, scores.flat().length) - 1]!;
    const weights = scores.map((each) => each.map((score) => (score >= least ? Math.exp(score) : 0)));
    const total = weights.flat().reduce((sum, weight) => sum + weight, 0);
    return weights.map((each) => each.map((weight) => weight / total));
  });
  await states.dispose();
  const phrases = new Map<string, number>();
  for (const document of new Set(kept.map(({ id }) => id))) {
    const own = [...kept.keys()].filter((p) => kept[p]!.id === document);
    const ids = own.flatMap((p) => kept[p]!.ids);
    const [starts, ends] = probabilities.map((side) => own.flatMap((p) => side[p]!)) as [number[], number[]];
    for (let start = 0; start < ids.length; start++)
      for (let length = 1; length <= mostTokens && start + length <= ids.length; length++) {
        const [first, last] = [starts[start]!, ends[start + length - 1]!];
        if (!isWordStart(ids[start]) || !isWordStart(ids[start + length]) || first + last === 0) continue;
        const text = ids.slice(start, start + length).join(' ');
        phrases.set(text, (phrases.get(text) ?? 0) + (first + last) * length ** lengthPower);
      }
  }
  return phrases;
}

describe('PhraseIndex', () => {
  let index: PhraseIndex;
  beforeAll(async () => {
    index = await PhraseIndex.build(retriever, DOCUMENTS, { threads: 1 });
  });
  afterAll(async () => await index.dispose());

  it.each<FillOptions>([
    {},
    { temperature: 3, lengthPower: 0.5 },
    { k: 5, mostTokens: 3 },
    { k: 1 },
    { exclude: 'b', lengthPower: 1 },
    { exclude: 'empty' },
  ])('%j: finds and scores the phrases as their definition says', async (options) => {
    const wanted = await bruteForce(options.exclude, options);
    const found = await index.fill(TEXT, { ...options, count: 1000 });
    expect(found.length).toBe(wanted.size);
    for (const { tokens, score } of found) expect(score).toBeCloseTo(wanted.get(tokens.join(' '))!, 5);
    for (const [i, { score }] of found.entries())
      if (i > 0) expect(score).toBeLessThanOrEqual(found[i - 1]!.score);
    expect(await index.fill(TEXT, { ...options, count: 3 })).toEqual(found.slice(0, 3));
    if (options.exclude) expect(found.some(({ best }) => best.document === options.exclude)).toBe(false);
  });

  it('says where a phrase stands, and how often it was found', async () => {
    const found = await index.fill(TEXT, { count: 1000 });
    const oak = found.find(({ phrase }) => phrase === 'old oak')!;
    expect(oak.occurrences).toBe(3);
    for (const { phrase, tokens, best } of found) {
      const { text } = DOCUMENTS.find(({ id }) => id === best.document)!;
      expect(text).toContain(phrase);
      const own = [...tokenizer.encodeRaw(text)].slice(best.token, best.token + tokens.length);
      expect(own).toEqual(tokens);
    }
    expect(index.size).toBe(pieces.reduce((sum, { ids }) => sum + ids.length, 0));
  });

  it('finds phrases across the cut between two pieces of a document, and none across documents', async () => {
    const found = new Set((await index.fill(TEXT, { count: 10_000 })).map(({ tokens }) => tokens.join(' ')));
    const acrossPieces = pieces.flatMap((piece, p) => {
      const next = pieces[p + 1];
      if (!next) return [];
      const text = [...piece.ids.slice(-1), ...next.ids.slice(0, 1)].join(' ');
      return [
        { text, isSame: next.id === piece.id && isWordStart(piece.ids.at(-1)) && isWordStart(next.ids[1]) },
      ];
    });
    expect(acrossPieces.some(({ isSame }) => isSame)).toBe(true);
    for (const { text, isSame } of acrossPieces) if (isSame) expect(found.has(text)).toBe(true);
    const whole = DOCUMENTS.map(({ text }) => [...tokenizer.encodeRaw(text)].join(' '));
    for (const phrase of found) expect(whole.some((ids) => ` ${ids} `.includes(` ${phrase} `))).toBe(true);
  });

  it('fills spans as it fills a text with a mask, where each document is a piece', async () => {
    const one = await PhraseIndex.build(
      retriever,
      DOCUMENTS.map(({ id, text }) => ({ id, text: text.split(' ').slice(0, 5).join(' ') })),
      { threads: 1 },
    );
    try {
      const spans = one.documentPieces().map(([piece]) => ({ piece: piece!, start: 1, length: 2 }));
      const filled = await one.fillSpans(spans, { temperature: 2 });
      for (const [i, span] of spans.entries()) {
        const own = [...one.pieceTokens(span.piece)];
        const { document, tokens } = one.at(span);
        expect([...tokens]).toEqual(own.slice(1, 3));
        own.splice(1, 2, tokenizer.specialIds.mask!);
        const text = tokenizer.decode(own, { skipSpecialTokens: false });
        const [best] = await one.fill(text, { temperature: 2, exclude: document, count: 1 });
        expect(filled[i]!.best).toEqual(best!.tokens);
        expect([...filled[i]!.starts].some((row) => row >= span.piece.start && row < span.piece.end)).toBe(
          false,
        );
      }
    } finally {
      await one.dispose();
    }
  });

  it.each<[string, FillOptions, RegExp]>([
    ['no mask here', {}, /the text has no \[MASK\] to fill/],
    ['a [MASK] and a [MASK]', {}, /the text has 2 times \[MASK\]/],
    [`${'the old oak '.repeat(6)}[MASK]`, {}, /read in pieces of 16[\s\S]*longer window/],
    [TEXT, { exclude: 'z' }, /no document "z"/],
    [TEXT, { topK: 3 } as never, /unknown option "topK"/],
    [TEXT, { k: 0 }, /k should be /],
    [TEXT, { temperature: 0 }, /temperature should be /],
    [TEXT, { lengthPower: -1 }, /lengthPower should be /],
  ])('refuses %j with %j', async (text, options, message) => {
    await expect(index.fill(text, options)).rejects.toThrow(message);
  });
});

it('refuses models that are no masked encoders, and documents without tokens', async () => {
  const build = (other: ReturnType<typeof model>, documents = DOCUMENTS, window?: number) =>
    PhraseIndex.build(other, documents, { threads: 1, window });
  await expect(build(model('separate'))).rejects.toThrow('an encoder for queries and another one');
  await expect(build(retriever, [DOCUMENTS[1]!])).rejects.toThrow('no tokens to find');
  await expect(build(retriever, DOCUMENTS, 17)).rejects.toThrow('the model reads 16 tokens');
  await expect(build(retriever, DOCUMENTS, 2)).rejects.toThrow('window must be a whole number of at least 3');
  const bpe = Tokenizer.fromJson(
    trainVocabulary(['some words to learn'], { model: 'bpe', purpose: 'decoder', vocabSize: 260 }),
  );
  const options = { tokenizer: bpe, hidden: 8, heads: 1, maxDocTokens: 8, maxQueryTokens: 8 };
  await expect(build(createRetriever({ ...options, kind: 'transformer' }))).rejects.toThrow(
    'no token for a mask',
  );
  const projected = { ...options, tokenizer, projectionSize: 4 };
  await expect(build(createRetriever({ ...projected, kind: 'transformer' }))).rejects.toThrow('dense layers');
  await expect(
    build(createRetriever({ kind: 'static', tokenizer, hidden: 8, maxDocTokens: 8 })),
  ).rejects.toThrow('no vectors of tokens');
});
