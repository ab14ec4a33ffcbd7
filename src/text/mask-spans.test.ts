import { describe, expect, it } from 'vitest';
import { randomInts, rngKey } from '../util/rng.ts';
import { drawSpans, MASKED_SHARE, maskableShare, maskSpans } from './mask-spans.ts';
import { SharedPhrases, type SharedSpan } from './shared-phrases.ts';
import { Tokenizer } from './tokenizer.ts';
import { trainVocabulary } from './train-vocabulary.ts';
import { wordContinuations } from './word-continuations.ts';

const WHOLE = new Uint8Array(100);
const randomSequences = (count: number, length: number, words: number, step = 0) =>
  Array.from({ length: count }, (_, s) => {
    const drawn = new Int32Array(length);
    randomInts(rngKey(7, step * count + s, 'sequences'), words, drawn);
    return drawn;
  });
const textOf = (sequence: ArrayLike<number>, { start, length }: { start: number; length: number }) =>
  Array.from({ length }, (_, i) => sequence[start + i]).join(' ');
/** Occurrences in other sequences, by comparing every place. */
const bruteForce = (sequences: readonly Int32Array[], span: SharedSpan): SharedSpan[] =>
  sequences.flatMap((each, sequence) =>
    sequence === span.sequence
      ? []
      : Array.from({ length: Math.max(0, each.length - span.length + 1) }, (_, start) => ({
          ...{ sequence, start },
          length: span.length,
        })).filter((other) => textOf(each, other) === textOf(sequences[span.sequence]!, span)),
  );

describe('SharedPhrases', () => {
  it('finds the occurrences of each phrase in other sequences, and none of phrases of one sequence', () => {
    const sequences = [...randomSequences(4, 25, 5), Int32Array.of(1, 2), new Int32Array(0)];
    const phrases = new SharedPhrases(sequences, { mostTokens: 4 });
    let found = 0;
    for (const [sequence, { length: tokens }] of sequences.entries())
      for (let length = 1; length <= 4; length++)
        for (let start = 0; start + length <= tokens; start++) {
          const span = { sequence, start, length };
          const wanted = bruteForce(sequences, span);
          expect(phrases.occurrences(span)).toEqual(wanted);
          expect(phrases.phrase(span) >= 0).toBe(wanted.length > 0);
          found += wanted.length;
        }
    expect(found).toBeGreaterThan(1000);
    expect(phrases.occurrences({ sequence: 0, start: 0, length: 5 })).toEqual([]);
  });

  it('has no phrase with an excluded token', () => {
    const phrases = new SharedPhrases([Int32Array.of(3, 0, 4), Int32Array.of(3, 0, 4)], {
      excluded: new Set([0]),
    });
    const numbers = [0, 1, 2].map((start) => phrases.phrase({ sequence: 0, start, length: 1 }));
    expect(numbers.map((each) => each >= 0)).toEqual([true, false, true]);
    expect(phrases.phrase({ sequence: 0, start: 0, length: 2 })).toBe(-1);
  });
});

