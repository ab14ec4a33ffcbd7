import type { TextDocument } from '../data/text-corpus.ts';
import type { MaskedLanguageModel } from '../models/masked/masked-language-model.ts';
import { tokensOutsidePhrases } from '../text/shared-phrases.ts';
import type { TextPieces } from '../text/text-pieces.ts';
import { wordContinuations } from '../text/word-continuations.ts';
import { checkOptions, optionValues, pickOptions } from '../util/option-table.ts';
import { documentPieces } from './document-pieces.ts';
import { PHRASE_EVALUATION_OPTIONS, type PhraseEvaluationOptions } from './evaluate-npm.ts';
import {
  drawDocumentSpans,
  phraseKey,
  type SpanMatch,
  type SpanMeasures,
  seenPhrases,
  spanMeasures,
} from './masked-spans.ts';

const OPTIONS = pickOptions(PHRASE_EVALUATION_OPTIONS, 'limitSpans');

/** Settings of {@link evaluateMaskedFill}. */
export interface MaskedFillOptions
  extends Pick<
    PhraseEvaluationOptions,
    'limitSpans' | 'window' | 'seen' | 'onProgress' | 'device' | 'threads'
  > {}

/** Measures of a masked language model over masked spans. */
export interface MaskedFillEvaluation extends SpanMeasures {
  readonly spans: readonly SpanMatch[];
}

/** Piece with masks, which are filled one after the other. */
interface FilledPiece {
  readonly ids: Int32Array;
  /** Place of the first mask. */
  readonly place: number;
  readonly document: string;
  /** First token of the span in its document. */
  readonly token: number;
  readonly answer: Int32Array;
}

/** Spans that are filled at once. */
const GROUP = 64;
/** Longest window by default, in tokens. */
const LONGEST_WINDOW = 512;

/**
 * Measures how well the head of a masked language model restores the phrases behind masks in held-out texts: the baseline of NPM. Spans are
 * those of `evaluatePhrases` with the same tokenizer and window. One mask stands for each token, so that the model is told the length of the
 * span. Masks are filled from the left, each with the likeliest token given those before it.
 *
 * @throws UsageError for a window that the model does not read, and where no document repeats a phrase between two of its pieces
 * @throws UndriftError that names a document which cannot be tokenised
 */
export async function evaluateMaskedFill(
  model: MaskedLanguageModel,
  documents: AsyncIterable<TextDocument> | Iterable<TextDocument>,
  {
    window = Math.min(LONGEST_WINDOW, model.maxTokens ?? LONGEST_WINDOW),
    seen,
    onProgress,
    device,
    threads,
    ...given
  }: MaskedFillOptions = {},
): Promise<MaskedFillEvaluation> {
  checkOptions(OPTIONS, given);
  const { limitSpans: most } = optionValues(OPTIONS, given);
  const compute = { ...(device && { device }), ...(threads && { threads }) };
  const { tokenizer, maxTokens } = model;
  const { corpus, pieces } = await documentPieces(documents, tokenizer, { window, maxTokens });
  const groups = piecesByDocument(pieces);
  const tokens = groups.map((group) => group.map((piece) => pieces.tokens(piece)));
  const words = { continues: wordContinuations(tokenizer), excluded: tokensOutsidePhrases(tokenizer) };
  const masked = drawDocumentSpans(tokens, { ...words, most }).map(({ document, piece, start, length }) => {
    const own = tokens[document]![piece]!;
    const { before, after } = tokenizer.wrapper;
    const ids = Int32Array.of(...before, ...own, ...after);
    const place = before.length + start;
    ids.fill(model.maskId, place, place + length);
    const number = groups[document]![piece]!;
    return {
      ...{ ids, place, document: corpus.ids.get(pieces.rows[number]!), token: pieces.start(number) + start },
      answer: own.subarray(start, start + length),
    };
  });
  const answers = masked.map(({ answer }) => answer);
  const known = seen && (await seenPhrases(answers, tokenizer, seen));
  const textOf = (phrase: ArrayLike<number>) => tokenizer.decode(phrase).trim();
  const found: SpanMatch[] = [];
  for (let start = 0; start < masked.length; start += GROUP) {
    const group = masked.slice(start, start + GROUP);
    const filled = await fillFromLeft(model, group, compute);
    for (const [i, best] of filled.entries()) {
      const { document, token, answer } = group[i]!;
      found.push({
        ...{ document, token, phrase: textOf(answer), tokens: answer.length, found: textOf(best) },
        exactMatch: Number(phraseKey(best) === phraseKey(answer)),
        startTop1: Number(best[0] === answer[0]),
        ...(known && { seen: known.has(phraseKey(answer)) }),
      });
    }
    onProgress?.({ stage: 'fill', done: found.length, total: masked.length, unit: 'spans' });
  }
  return { ...spanMeasures(found), spans: found };
}

/** Lists the pieces of each document that has some. */
function piecesByDocument({ rows }: TextPieces): number[][] {
  const groups: number[][] = [];
  for (const [piece, row] of rows.entries()) {
    if (piece > 0 && rows[piece - 1] === row) groups.at(-1)!.push(piece);
    else groups.push([piece]);
  }
  return groups;
}

/** Fills the masks of pieces from the left. Returns the tokens of each span. */
async function fillFromLeft(
  model: MaskedLanguageModel,
  pieces: readonly FilledPiece[],
  compute: Parameters<MaskedLanguageModel['fill']>[1],
): Promise<Int32Array[]> {
  const ids = pieces.map((piece) => piece.ids.slice());
  const longest = Math.max(...pieces.map(({ answer }) => answer.length));
  for (let at = 0; at < longest; at++) {
    const open = [...pieces.keys()].filter((i) => at < pieces[i]!.answer.length);
    const filled = await model.fill(
      open.map((i) => ({
        ids: ids[i]!,
        types: new Int32Array(ids[i]!.length),
        places: Int32Array.of(pieces[i]!.place + at),
        answer: new Int32Array(1),
      })),
      compute,
    );
    for (const [n, i] of open.entries()) ids[i]![pieces[i]!.place + at] = filled[n]![0]!;
  }
  return pieces.map(({ place, answer }, i) => ids[i]!.slice(place, place + answer.length));
}
