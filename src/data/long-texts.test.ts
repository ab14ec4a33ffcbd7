import { expect, it } from 'vitest';
import { bm25Terms } from '../text/index-terms.ts';
import { countPieces } from './pieces.ts';
import { comparableText } from './text-identity.ts';

// A repetition in a regular expression overflows its stack on a word of some ten million characters.
it('a word of millions of characters is compared, measured and indexed', { timeout: 120_000 }, () => {
  const millions = 20_000_000;
  expect(comparableText('漢'.repeat(millions))).toHaveLength(millions);
  expect(countPieces('a'.repeat(millions))).toBe(1);
  const terms = bm25Terms(`${'ß'.repeat(millions / 2)} end`);
  expect(terms.at(-1)).toBe('end');
  expect(terms[0]).toHaveLength(2 * 65_536); // ß folds to ss
});
