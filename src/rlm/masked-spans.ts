import type { TextDocument } from '../data/text-corpus.ts';
import { drawSpans } from '../text/mask-spans.ts';
import { SharedPhrases } from '../text/shared-phrases.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { UsageError } from '../util/errors.ts';
import { evenlySpaced } from '../util/evenly-spaced.ts';
import { rngKey } from '../util/rng.ts';

/** Span of a document that is masked to measure a model. */
export interface DrawnSpan {
  /** Number of the document among those that have tokens. */
  readonly document: number;
  /** Number of the piece in its document. */
  readonly piece: number;
  /** First token of the span in its piece. */
  readonly start: number;
  /** Number of tokens. */
  readonly length: number;
}

/** Span with what a model put in its place. */
export interface SpanMatch {
  /** Id of the document, and the first token of the span there. */
  readonly document: string;
  readonly token: number;
  readonly phrase: string;
  /** Number of tokens. */
  readonly tokens: number;
  /** Phrase that fills the masks best; null where none was found. */
  readonly found: string | null;
  /** 1 if it has the tokens of the span, else 0. */
  readonly exactMatch: number;
  /** 1 if the best beginning begins the phrase of the span, else 0. */
  readonly startTop1: number;
  /** Whether the texts that were trained on have the phrase; absent where they are not known. */
  readonly seen?: boolean;
}

/** Measures over masked spans; means over none are absent. */
export interface SpanMeasures {
  /** Share of the spans whose phrase is found. */
  readonly exactMatch: number;
  /** Share among the spans of at least two tokens. */
  readonly exactMatchLong?: number;
  /** Share among the spans of at least two tokens whose phrase the texts that were trained on lack. */
  readonly exactMatchUnseen?: number;
  /** Share of the spans of which the best beginning begins the phrase. */
  readonly startTop1: number;
  /** Number of spans of at least two tokens, and of those that are unseen. */
  readonly longSpans: number;
  readonly unseenSpans?: number;
}

/**
 * Draws spans to measure on, as in training of NPM: phrases of whole words that another piece of the same document has. They depend on the
 * texts alone.
 *
 * @param documents  token ids of the pieces of each document
 * @param options.most  spans that are kept, evenly spaced
 * @throws UsageError where no document repeats a phrase between two of its pieces
 */
export function drawDocumentSpans(
  documents: readonly (readonly Int32Array[])[],
  {
    continues,
    excluded,
    most,
  }: { readonly continues: Uint8Array; readonly excluded: ReadonlySet<number>; readonly most: number },
): readonly DrawnSpan[] {
  const drawn = documents.flatMap((pieces, document) => {
    const phrases = new SharedPhrases(pieces, { excluded });
    const spans = drawSpans(phrases, continues, rngKey(0, document, 'npm/evaluation'));
    return spans.map(({ sequence: piece, start, length }) => ({ document, piece, start, length }));
  });
  if (drawn.length === 0) {
    throw new UsageError('no document repeats a phrase between two of its pieces', {
      help: 'give longer documents, or a shorter window',
    });
  }
  return evenlySpaced(drawn, most);
}

/**
 * Finds out which phrases texts have.
 *
 * @returns keys of these phrases (see `phraseKey`)
 */
export async function seenPhrases(
  phrases: readonly Int32Array[],
  tokenizer: Tokenizer,
  texts: AsyncIterable<TextDocument> | Iterable<TextDocument>,
): Promise<ReadonlySet<string>> {
  const byFirst = new Map<number, Set<number>>();
  const wanted = new Set<string>();
  for (const tokens of phrases) {
    wanted.add(phraseKey(tokens));
    const lengths = byFirst.get(tokens[0]!) ?? new Set();
    byFirst.set(tokens[0]!, lengths.add(tokens.length));
  }
  const seen = new Set<string>();
  for await (const { text } of texts) {
    const ids = tokenizer.encodeRaw(text);
    for (const [at, id] of ids.entries())
      for (const length of byFirst.get(id) ?? []) {
        const key = phraseKey(ids.subarray(at, at + length));
        if (wanted.has(key)) seen.add(key);
      }
  }
  return seen;
}

/** Key of a phrase in a set or map. */
export const phraseKey = (tokens: ArrayLike<number>): string => Array.from(tokens).join(' ');

/** Averages over spans. */
export function spanMeasures(spans: readonly SpanMatch[]): SpanMeasures {
  const long = spans.filter(({ tokens }) => tokens >= 2);
  const unseen = long.filter(({ seen }) => seen === false);
  const exact = ({ exactMatch }: SpanMatch) => exactMatch;
  return {
    exactMatch: meanOf(spans, exact),
    ...(long.length > 0 && { exactMatchLong: meanOf(long, exact) }),
    ...(unseen.length > 0 && { exactMatchUnseen: meanOf(unseen, exact) }),
    startTop1: meanOf(spans, ({ startTop1 }) => startTop1),
    longSpans: long.length,
    ...(spans.some(({ seen }) => seen !== undefined) && { unseenSpans: unseen.length }),
  };
}

/** Mean of a number over spans. */
export const meanOf = <S>(spans: readonly S[], of: (span: S) => number): number =>
  spans.reduce((sum, span) => sum + of(span), 0) / spans.length;
