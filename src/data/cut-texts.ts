import { DataError } from '../util/errors.ts';
import { writeFolderAtomic } from '../util/files.ts';
import { type OptionTable, pickOptions } from '../util/option-table.ts';
import { BeirFiles } from './beir-files.ts';
import { checkEmptyFolder, qrelsLine } from './beir-lines.ts';
import { CLEAN_OPTIONS } from './clean-data.ts';
import type { DataInMemory } from './data-in-memory.ts';
import { passagesOfDocument } from './passages.ts';
import { checkFractions, holdOut } from './split-assignment.ts';
import {
  streamTextCorpus,
  type TextCorpusOptions,
  type TextDocument,
  textCorpusName,
} from './text-corpus.ts';

/** Options of data sets whose queries are cut out of running text. */
export const CUT_OPTIONS = {
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

/** Query that was cut out of a document. */
export interface CutQuery {
  readonly id: string;
  readonly text: string;
  /** Answer to it in words, where it has one. */
  readonly answer?: string | undefined;
  /** Ids of its right passages. */
  readonly right: readonly string[];
  /** Text that is left of its first right passage, which replaces the passage. Default: the whole passage. */
  readonly left?: string | undefined;
}

/** Result of writing a data set whose queries are cut out of running text. */
export interface CutData {
  /** Folder written. */
  readonly folder: string;
  /** Documents read. */
  readonly documents: number;
  /** Passages written, the documents of the data set. */
  readonly passages: number;
  /** Queries by split. Splits without a query are absent. */
  readonly splits: Readonly<Record<string, number>>;
}

/**
 * Writes a data set in BEIR's layout whose documents are the passages of all texts, and whose queries are cut out of the texts.
 *
 * Whole texts are held out for dev and test, by a hash of the text. Texts are streamed; the folder is written completely or not at all.
 *
 * @param source  texts in any layout that `streamTextCorpus` reads
 * @param cut  cuts the queries out of a document, given its passages
 * @param nothing  error where no query is left to train on
 * @throws UsageError where nothing is left to train on by the shares of dev and test
 * @throws UndriftError where `out` holds something
 */
export async function writeCutTexts(
  source: string | DataInMemory,
  {
    out,
    passageWords,
    devFraction: dev,
    testFraction: test,
    ...reading
  }: TextCorpusOptions & {
    readonly out: string;
    readonly passageWords: number;
    readonly devFraction: number;
    readonly testFraction: number;
  },
  cut: (document: TextDocument, passages: readonly { id: string; text: string }[]) => Iterable<CutQuery>,
  nothing: { readonly message: string; readonly help: string },
): Promise<CutData> {
  checkFractions({ dev, test });
  await checkEmptyFolder(out);
  let [documents, passages] = [0, 0];
  const splits = { train: 0, dev: 0, test: 0 };
  await writeFolderAtomic(out, async (folder) => {
    const files = new BeirFiles(folder);
    try {
      for await (const document of streamTextCorpus(source, reading)) {
        const split = holdOut(document.text, { dev, test });
        const own = passagesOfDocument(document, passageWords);
        documents += 1;
        passages += own.length;
        const queries = [...cut(document, own)];
        const left = new Map(queries.map((query) => [query.right[0], query.left]));
        for (const { id, text } of own)
          await files.record('corpus.jsonl', { _id: id, text: left.get(id) ?? text });
        for (const { id, text, answer, right } of queries) {
          splits[split] += 1;
          await files.record('queries.jsonl', { _id: id, text });
          if (answer !== undefined) await files.record('answers.jsonl', { _id: id, answers: [answer] });
          await files.judgements(
            split,
            right.map((passage) => qrelsLine(id, passage, 1)),
          );
        }
      }
      if (splits.train === 0)
        throw new DataError(nothing.message, { file: textCorpusName(source), help: nothing.help });
      await files.finish();
    } catch (error) {
      await files.discard();
      throw error;
    }
  });
  const found = Object.entries(splits).filter(([, queries]) => queries > 0);
  return { folder: out, documents, passages, splits: Object.fromEntries(found) };
}
