import type { TextDocument } from '../data/text-corpus.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import {
  checkedValues,
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
import { type MaskedSpan, PhraseIndex } from './npm.ts';
import { FILL_OPTIONS } from './npm-options.ts';

/** How phrases are chosen. */
export const CHOICE_OPTIONS = pickOptions(FILL_OPTIONS, 'k', 'mostTokens', 'temperature', 'lengthPower');

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
  ...CHOICE_OPTIONS,
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

/** Settings of {@link PhraseEvaluator.measure}. */
export type PhraseChoiceOptions = Omit<GivenOptions<typeof PHRASE_EVALUATION_OPTIONS>, 'limitSpans'>;

/** Parts of a {@link PhraseEvaluator} besides its index. */
interface EvaluatorParts {
  readonly spans: readonly MaskedSpan[];
  /** Keys of the phrases that the model has seen; undefined where that is not known. */
  readonly known: ReadonlySet<string> | undefined;
  readonly onProgress: PhraseEvaluationOptions['onProgress'];
}

/** Masked spans of held-out texts and the index in which they are looked for: made once, measured with any settings of the choice of phrases. */
export class PhraseEvaluator {
  private readonly index: PhraseIndex;
  private readonly spans: readonly MaskedSpan[];
  private readonly known: ReadonlySet<string> | undefined;
  private readonly onProgress: PhraseEvaluationOptions['onProgress'];

  private constructor(index: PhraseIndex, { spans, known, onProgress }: EvaluatorParts) {
    this.index = index;
    this.spans = spans;
    this.known = known;
    this.onProgress = onProgress;
  }

  /**
   * Draws spans as in training, phrases of whole words that another piece of the same document has, and embeds all tokens.
   *
   * @throws UsageError for a model that is no masked encoder, and where no document repeats a phrase between two of its pieces
   */
  static async open(
    retriever: Retriever,
    documents: AsyncIterable<TextDocument> | Iterable<TextDocument>,
    { window, seen, limitSpans, onProgress, device, threads }: PhraseEvaluationOptions = {},
  ): Promise<PhraseEvaluator> {
    const { limitSpans: most } = checkedValues(PHRASE_EVALUATION_OPTIONS, { limitSpans });
    const compute = { ...(device && { device }), ...(threads && { threads }) };
    const index = await PhraseIndex.build(retriever, documents, { window, onProgress, ...compute });
    try {
      const pieces = index.documentPieces();
      const drawn = drawDocumentSpans(
        pieces.map((own) => own.map((piece) => index.pieceTokens(piece))),
        { ...index.encoder, most },
      );
      const spans = drawn.map(({ document, piece, start, length }) => ({
        piece: pieces[document]![piece]!,
        ...{ start, length },
      }));
      const phrases = spans.map((span) => index.at(span).tokens);
      const known = seen && (await seenPhrases(phrases, index.encoder.tokenizer, seen));
      return new PhraseEvaluator(index, { spans, known, onProgress });
    } catch (error) {
      await index.dispose();
      throw error;
    }
  }

  /** Masks each span alone, and looks for its phrase in all other pieces of all documents. */
  async measure(given: PhraseChoiceOptions = {}): Promise<PhraseEvaluation> {
    checkOptions(CHOICE_OPTIONS, given);
    const filling = optionValues(CHOICE_OPTIONS, given);
    const { index, spans, known } = this;
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
      this.onProgress?.({ stage: 'search', done: found.length, total: spans.length, unit: 'spans' });
    }
    const startTop10 = meanOf(found, (span) => span.startTop10);
    return { ...spanMeasures(found), startTop10, searchedTokens: index.size, spans: found };
  }

  /** Frees the index. */
  async dispose(): Promise<void> {
    await this.index.dispose();
  }
}

/**
 * Measures how well an encoder finds the phrases behind masks in held-out texts (NPM), with one way of choosing phrases.
 *
 * @throws UsageError for a model that is no masked encoder, and where no document repeats a phrase between two of its pieces
 * @paper Min et al. 2023: "Nonparametric Masked Language Modeling"
 */
export async function evaluatePhrases(
  retriever: Retriever,
  documents: AsyncIterable<TextDocument> | Iterable<TextDocument>,
  options: PhraseEvaluationOptions = {},
): Promise<PhraseEvaluation> {
  const { window, seen, limitSpans, onProgress, device, threads, ...filling } = options;
  checkOptions(CHOICE_OPTIONS, filling);
  const compute = { ...(device && { device }), ...(threads && { threads }) };
  const opening = { window, seen, limitSpans, onProgress, ...compute };
  const evaluator = await PhraseEvaluator.open(retriever, documents, opening);
  try {
    return await evaluator.measure(filling);
  } finally {
    await evaluator.dispose();
  }
}
