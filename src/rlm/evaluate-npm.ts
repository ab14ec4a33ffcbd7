import type { TextDocument } from '../data/text-corpus.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { drawSpans } from '../text/mask-spans.ts';
import { SharedPhrases } from '../text/shared-phrases.ts';
import { UsageError } from '../util/errors.ts';
import { evenlySpaced } from '../util/evenly-spaced.ts';
import {
  checkOptions,
  type GivenOptions,
  type OptionTable,
  optionValues,
  pickOptions,
} from '../util/option-table.ts';
import type { Progress } from '../util/progress.ts';
import { rngKey } from '../util/rng.ts';
import { type MaskedSpan, PhraseIndex } from './npm.ts';
import { FILL_OPTIONS } from './npm-options.ts';

/** Options of {@link evaluatePhrases}. */
export const PHRASE_EVALUATION_OPTIONS = {
  /** Spans to measure on, evenly spaced. Default 1000. */
  limitSpans: {
    type: 'integer',
    value: 'n',
    min: 1,
    default: 1000,
    help: 'npm: spans to find, evenly spaced over the text',
  },
  ...pickOptions(FILL_OPTIONS, 'k', 'mostTokens', 'temperature', 'lengthPower'),
} as const satisfies OptionTable;

/** Settings of {@link evaluatePhrases}. */
export interface PhraseEvaluationOptions
  extends GivenOptions<typeof PHRASE_EVALUATION_OPTIONS>,
    ComputeOptions {
  /** Tokens of a piece that is read at once. Default: as long as the model reads documents. */
  readonly window?: number | undefined;
  /** Texts that the model was trained on, which tell what phrases it has never seen. Default: not known. */
  readonly seen?: AsyncIterable<TextDocument> | Iterable<TextDocument> | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** Measures of one masked span. */
export interface FoundSpan {
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
  /** 1 if the best beginning, or one of the ten best, begins the phrase of the span; else 0. */
  readonly startTop1: number;
  readonly startTop10: number;
  /** Whether the texts that were trained on have the phrase; absent where they are not known. */
  readonly seen?: boolean;
}

/** Measures over masked spans; means over none are absent. */
export interface PhraseEvaluation {
  /** Share of the spans whose phrase is found. */
  readonly exactMatch: number;
  /** The same over spans of at least two tokens. */
  readonly exactMatchLong?: number;
  /** The same over spans of at least two tokens whose phrase the texts that were trained on lack. */
  readonly exactMatchUnseen?: number;
  /** Share of the spans of which the best beginning, or one of the ten best, begins the phrase. */
  readonly startTop1: number;
  readonly startTop10: number;
  /** Number of spans of at least two tokens, and of those that are unseen. */
  readonly longSpans: number;
  readonly unseenSpans?: number;
  /** Number of tokens that are searched. */
  readonly searchedTokens: number;
  readonly spans: readonly FoundSpan[];
}

/** Spans that are looked for at once. */
const GROUP = 64;

/**
 * Measures how well an encoder finds the phrases behind masks in held-out texts (NPM). Spans are drawn as in training: phrases of whole
 * words that another piece of the same document has. Each is masked alone, and looked for in all other pieces of all documents.
 *
 * @throws UsageError for a model that is no masked encoder, and where no document repeats a phrase between two of its pieces
 * @paper Min et al. 2023: "Nonparametric Masked Language Modeling"
 */
export async function evaluatePhrases(
  retriever: Retriever,
  documents: AsyncIterable<TextDocument> | Iterable<TextDocument>,
  { window, seen, onProgress, device, threads, ...given }: PhraseEvaluationOptions = {},
): Promise<PhraseEvaluation> {
  checkOptions(PHRASE_EVALUATION_OPTIONS, given);
  const { limitSpans, ...filling } = optionValues(PHRASE_EVALUATION_OPTIONS, given);
  const compute = { ...(device && { device }), ...(threads && { threads }) };
  const index = await PhraseIndex.build(retriever, documents, { window, onProgress, ...compute });
  try {
    const spans = evenlySpaced(spansOf(index), limitSpans);
    if (spans.length === 0) {
      throw new UsageError('no document repeats a phrase between two of its pieces', {
        help: 'give longer documents, or a shorter window',
      });
    }
    const known = seen && (await seenPhrases(index, spans, seen));
    const found: FoundSpan[] = [];
    for (let start = 0; start < spans.length; start += GROUP) {
      const group = spans.slice(start, start + GROUP);
      const filled = await index.fillSpans(group, filling);
      for (const [i, { best, starts }] of filled.entries()) {
        const { document, token, tokens } = index.at(group[i]!);
        const isRight = (row: number) => index.hasAt(row, tokens);
        found.push({
          ...{ document, token, phrase: index.textOf(tokens), tokens: tokens.length },
          found: best === undefined ? null : index.textOf(best),
          exactMatch: Number(best !== undefined && keyOf(best) === keyOf(tokens)),
          startTop1: Number(starts.subarray(0, 1).some(isRight)),
          startTop10: Number(starts.subarray(0, 10).some(isRight)),
          ...(known && { seen: known.has(keyOf(tokens)) }),
        });
      }
      onProgress?.({ stage: 'search', done: found.length, total: spans.length, unit: 'spans' });
    }
    return { ...measuresOf(found), searchedTokens: index.size, spans: found };
  } finally {
    await index.dispose();
  }
}

/** Draws the spans of every document. */
function spansOf(index: PhraseIndex): MaskedSpan[] {
  const { continues, excluded } = index.encoder;
  return index.documentPieces().flatMap((pieces, document) => {
    const sequences = pieces.map((piece) => index.pieceTokens(piece));
    const phrases = new SharedPhrases(sequences, { excluded });
    const drawn = drawSpans(phrases, continues, rngKey(0, document, 'npm/evaluation'));
    return drawn.map(({ sequence, start, length }) => ({ piece: pieces[sequence]!, start, length }));
  });
}

/** Finds out which phrases of spans texts have. */
async function seenPhrases(
  index: PhraseIndex,
  spans: readonly MaskedSpan[],
  texts: AsyncIterable<TextDocument> | Iterable<TextDocument>,
): Promise<ReadonlySet<string>> {
  const byFirst = new Map<number, Set<number>>();
  const wanted = new Set<string>();
  for (const span of spans) {
    const { tokens } = index.at(span);
    wanted.add(keyOf(tokens));
    const lengths = byFirst.get(tokens[0]!) ?? new Set();
    byFirst.set(tokens[0]!, lengths.add(tokens.length));
  }
  const seen = new Set<string>();
  for await (const { text } of texts) {
    const ids = index.encoder.tokenizer.encodeRaw(text);
    for (const [at, id] of ids.entries())
      for (const length of byFirst.get(id) ?? []) {
        const key = keyOf(ids.subarray(at, at + length));
        if (wanted.has(key)) seen.add(key);
      }
  }
  return seen;
}

const keyOf = (tokens: ArrayLike<number>): string => Array.from(tokens).join(' ');

function measuresOf(spans: readonly FoundSpan[]): Omit<PhraseEvaluation, 'spans' | 'searchedTokens'> {
  const mean = (of: (span: FoundSpan) => number, over = spans) =>
    over.reduce((sum, span) => sum + of(span), 0) / over.length;
  const exact = ({ exactMatch }: FoundSpan) => exactMatch;
  const long = spans.filter(({ tokens }) => tokens >= 2);
  const unseen = long.filter(({ seen }) => seen === false);
  return {
    exactMatch: mean(exact),
    ...(long.length > 0 && { exactMatchLong: mean(exact, long) }),
    ...(unseen.length > 0 && { exactMatchUnseen: mean(exact, unseen) }),
    startTop1: mean(({ startTop1 }) => startTop1),
    startTop10: mean(({ startTop10 }) => startTop10),
    longSpans: long.length,
    ...(spans.some(({ seen }) => seen !== undefined) && { unseenSpans: unseen.length }),
  };
}
