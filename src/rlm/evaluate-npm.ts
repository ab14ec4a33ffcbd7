import type { TextDocument } from '../data/text-corpus.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import {
  checkOptions,
  type GivenOptions,
  type OptionTable,
  optionValues,
  pickOptions,
} from '../util/option-table.ts';
import type { Progress } from '../util/progress.ts';
import {
  drawDocumentSpans,
  meanOf,
  phraseKey,
  type SpanMatch,
  type SpanMeasures,
  seenPhrases,
  spanMeasures,
} from './masked-spans.ts';
import { PhraseIndex } from './npm.ts';
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
export interface FoundSpan extends SpanMatch {
  /** 1 if one of the ten best beginnings begins the phrase of the span, else 0. */
  readonly startTop10: number;
}

/** Measures over masked spans. */
export interface PhraseEvaluation extends SpanMeasures {
  /** Share of the spans of which one of the ten best beginnings begins the phrase. */
  readonly startTop10: number;
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
    const documents = index.documentPieces();
    const drawn = drawDocumentSpans(
      documents.map((pieces) => pieces.map((piece) => index.pieceTokens(piece))),
      { ...index.encoder, most: limitSpans },
    );
    const spans = drawn.map(({ document, piece, start, length }) => ({
      piece: documents[document]![piece]!,
      ...{ start, length },
    }));
    const phrases = spans.map((span) => index.at(span).tokens);
    const known = seen && (await seenPhrases(phrases, index.encoder.tokenizer, seen));
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
          exactMatch: Number(best !== undefined && phraseKey(best) === phraseKey(tokens)),
          startTop1: Number(starts.subarray(0, 1).some(isRight)),
          startTop10: Number(starts.subarray(0, 10).some(isRight)),
          ...(known && { seen: known.has(phraseKey(tokens)) }),
        });
      }
      onProgress?.({ stage: 'search', done: found.length, total: spans.length, unit: 'spans' });
    }
    const startTop10 = meanOf(found, (span) => span.startTop10);
    return { ...spanMeasures(found), startTop10, searchedTokens: index.size, spans: found };
  } finally {
    await index.dispose();
  }
}