describe('drawSpans', () => {
  it('masks at most 15 % in spans that do not touch, that another sequence has, and at most ten times', () => {
    for (let step = 0; step < 20; step++) {
      const sequences = randomSequences(4, 60, 8, step);
      const phrases = new SharedPhrases(sequences);
      const spans = drawSpans(phrases, WHOLE, rngKey(1, step, 'masks'));
      const uses = new Map<string, number>();
      for (const [i, span] of spans.entries()) {
        expect(bruteForce(sequences, span)).not.toEqual([]);
        const text = textOf(sequences[span.sequence]!, span);
        uses.set(text, (uses.get(text) ?? 0) + 1);
        const before = spans[i - 1];
        if (before?.sequence === span.sequence)
          expect(span.start).toBeGreaterThan(before.start + before.length);
      }
      expect(Math.max(...uses.values())).toBeLessThanOrEqual(10);
      for (const s of sequences.keys()) {
        const masked = spans.filter((each) => each.sequence === s).reduce((n, each) => n + each.length, 0);
        expect(masked).toBeLessThanOrEqual(MASKED_SHARE * 60);
        expect(masked).toBeGreaterThan(0.1 * 60);
      }
    }
  });

  it('draws lengths from the geometric law and places uniformly, where all are free', () => {
    const counts = new Array(11).fill(0);
    const starts = new Array(4).fill(0);
    const ROUNDS = 1500;
    // Of 80 tokens 12 may be masked, so that the first span of each sequence may have any length.
    const sequence = Int32Array.from({ length: 80 }, (_, i) => i);
    const phrases = new SharedPhrases([sequence, sequence]);
    for (let step = 0; step < ROUNDS; step++) {
      const [first] = drawSpans(phrases, WHOLE, rngKey(5, step, 'masks'), { mostSpans: 1 });
      counts[first!.length] += 1;
      if (first!.length === 1) starts[Math.floor(first!.start / 20)] += 1;
    }
    for (let length = 1; length <= 4; length++) {
      const share = 0.5 ** length / (1 - 0.5 ** 10);
      const spread = 4 * Math.sqrt((share * (1 - share)) / ROUNDS);
      expect(Math.abs(counts[length] / ROUNDS - share), `${length}`).toBeLessThan(spread);
    }
    for (const each of starts)
      expect(Math.abs(each / counts[1] - 0.25)).toBeLessThan(4 * Math.sqrt(0.1875 / counts[1]));
  });

  it('draws a length again where no phrase has it', () => {
    // The sequences share single words only.
    const sequences = [
      Int32Array.from({ length: 40 }, (_, i) => i),
      Int32Array.from({ length: 40 }, (_, i) => 39 - i),
    ];
    const spans = drawSpans(new SharedPhrases(sequences), WHOLE, rngKey(1, 0, 'masks'));
    expect(spans.map(({ length }) => length)).toEqual(new Array(12).fill(1));
  });

  it('masks nothing where nothing is shared, and the same for one key', () => {
    const none = new SharedPhrases([Int32Array.of(1, 2, 3, 4, 5, 6, 7), Int32Array.of(11, 12, 13)]);
    expect(drawSpans(none, WHOLE, rngKey(1, 0, 'masks'))).toEqual([]);
    expect(maskableShare(none, WHOLE)).toBe(0);
    const some = new SharedPhrases(randomSequences(3, 50, 6));
    const drawn = (step: number) => drawSpans(some, WHOLE, rngKey(1, step, 'masks'));
    expect(drawn(3)).toEqual(drawn(3));
    expect(drawn(3)).not.toEqual(drawn(4));
  });

  it('masks whole words', () => {
    const continues = Uint8Array.from(WHOLE, (_, id) => (id >= 50 ? 1 : 0));
    // Words: 1, "2 50", 3.
    const sequence = Int32Array.from({ length: 40 }, (_, i) => [1, 2, 50, 3][i % 4]!);
    const phrases = new SharedPhrases([sequence, sequence]);
    const spans = Array.from({ length: 30 }, (_, step) =>
      drawSpans(phrases, continues, rngKey(1, step, 'masks')),
    ).flat();
    for (const { start, length } of spans) {
      expect(sequence[start]).not.toBe(50);
      expect(sequence[start + length]).not.toBe(50);
    }
    expect(spans.some(({ length }) => length === 2)).toBe(true);
    expect(maskableShare(phrases, continues)).toBe(1);
  });
});

it('maskSpans puts two masks in place of each span', () => {
  const tokens = [1, 2, 3, 4, 5, 6];
  expect(
    maskSpans(
      tokens,
      [
        { start: 0, length: 3 },
        { start: 5, length: 1 },
      ],
      9,
    ),
  ).toEqual({ ids: Int32Array.of(9, 9, 4, 5, 9, 9), places: [0, 4] });
  expect(maskSpans(tokens, [], 9)).toEqual({ ids: Int32Array.from(tokens), places: [] });
});

describe('wordContinuations', () => {
  const texts = ['lowering lower lowest (lowering) low', 'newest newer new widest wider wide'];
  const continued = (model: 'wordpiece' | 'bpe', text: string) => {
    const tokenizer = Tokenizer.fromJson(
      trainVocabulary(texts, { model, vocabSize: model === 'bpe' ? 280 : 64 }),
    );
    const continues = wordContinuations(tokenizer);
    const ids = [...tokenizer.encodeRaw(text)];
    const words: string[] = [];
    for (const id of ids) {
      const token = tokenizer.decode([id]).replace(/^##/, '').trim();
      if (continues[id] === 1 && words.length > 0) words.push(words.pop()! + token);
      else words.push(token);
    }
    return words;
  };
  it('of WordPiece have its prefix', () => {
    expect(continued('wordpiece', 'lowest newer (wide)')).toEqual(['lowest', 'newer', '(', 'wide', ')']);
  });
  it('of byte-level BPE have no mark of a space', () => {
    expect(continued('bpe', 'lowest newer wide, 12')).toEqual(['lowest', 'newer', 'wide', ',', '12']);
  });
});
