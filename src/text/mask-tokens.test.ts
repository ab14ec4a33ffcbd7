import { expect, it } from 'vitest';
import { rngKey } from '../util/rng.ts';
import { chooseTokens } from './mask-tokens.ts';

const MASK = 999;
const drawn = Int32Array.of(500, 501, 502);
const tokens = Int32Array.from({ length: 40 }, (_, i) => i);
const choose = (draw: number, share = 0.15) =>
  chooseTokens(tokens, rngKey(7, draw, 'masked/0'), { share, mask: MASK, drawn });

it('chooses the share of the tokens, and keeps what stood there', () => {
  const { ids, places, answer } = choose(0);
  expect(places).toHaveLength(6);
  expect([...places]).toEqual([...new Set(places)].sort((a, b) => a - b));
  expect([...answer]).toEqual([...places]);
  const rest = [...tokens].filter((place) => !places.includes(place));
  expect(rest.map((place) => ids[place])).toEqual(rest);
  expect(choose(0)).toEqual(choose(0));
  expect(choose(1).places).not.toEqual(places);
});

it('replaces eight of ten by a mask and one by a random token, at places that are equally likely', () => {
  const counts = { mask: 0, random: 0, same: 0 };
  const at = new Float64Array(tokens.length);
  const draws = 2000;
  for (let draw = 0; draw < draws; draw++) {
    const { ids, places } = choose(draw);
    for (const place of places) {
      at[place]! += 1;
      if (ids[place] === MASK) counts.mask += 1;
      else if (drawn.includes(ids[place]!)) counts.random += 1;
      else counts.same += 1;
    }
  }
  const total = draws * 6;
  // Five standard deviations of a binomial share.
  const near = (found: number, share: number, n: number) =>
    expect(Math.abs(found / n - share)).toBeLessThan(5 * Math.sqrt((share * (1 - share)) / n));
  near(counts.mask, 0.8, total);
  near(counts.random, 0.1, total);
  near(counts.same, 0.1, total);
  for (const found of at) near(found, 0.15, draws);
});

it('chooses one token at least, and none of a sequence without tokens', () => {
  expect(choose(0, 0.001).places).toHaveLength(1);
  const none = chooseTokens(new Int32Array(0), rngKey(0, 0, ''), { share: 0.15, mask: MASK, drawn });
  expect(none.places).toHaveLength(0);
});
