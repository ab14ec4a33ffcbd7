import { type RngKey, uniform } from '../util/rng.ts';
import type { SharedPhrases, SharedSpan } from './shared-phrases.ts';

/** Share of the tokens of a sequence that is masked at most. */
export const MASKED_SHARE = 0.15;
/** Spans of a sequence at most, with two masks each. */
const MOST_SPANS = 32;
/** Spans of a group with the same phrase at most. */
const MOST_OF_A_PHRASE = 10;
/** Random numbers that are made at once. */
const DRAWN_AT_ONCE = 256;

/**
 * Finds the tokens that can be part of a masked span: those of a phrase of whole words that another sequence has.
 *
 * @param continues  u8[V]: tokens that continue a word (see `wordContinuations`)
 * @returns share of the tokens of all sequences, from 0 to 1
 */
export function maskableShare(phrases: SharedPhrases, continues: Uint8Array): number {
  let [maskable, total] = [0, 0];
  for (const [sequence, tokens] of phrases.sequences.entries()) {
    const covered = new Uint8Array(tokens.length);
    for (let length = 1; length <= phrases.mostTokens; length++)
      for (const start of placesOf(phrases, continues, { sequence, length }))
        covered.fill(1, start, start + length);
    for (const each of covered) maskable += each;
    total += tokens.length;
  }
  return total === 0 ? 0 : maskable / total;
}

/**
 * Draws the spans of a group of sequences that are masked.
 *
 * In each sequence at most 15 % of the tokens and 32 spans are masked, and no two spans touch. The length of a span is geometric with the
 * parameter 1/2, among the lengths for which there is still a place; its place is then uniform. A place is free if its phrase is made of
 * whole words and occurs in another sequence, and if no ten spans of the group have the same phrase.
 *
 * @param continues  u8[V]: tokens that continue a word (see `wordContinuations`)
 * @param options.mostSpans  spans of a sequence at most. Default 32
 * @param options.isEligible  tells whether a shared phrase may be masked. Default all
 * @returns spans in the order of the sequences and of their places
 * @paper Min et al. 2023: "Nonparametric Masked Language Modeling"
 */
export function drawSpans(
  phrases: SharedPhrases,
  continues: Uint8Array,
  key: RngKey,
  {
    mostSpans = MOST_SPANS,
    isEligible = () => true,
  }: { readonly mostSpans?: number; readonly isEligible?: (span: SharedSpan) => boolean } = {},
): SharedSpan[] {
  const next = drawer(key);
  const uses = new Map<string, number>();
  const phraseOf = (span: SharedSpan) => `${span.length} ${phrases.phrase(span)}`;
  return phrases.sequences.flatMap((tokens, sequence) => {
    const places = Array.from({ length: phrases.mostTokens }, (_, n) =>
      placesOf(phrases, continues, { sequence, length: n + 1 }).filter((start) =>
        isEligible({ sequence, start, length: n + 1 }),
      ),
    );
    // One token of padding at each end.
    const masked = new Uint8Array(tokens.length + 2);
    const isFree = (start: number, length: number) =>
      masked.subarray(start, start + length + 2).every((each) => each === 0) &&
      (uses.get(phraseOf({ sequence, start, length })) ?? 0) < MOST_OF_A_PHRASE;
    const spans: SharedSpan[] = [];
    let budget = Math.floor(MASKED_SHARE * tokens.length);
    while (spans.length < mostSpans) {
      const free = places.slice(0, budget).map((starts, n) => starts.filter((start) => isFree(start, n + 1)));
      const length = drawLength(free, next);
      if (length === undefined) break;
      const among = free[length - 1]!;
      const start = among[Math.floor(next() * among.length)]!;
      const span = { sequence, start, length };
      spans.push(span);
      uses.set(phraseOf(span), (uses.get(phraseOf(span)) ?? 0) + 1);
      masked.fill(1, start + 1, start + length + 1);
      budget -= length;
    }
    return spans.sort((a, b) => a.start - b.start);
  });
}

/** Sequence whose spans are replaced by masks. */
export interface MaskedSequence {
  readonly ids: Int32Array;
  /** Place of the first mask of each span; the second one follows it. */
  readonly places: readonly number[];
}

/**
 * Replaces each span of a sequence by two masks, whatever its length.
 *
 * @param spans  spans of this sequence, in order, that do not touch
 */
export function maskSpans(
  tokens: ArrayLike<number>,
  spans: readonly Pick<SharedSpan, 'start' | 'length'>[],
  mask: number,
): MaskedSequence {
  const ids: number[] = [];
  const places: number[] = [];
  let at = 0;
  for (const { start, length } of spans) {
    while (at < start) ids.push(tokens[at++]!);
    places.push(ids.length);
    ids.push(mask, mask);
    at += length;
  }
  while (at < tokens.length) ids.push(tokens[at++]!);
  return { ids: Int32Array.from(ids), places };
}

/** Lists the places of a sequence where a shared phrase of whole words begins. */
function placesOf(
  phrases: SharedPhrases,
  continues: Uint8Array,
  { sequence, length }: Pick<SharedSpan, 'sequence' | 'length'>,
): number[] {
  const tokens = phrases.sequences[sequence]!;
  const places: number[] = [];
  for (let start = 0; start + length <= tokens.length; start++) {
    if (phrases.phrase({ sequence, start, length }) < 0) continue;
    const after = tokens[start + length];
    if (continues[tokens[start]!] === 1 || (after !== undefined && continues[after] === 1)) continue;
    places.push(start);
  }
  return places;
}

/** Draws a length by the geometric law among those with a place; undefined where there is none. */
function drawLength(places: readonly (readonly number[])[], next: () => number): number | undefined {
  const weights = places.map((each, n) => (each.length > 0 ? 0.5 ** (n + 1) : 0));
  let left = next() * weights.reduce((sum, weight) => sum + weight, 0);
  const last = weights.findLastIndex((weight) => weight > 0);
  if (last < 0) return undefined;
  for (const [n, weight] of weights.entries()) {
    if (n === last || left < weight) return n + 1;
    left -= weight;
  }
  return undefined;
}

/** Returns a function that gives the numbers of a random sequence one after the other, in (0, 1). */
function drawer(key: RngKey): () => number {
  const drawn = new Float32Array(DRAWN_AT_ONCE);
  let at = 0;
  return () => {
    if (at % DRAWN_AT_ONCE === 0) uniform(key, drawn, at);
    return drawn[at++ % DRAWN_AT_ONCE]!;
  };
}
