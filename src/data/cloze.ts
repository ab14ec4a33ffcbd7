import { COMMON_RANGES } from '../util/common-options.ts';
import type { OptionTable } from '../util/option-table.ts';
import { checkedValues, type GivenOptions } from '../util/option-table.ts';
import { randomInts, rngKey, uniform } from '../util/rng.ts';
import { CUT_OPTIONS, type CutData, type CutQuery, writeCutTexts } from './cut-texts.ts';
import type { DataInMemory } from './data-in-memory.ts';
import { sentencesOf } from './sentences.ts';
import type { TextCorpusOptions } from './text-corpus.ts';

/** Options of {@link writeCloze}. */
export const CLOZE_OPTIONS = {
  ...CUT_OPTIONS,
  /** Share of passages that keep the sentence that was cut out of them, 0 to 1. Default 0.1. */
  keepFraction: {
    type: 'number',
    value: 'share',
    min: 0,
    max: 1,
    default: 0.1,
    help: 'share of passages that keep their sentence, from which word overlap is learnt',
  },
  /** Seed of the choice of sentences. Default 0. */
  seed: { ...COMMON_RANGES.seed, help: 'seed of the choice of one sentence in each passage' },
} as const satisfies OptionTable;

/** Settings of {@link writeCloze}. */
export interface ClozeOptions extends GivenOptions<typeof CLOZE_OPTIONS>, TextCorpusOptions {
  /** Folder to write. It must be absent or empty. */
  readonly out: string;
}

/** Result of {@link writeCloze}. Each passage of two sentences or more gives one query. */
export type ClozeData = CutData;

/**
 * Cuts one sentence out of a text.
 *
 * @returns the sentence, and the text without it; undefined where no sentence leaves something over
 */
export function cutSentence(
  text: string,
  { seed, number }: { readonly seed: number; readonly number: number },
): { query: string; rest: string } | undefined {
  const sentences = text
    .split('\n')
    .flatMap((paragraph) => sentencesOf(paragraph))
    // What occurs twice would stay in the text.
    .filter((sentence) => text.indexOf(sentence) === text.lastIndexOf(sentence))
    .filter((sentence) => text.trim() !== sentence);
  if (sentences.length === 0) return undefined;
  const choice = new Uint32Array(1);
  randomInts(rngKey(seed, number, 'cloze'), sentences.length, choice);
  const query = sentences[choice[0]!]!;
  const start = text.indexOf(query);
  const [before, after] = [text.slice(0, start).trimEnd(), text.slice(start + query.length).trimStart()];
  return { query, rest: `${before} ${after}`.trim() };
}

/**
 * Writes a data set for the inverse cloze task, in BEIR's layout: a query is a sentence of a passage, and its right document the rest of
 * the passage. It trains a first retriever on documents alone, from which `realm` and `atlas` can start. A share of the passages keep
 * their sentence, so that the overlap of words is learnt too.
 *
 * Whole texts are held out for dev and test, by a hash of the text. Texts are streamed; the folder is written completely or not at all.
 *
 * @param source  texts in any layout that `streamTextCorpus` reads
 * @throws UndriftError where `out` holds something
 * @throws DataError where no text to train on has a passage of two sentences
 * @paper Lee et al. 2019: "Latent Retrieval for Weakly Supervised Open Domain Question Answering".
 */
export async function writeCloze(
  source: string | DataInMemory,
  { out, columns, skipBadRows, maxLineBytes, onProgress, onNote, ...given }: ClozeOptions,
): Promise<ClozeData> {
  const { seed, keepFraction, ...cutting } = checkedValues(CLOZE_OPTIONS, given);
  const drawn = new Float32Array(1);
  let number = 0;
  return await writeCutTexts(
    source,
    { ...{ out, columns, skipBadRows, maxLineBytes, onProgress, onNote }, ...cutting },
    (_, passages) =>
      passages.flatMap(({ id, text }): CutQuery[] => {
        const cut = cutSentence(text, { seed, number });
        uniform(rngKey(seed, number++, 'keep'), drawn);
        if (!cut) return [];
        return [{ id, text: cut.query, right: [id], ...(drawn[0]! >= keepFraction && { left: cut.rest }) }];
      }),
    {
      message: 'no text to train on has a passage of two sentences',
      help: 'give longer texts, or longer passages',
    },
  );
}
