import { DataError, UsageError } from '../util/errors.ts';
import { writeFolderAtomic } from '../util/files.ts';
import { option } from '../util/option-name.ts';
import { checkedValues, type GivenOptions, type OptionTable, pickOptions } from '../util/option-table.ts';
import { BeirFiles } from './beir-files.ts';
import { checkEmptyFolder, qrelsLine } from './beir-lines.ts';
import { CLEAN_OPTIONS } from './clean-data.ts';
import type { DataInMemory } from './data-in-memory.ts';
import { textPassages } from './passages.ts';
import { holdOut } from './split-assignment.ts';
import {
  streamTextCorpus,
  type TextCorpusOptions,
  type TextDocument,
  textCorpusName,
} from './text-corpus.ts';

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
  /** Largest number of words of a passage. Default 96. */
  passageWords: {
    type: 'integer',
    value: 'n',
    min: 8,
    max: 10_000,
    default: 96,
    help: 'largest number of words of a passage, in whole sentences where these fit',
  },
  ...pickOptions(CLEAN_OPTIONS, 'devFraction', 'testFraction'),
} as const satisfies OptionTable;

/** Settings of {@link writeContinuations}. */
export interface ContinuationOptions extends GivenOptions<typeof CONTINUATION_OPTIONS>, TextCorpusOptions {
  /** Folder to write. It must be absent or empty. */
  readonly out: string;
}

/** Result of {@link writeContinuations}. */
export interface ContinuationData {
  /** Folder written. */
  readonly folder: string;
  /** Documents read. */
  readonly documents: number;
  /** Passages written, the documents of the data set. */
  readonly passages: number;
  /** Contexts with their continuations, by split. */
  readonly splits: Readonly<Record<string, number>>;
  /** Documents too short for a context with a continuation. Their passages are written. */
  readonly shortDocuments: number;
}

/** Splits that are written, where they have a query. */
const SPLITS = ['train', 'dev', 'test'] as const;

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
  const options = checkedValues(CONTINUATION_OPTIONS, given);
  const fractions = { dev: options.devFraction, test: options.testFraction };
  if (fractions.dev + fractions.test >= 1)
    throw new UsageError(`${option('devFraction')} and ${option('testFraction')} leave nothing to train on`);
  await checkEmptyFolder(out);
  const counts = { documents: 0, passages: 0, short: 0, splits: new Map<string, number>() };
  await writeFolderAtomic(out, async (folder) => {
    const files = new BeirFiles(folder);
    try {
      const reading = { columns, skipBadRows, maxLineBytes, onProgress, onNote };
      for await (const document of streamTextCorpus(source, reading)) {
        counts.documents += 1;
        const passages = passagesOfDocument(document, options.passageWords);
        counts.passages += passages.length;
        for (const { id, text } of passages) await files.record('corpus.jsonl', { _id: id, text });
        const own = continuationsOf(document.text, options);
        if (own.length === 0) counts.short += 1;
        const split = holdOut(document.text, fractions);
        for (const [i, { context, continuation }] of own.entries()) {
          const id = `${document.id}@${i + 1}`;
          counts.splits.set(split, (counts.splits.get(split) ?? 0) + 1);
          await files.record('queries.jsonl', { _id: id, text: context });
          await files.record('answers.jsonl', { _id: id, answers: [continuation] });
          await files.judgements(
            split,
            passages.map((passage) => qrelsLine(id, passage.id, 1)),
          );
        }
      }
      if (!counts.splits.has('train')) {
        const least = options.contextWords + Math.ceil(options.continuationWords / 2);
        throw new DataError(`no text to train on has the ${least} words of a context with its continuation`, {
          file: textCorpusName(source),
          help: `lower ${option('contextWords')} and ${option('continuationWords')}, or give longer or more texts`,
        });
      }
      await files.finish();
    } catch (error) {
      await files.discard();
      throw error;
    }
  });
  const splits = SPLITS.flatMap((split) => {
    const queries = counts.splits.get(split);
    return queries === undefined ? [] : [[split, queries] as const];
  });
  return {
    folder: out,
    documents: counts.documents,
    passages: counts.passages,
    splits: Object.fromEntries(splits),
    shortDocuments: counts.short,
  };
}

/**
 * Cuts a document into passages, in whole sentences where these fit. A passage has the id of its document, with `#` and its number from 1
 * where the document has several.
 *
 * @param words  largest number of words of a passage
 */
export function passagesOfDocument(
  { id, text }: TextDocument,
  words: number,
): { id: string; text: string }[] {
  const passages = textPassages(text, { words, overlap: 0 });
  return passages.map((passage, i) => ({
    id: passages.length === 1 ? id : `${id}#${i + 1}`,
    text: passage.text,
  }));
}
