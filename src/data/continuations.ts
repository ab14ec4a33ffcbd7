import { option } from '../util/option-name.ts';
import { checkedValues, type GivenOptions, type OptionTable } from '../util/option-table.ts';
import { CUT_OPTIONS, type CutData, type CutQuery, writeCutTexts } from './cut-texts.ts';
import type { DataInMemory } from './data-in-memory.ts';
import type { TextCorpusOptions } from './text-corpus.ts';

/** Options of {@link writeContinuations}. */
export const CONTINUATION_OPTIONS = {
  /** Words of a context, which is the query. Default 96, some 128 tokens. */
  contextWords: {
    type: 'integer',
    value: 'n',
    min: 1,
    max: 10_000,
    default: 96,
    help: 'words of a context, which is the query',
  },
  /** Words of a continuation, which is the answer. The last one of a document may have half as many. Default 96. */
  continuationWords: {
    type: 'integer',
    value: 'n',
    min: 1,
    max: 10_000,
    default: 96,
    help: 'words of a continuation, which is the answer; the last one of a document may have half as many',
  },
  ...CUT_OPTIONS,
} as const satisfies OptionTable;

/** Settings of {@link writeContinuations}. */
export interface ContinuationOptions extends GivenOptions<typeof CONTINUATION_OPTIONS>, TextCorpusOptions {
  /** Folder to write. It must be absent or empty. */
  readonly out: string;
}

/** Result of {@link writeContinuations}. Its queries are contexts. */
export interface ContinuationData extends CutData {
  /** Documents too short for a context with a continuation. Their passages are written. */
  readonly shortDocuments: number;
}

/** Piece of running text: a context, and what follows it. */
export interface Continuation {
  readonly context: string;
  readonly continuation: string;
}

/**
 * Cuts a text into contexts with their continuations, one after the other. A rest with less than half of a continuation is left out.
 *
 * @param options  numbers of words
 */
export function continuationsOf(
  text: string,
  { contextWords, continuationWords }: { readonly contextWords: number; readonly continuationWords: number },
): Continuation[] {
  const words = text.match(/\S+\s*/g) ?? [];
  const found: Continuation[] = [];
  for (let start = 0; ; start += contextWords + continuationWords) {
    const middle = start + contextWords;
    if (words.length - middle < continuationWords / 2) return found;
    const join = (from: number, to: number) => words.slice(from, to).join('').trimEnd();
    found.push({ context: join(start, middle), continuation: join(middle, middle + continuationWords) });
  }
}

/**
 * Writes a data set for training a retriever on running text by `replug-lsr`, in BEIR's layout: queries are contexts, their answers the
 * text that follows, and documents the passages of all texts. The right documents of a context are the passages of its own text, which
 * must not be candidates: see the option `leaveOutPositives`.
 *
 * Whole texts are held out for dev and test, by a hash of the text. Passages of all texts are in the corpus. Texts are streamed; the folder
 * is written completely or not at all.
 *
 * @param source  texts in any layout that `streamTextCorpus` reads
 * @throws UndriftError where `out` holds something
 * @throws DataError where no text is long enough
 * @paper Shi et al. 2023: "REPLUG: Retrieval-Augmented Black-Box Language Models", which takes 128 tokens and the next 128.
 */
export async function writeContinuations(
  source: string | DataInMemory,
  { out, columns, skipBadRows, maxLineBytes, onProgress, onNote, ...given }: ContinuationOptions,
): Promise<ContinuationData> {
  const { contextWords, continuationWords, ...cutting } = checkedValues(CONTINUATION_OPTIONS, given);
  const least = contextWords + Math.ceil(continuationWords / 2);
  let shortDocuments = 0;
  const written = await writeCutTexts(
    source,
    { ...{ out, columns, skipBadRows, maxLineBytes, onProgress, onNote }, ...cutting },
    (document, passages): CutQuery[] => {
      const own = continuationsOf(document.text, { contextWords, continuationWords });
      if (own.length === 0) shortDocuments += 1;
      const right = passages.map(({ id }) => id);
      return own.map(({ context, continuation }, i) => ({
        ...{ id: `${document.id}@${i + 1}`, text: context, answer: continuation, right },
      }));
    },
    {
      message: `no text to train on has the ${least} words of a context with its continuation`,
      help: `lower ${option('contextWords')} and ${option('continuationWords')}, or give longer or more texts`,
    },
  );
  return { ...written, shortDocuments };
}
