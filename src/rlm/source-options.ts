import type { Corpus } from '../data/corpus.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { checkedValues, type GivenValues, type OptionTable } from '../util/option-table.ts';
import { EXCLUSION_OPTIONS, excludedDocuments } from './excluded-documents.ts';
import type { LanguageSystem } from './language-system.ts';
import { leakFilter } from './leak-filter.ts';
import { loadPassages } from './load-passages.ts';
import { bm25Source, goldSource, type PassageSource, randomSource } from './passage-source.ts';
import { passagesOf } from './passages.ts';
import { retrieverSource } from './retriever-source.ts';
import type { SystemContext } from './system-spec.ts';

/** Sources of passages with a name. Any other name is a retriever's folder. */
const [BM25, RANDOM, GOLD] = ['bm25', 'random', 'gold'];

/** Options of passages and of finding them. */
export const SOURCE_OPTIONS = {
  /** Documents whose passages are read. Default: those of the data set with the questions. */
  passageData: {
    type: 'text',
    value: 'path',
    nonEmpty: true,
    group: 'Passages',
    defaultHelp: 'the documents of the data set with the questions',
    help: 'documents that are cut into passages to read',
  },
  /** Largest number of words of a passage of `passageData`. Default 100. */
  passageWords: {
    type: 'integer',
    value: 'n',
    min: 8,
    max: 10_000,
    default: 100,
    group: 'Passages',
    help: 'largest number of words of a passage of --passage-data',
  },
  /** Way of finding passages: `bm25` (default), `random`, `gold` (the judged one), or the folder of a retriever; `retro` also has `states`. */
  retriever: {
    type: 'text',
    value: 'model',
    nonEmpty: true,
    default: BM25,
    group: 'Passages',
    help: 'bm25, the folder of a retriever, or a control: random, or gold for the passage that is judged to answer the question; retro also: states, the mean states of the language model',
  },
  /** Seed of random passages. Default 0. */
  passageSeed: {
    type: 'integer',
    min: 0,
    default: 0,
    group: 'Passages',
    help: 'seed of the retriever random',
  },
  /** Whether passages of the document that is scored may be read. Default false. */
  sameDocument: {
    type: 'switch',
    default: false,
    group: 'Passages',
    help: 'allow passages of the document that is scored itself',
  },
  ...EXCLUSION_OPTIONS,
  /** Largest share of the text to predict that a passage may contain as one piece. Default 1: all. */
  maxOverlap: {
    type: 'number',
    min: 0,
    max: 1,
    default: 1,
    group: 'Passages',
    help: 'largest share of the text to predict that a passage may contain as one piece, in words; others are not read',
  },
} as const satisfies OptionTable;

/** Opens a source of passages by its options, and makes a system that owns it. */
export async function withSource(
  options: GivenValues,
  context: SystemContext,
  make: (source: PassageSource) => LanguageSystem,
): Promise<LanguageSystem> {
  const { source, passageEncodes, dispose } = await openSource(options, context);
  try {
    const system = make(source);
    if (passageEncodes > 0) system.ledger.add('passageEncodes', passageEncodes);
    return {
      ...system,
      async dispose() {
        await system.dispose();
        await dispose();
      },
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** Source of passages that was opened by its options. */
export interface OpenedSource {
  readonly source: PassageSource;
  /** Number of passages of which embeddings were computed. */
  readonly passageEncodes: number;
  /** Frees the source and the retriever behind it. */
  dispose(): Promise<void>;
}

/**
 * Opens a source of passages.
 *
 * @param given  values of `SOURCE_OPTIONS`
 * @throws UsageError where there is nothing to read, or no judged passage for the source `gold`
 */
export async function openSource(
  given: GivenValues,
  context: Omit<SystemContext, 'windows' | 'modelFolder'>,
): Promise<OpenedSource> {
  const {
    passageData,
    passageWords,
    retriever: name,
    passageSeed,
    sameDocument,
    excludeDocuments,
    maxOverlap,
  } = checkedValues(SOURCE_OPTIONS, given);
  const { corpus, onProgress, onNote, device, threads } = context;
  if (name === GOLD && (passageData !== undefined || !corpus)) {
    throw new UsageError(`${option('retriever', GOLD)} reads judged passages, and there are none`, {
      help: 'it works for questions of a data set, with the documents of that set',
    });
  }
  const passages =
    passageData !== undefined
      ? await loadPassages(passageData, { words: passageWords, onProgress, onNote })
      : passagesOf(requireCorpus(corpus));
  const excluded = await excludedDocuments(excludeDocuments, passages, onNote);
  const filter = leakFilter(passages, {
    sameDocument: !sameDocument,
    excludedDocuments: excluded,
    maxOverlap,
  });
  const opened = (source: PassageSource, passageEncodes = 0): OpenedSource => ({
    source,
    passageEncodes,
    dispose: () => source.dispose(),
  });
  if (name === BM25) return opened(bm25Source(passages, filter));
  if (name === RANDOM) return opened(randomSource(passages, filter, { seed: passageSeed }));
  if (name === GOLD) return opened(goldSource(passages));
  const compute = { ...(device && { device }), ...(threads && { threads }) };
  const source = await retrieverSource(name, passages, filter, { ...compute, onProgress, onNote });
  return opened(source, passages.size);
}

function requireCorpus(corpus: Corpus | undefined): Corpus {
  if (corpus) return corpus;
  throw new UsageError('no passages to read', {
    help: `name documents by ${option('passageData')}, such as the articles of another split`,
  });
}
