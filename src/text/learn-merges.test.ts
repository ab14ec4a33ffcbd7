import { describe, expect, it } from 'vitest';
import { learnMerges } from './learn-merges.ts';

const join = (left: string, right: string) => left + right;

/** Learns merges by definition: counts all pairs before every merge. */
function naiveMerges(
  words: number[][],
  counts: number[],
  tokens: string[],
  vocabSize: number,
  minFrequency: number,
) {
  const merges: [number, number][] = [];
  while (tokens.length < vocabSize) {
    const pairs = new Map<string, { left: number; right: number; count: number }>();
    for (const [w, word] of words.entries()) {
      for (let i = 0; i + 1 < word.length; i++) {
        const [left, right] = [word[i]!, word[i + 1]!];
        const pair = pairs.get(`${left} ${right}`) ?? { left, right, count: 0 };
        pair.count += counts[w]!;
        pairs.set(`${left} ${right}`, pair);
      }
    }
    const [best] = Array.from(pairs.values()).sort(
      (x, y) => y.count - x.count || x.left - y.left || x.right - y.right,
    );
    if (best === undefined || best.count < minFrequency) break;
    merges.push([best.left, best.right]);
    const token = tokens[best.left]! + tokens[best.right]!;
    let merged = tokens.indexOf(token);
    if (merged < 0) merged = tokens.push(token) - 1;
    for (const word of words) {
      for (let i = 0; i + 1 < word.length; i++) {
        if (word[i] === best.left && word[i + 1] === best.right) word.splice(i, 2, merged);
      }
    }
  }
  return merges;
}

describe('learnMerges', () => {
  it('merges the textbook example', () => {
    // Sennrich et al.: low ×5, lower ×2, newest ×6, widest ×3: "es" 9, "est" 9, "lo" 7, "low" 7, "ne" 6, …
    const tokens = Array.from('lowernstid');
    const ids = (word: string) => Array.from(word, (char) => tokens.indexOf(char));
    const words = { symbols: ['low', 'lower', 'newest', 'widest'].map(ids), counts: [5, 2, 6, 3] };
    learnMerges(words, { tokens, vocabSize: 16, minFrequency: 1, join });
    expect(tokens.slice(10)).toEqual(
      ['es', 'est', 'lo', 'low', 'we', 'west'].map((token) => expect.stringMatching(token)),
    );
  });

  it.each([1, 2, 3, 4, 5, 6])('equals recounting before every merge (seed %i)', (seed) => {
    let state = seed;
    const random = (bound: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * bound);
    };
    const letters = Array.from('abcdef').slice(0, 2 + (seed % 4)); // few letters: runs like aaaa, many ties
    const symbols = Array.from({ length: 60 }, () =>
      Array.from({ length: 1 + random(12) }, () => random(letters.length)),
    );
    const counts = symbols.map(() => 1 + random(5));
    const ours = letters.slice();
    const theirs = letters.slice();
    const merges = learnMerges({ symbols, counts }, { tokens: ours, vocabSize: 80, minFrequency: 3, join });
    expect(merges).toEqual(
      naiveMerges(
        symbols.map((word) => word.slice()),
        counts,
        theirs,
        80,
        3,
      ),
    );
    expect(ours).toEqual(theirs);
    expect(merges.length).toBeGreaterThan(15);
  });

  it('stops at the minimum frequency and leaves the words alone', () => {
    const tokens = ['a', 'b'];
    const symbols = [
      [0, 1],
      [1, 0],
    ];
    expect(learnMerges({ symbols, counts: [3, 2] }, { tokens, vocabSize: 9, minFrequency: 3, join })).toEqual(
      [[0, 1]],
    );
    expect(tokens).toEqual(['a', 'b', 'ab']);
    expect(symbols).toEqual([
      [0, 1],
      [1, 0],
    ]);
    expect(learnMerges({ symbols: [], counts: [] }, { tokens, vocabSize: 9, minFrequency: 1, join })).toEqual(
      [],
    );
  });
});
