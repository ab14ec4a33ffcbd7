import { STOP_WORDS } from '../text/index-terms.ts';
import { COMMON_RANGES } from '../util/common-options.ts';
import { checkedValues, type GivenOptions, type OptionTable } from '../util/option-table.ts';
import { randomInts, rngKey } from '../util/rng.ts';
import { CUT_OPTIONS, type CutData, type CutQuery, writeCutTexts } from './cut-texts.ts';
import type { DataInMemory } from './data-in-memory.ts';
import { sentencesOf } from './sentences.ts';
import type { TextCorpusOptions } from './text-corpus.ts';

/** Options of {@link writeSpans}. */
export const SPAN_OPTIONS = {
  ...CUT_OPTIONS,
  /** Seed of the choice of spans. Default 0. */
  seed: { ...COMMON_RANGES.seed, help: 'seed of the choice of one span in each passage' },
} as const satisfies OptionTable;

/** Settings of {@link writeSpans}. */
export interface SpanOptions extends GivenOptions<typeof SPAN_OPTIONS>, TextCorpusOptions {
  /** Folder to write. It must be absent or empty. */
  readonly out: string;
}

/** Result of {@link writeSpans}. Each passage with a span gives one query. */
export type SpanData = CutData;

/** Text that stands for a span that was cut out. */
export const BLANK = '___';

const MONTH = '(?:January|February|March|April|May|June|July|August|September|October|November|December)';
/** Kinds of span, earlier ones first: a year in a date is part of the date. */
const SPANS: readonly RegExp[] = [
  new RegExp(
    `\\b\\d{1,2} ${MONTH}(?: \\d{3,4})?\\b|\\b${MONTH} \\d{1,2}(?:, \\d{3,4})?\\b|\\b${MONTH} \\d{3,4}\\b`,
    'gu',
  ),
  /\p{Lu}[\p{L}\p{N}'’-]+(?: \p{Lu}[\p{L}\p{N}'’-]+)*/gu,
  /(?<![\p{L}\p{N}.,])\d+(?:[.,]\d+)*(?![\p{L}\p{N}])/gu,
];

/** Span of a sentence, as positions of characters. */
export interface SalientSpan {
  readonly start: number;
  readonly end: number;
}

/**
 * Finds the salient spans of a sentence: dates, names and numbers. A name is a run of words that begin with a capital letter. One at the
 * beginning of a sentence has at least two words, the first of which is no stop word of English. Spans whose text occurs again in the
 * sentence are left out.
 *
 * @returns  spans in the order of the sentence, none within another
 * @paper Guu et al. 2020: "REALM", which finds names by a tagger and dates by a regular expression.
 */
export function salientSpans(sentence: string): SalientSpan[] {
  const found: SalientSpan[] = [];
  for (const pattern of SPANS) {
    for (const { 0: whole, index: begin } of sentence.matchAll(pattern)) {
      const text = begin === 0 ? withoutFirst(whole) : whole;
      const end = begin + whole.length;
      const start = end - text.length;
      const isRepeated = sentence.indexOf(text) !== start || sentence.includes(text, end);
      const overlaps = found.some((other) => start < other.end && other.start < end);
      if (text !== '' && !isRepeated && !overlaps) found.push({ start, end });
    }
  }
  return found.sort((a, b) => a.start - b.start);
}

/** Leaves out the capital letter that every sentence begins with: a word alone, or a stop word before a name. */
function withoutFirst(text: string): string {
  if (!/^\p{Lu}/u.test(text)) return text;
  const [first, ...rest] = text.split(' ');
  return rest.length === 0 || STOP_WORDS.has(first!.toLowerCase()) ? rest.join(' ') : text;
}

/** Cuts one salient span out of a text: one of its sentences with a blank, and the span. Undefined where the text has none. */
export function cutSpan(
  text: string,
  { seed, number }: { readonly seed: number; readonly number: number },
): { query: string; answer: string } | undefined {
  const spans = text.split('\n').flatMap((paragraph) =>
    sentencesOf(paragraph).flatMap((sentence) => {
      const own = sentence.trim();
      return salientSpans(own).map((span) => ({ own, ...span }));
    }),
  );
  if (spans.length === 0) return undefined;
  const choice = new Uint32Array(1);
  randomInts(rngKey(seed, number, 'span'), spans.length, choice);
  const { own, start, end } = spans[choice[0]!]!;
  return { query: own.slice(0, start) + BLANK + own.slice(end), answer: own.slice(start, end) };
}

/**
 * Writes a data set for training a reader and its retriever on documents without questions (`realm`), in BEIR's layout: a query is a
 * sentence of which a salient span was cut out, its answer the span, and documents are the passages of all texts. Each passage gives one
 * query at most. The right document of a query is its own passage, which must not be a candidate: see the option `leaveOutPositives`.
 *
 * Whole texts are held out for dev and test, by a hash of the text. Texts are streamed; the folder is written completely or not at all.
 *
 * @param source  texts in any layout that `streamTextCorpus` reads
 * @throws UndriftError where `out` holds something
 * @throws DataError where no text to train on has a salient span
 * @paper Guu et al. 2020: "REALM: Retrieval-Augmented Language Model Pre-Training".
 */
export async function writeSpans(
  source: string | DataInMemory,
  { out, columns, skipBadRows, maxLineBytes, onProgress, onNote, ...given }: SpanOptions,
): Promise<SpanData> {
  const { seed, ...cutting } = checkedValues(SPAN_OPTIONS, given);
  let number = 0;
  return await writeCutTexts(
    source,
    { ...{ out, columns, skipBadRows, maxLineBytes, onProgress, onNote }, ...cutting },
    (_, passages) =>
      passages.flatMap(({ id, text }): CutQuery[] => {
        const cut = cutSpan(text, { seed, number: number++ });
        return cut ? [{ id, text: cut.query, answer: cut.answer, right: [id] }] : [];
      }),
    {
      message: 'no text to train on has a date, a name or a number',
      help: 'give more texts, or texts with names in capital letters',
    },
  );
}
