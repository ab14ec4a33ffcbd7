import { tmpdir } from 'node:os';
import type { Corpus } from '../data/corpus.ts';
import { loadCorpus } from '../data/documents.ts';
import { DOCUMENT_OPTIONS } from '../data/load-options.ts';
import { isPostgres } from '../foreign/postgres-address.ts';
import type { PromptPassage } from '../models/language/passage-prompt.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { encodeUnlessStored } from '../models/retriever/stored-embeddings.ts';
import { type LeakFilter, leakFilter } from '../rlm/leak-filter.ts';
import { bm25Source, denseSource, type PassageSource } from '../rlm/passage-source.ts';
import { type Passages, passagesOf } from '../rlm/passages.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { DocumentStore } from '../store/document-store.ts';
import { Store } from '../store/store.ts';
import { STORE_OPTION } from '../store/store-options.ts';
import { StoreSearcher } from '../store/store-searcher.ts';
import { UsageError } from '../util/errors.ts';
import { plural } from '../util/format.ts';
import type { OptionTable, OptionValues } from '../util/option-table.ts';
import type { Io } from './io.ts';
import { loadModel, MODEL_HELP, readOptions, showProgress } from './model-source.ts';
import { refuseOthers } from './refuse-others.ts';

const GROUP = 'Passages';

/** Word of `--retriever` for search by words. */
const WORDS = 'bm25';

/** Number of passages that are found, unless another is asked for. */
const PASSAGES = 3;

/** Options of passages that are put in front of a text. */
export const PASSAGE_OPTIONS = {
  /** Data set or file whose documents are the passages. */
  data: {
    type: 'text',
    value: 'folder',
    nonEmpty: true,
    help: 'data set or file whose documents are the passages',
    group: GROUP,
  },
  /** Store whose passages are searched. */
  store: { ...STORE_OPTION.store, help: 'store whose passages are searched', group: GROUP },
  /** Retriever that finds the passages. */
  retriever: {
    type: 'text',
    value: 'model',
    nonEmpty: true,
    defaultHelp: 'bm25; with --store, its vectors and words',
    help: `retriever that finds the passages: ${WORDS}, or ${MODEL_HELP}`,
    group: GROUP,
  },
  /** Number of passages to find. */
  passages: {
    type: 'integer',
    min: 1,
    max: 100,
    defaultHelp: `${PASSAGES}`,
    help: 'passages to find for the text',
    group: GROUP,
  },
  /** Largest number of tokens of a passage. */
  passageTokens: {
    type: 'integer',
    min: 1,
    defaultHelp: '256',
    help: 'tokens of a passage; the end of a longer one is cut off',
    group: GROUP,
  },
  ...DOCUMENT_OPTIONS,
} as const satisfies OptionTable;

/** Passage that was found, with its score. */
export interface FoundPassage extends PromptPassage {
  readonly score: number;
}

/**
 * Finds passages for a text, best first; undefined if none were asked for.
 *
 * @param at.retriever  retriever in place of the option, which stays the caller's
 * @throws UsageError for options that contradict each other
 */
export async function findPassages(
  text: string,
  options: OptionValues<typeof PASSAGE_OPTIONS>,
  { io, compute, retriever: given }: { io: Io; compute: ComputeOptions; retriever?: Retriever },
): Promise<FoundPassage[] | undefined> {
  const { data, store, retriever = WORDS, passages: k = PASSAGES } = options;
  if (data === undefined && store === undefined) {
    const purpose = 'a text without --data or --store';
    refuseOthers(PASSAGE_OPTIONS, options, { allowed: given ? ['passages'] : [], purpose });
    return undefined;
  }
  if (data !== undefined && store !== undefined)
    throw new UsageError('--data and --store exclude each other');
  if (text.trim() === '') throw new UsageError('there is no text to find passages for');
  if (store !== undefined) {
    refuseOthers(PASSAGE_OPTIONS, options, {
      allowed: ['store', 'retriever', 'passages', 'passageTokens'],
      purpose: 'passages of a store',
    });
    if (given) return await inStoreBy(given, store, text, { k, io, compute });
    return await inStore(store, text, { mode: modeOf(options.retriever), k }, { io, compute });
  }
  const corpus = await loadCorpus(data!, { ...readOptions(io, options) });
  io.finishProgress();
  const loaded =
    given || retriever === WORDS
      ? undefined
      : await loadModel(retriever, io, [WORDS], { option: 'retriever' });
  const model = given ?? loaded;
  try {
    return await bestOf(corpus, text, k, async (passages, filter) => {
      if (!model) return bm25Source(passages, filter);
      const source = await denseSource(model, passages, filter, { ...compute, onProgress: showProgress(io) });
      io.finishProgress();
      return source;
    });
  } finally {
    await loaded?.dispose();
  }
}

/** Way of searching a store. Its vectors are those of its own model, so no other retriever can search them. */
function modeOf(retriever: string | undefined): 'bm25' | 'hybrid' {
  if (retriever === undefined) return 'hybrid';
  if (retriever === WORDS) return WORDS;
  throw new UsageError(
    `--retriever ${retriever} cannot search a store: its vectors are those of its own model`,
    {
      help: `leave --retriever out, or give ${WORDS} to search by words alone`,
    },
  );
}

function refusePostgres(store: string): void {
  if (!isPostgres(store)) return;
  throw new UsageError('--store: passages of a table of PostgreSQL cannot be read here', {
    help: 'name the folder of a store',
  });
}

/** Finds passages of a store by a retriever of the caller: by the vectors that it has made of them, or by new ones. */
async function inStoreBy(
  retriever: Retriever,
  folder: string,
  text: string,
  { k, io, compute }: { k: number; io: Io; compute: ComputeOptions },
): Promise<FoundPassage[]> {
  refusePostgres(folder);
  const onProgress = showProgress(io);
  const store = await DocumentStore.open(folder, tmpdir(), {
    ...{ onProgress, onNote: (note: string) => io.log(`note: ${note}`) },
  });
  try {
    const { corpus } = store.documents;
    const stored = await store.embeddings(retriever);
    const tokens = retriever.tokenize('document', corpus.size, (row) => corpus.text(row), {
      spill: store.spill,
    });
    const rows = Uint32Array.from({ length: corpus.size }, (_, row) => row);
    const embeddings = await encodeUnlessStored(
      retriever,
      { store: tokens, rows },
      {
        ...{ ...compute, stored, onProgress },
        onEncodes: (count) => {
          if (count > 0)
            io.log(
              `note: ${plural(count, 'passage')} without a vector of this retriever: embedded for this question; undrift index keeps them`,
            );
        },
      },
    );
    return await bestOf(corpus, text, k, async (passages, filter) =>
      denseSource(retriever, passages, filter, { ...compute, embeddings }),
    );
  } finally {
    io.finishProgress();
    await store.close();
  }
}

/** Finds the passages of a corpus by a source, which is opened for this. */
async function bestOf(
  corpus: Corpus,
  text: string,
  k: number,
  open: (passages: Passages, filter: LeakFilter) => Promise<PassageSource>,
): Promise<FoundPassage[]> {
  const passages = passagesOf(corpus);
  const source = await open(passages, leakFilter(passages));
  try {
    const [found] = await source.find([{ text }], k);
    return Array.from(found!.rows, (row, i) => ({
      id: corpus.id(row),
      title: '',
      text: corpus.text(row),
      score: found!.scores[i]!,
    }));
  } finally {
    await source.dispose();
  }
}

async function inStore(
  folder: string,
  text: string,
  { mode, k }: { mode: 'bm25' | 'hybrid'; k: number },
  { io, compute }: { io: Io; compute: ComputeOptions },
): Promise<FoundPassage[]> {
  refusePostgres(folder);
  const store = await Store.open(folder, { onNote: (note) => io.log(`note: ${note}`) });
  const searcher = new StoreSearcher(store, compute);
  try {
    const hits = await searcher.search(text, { mode, topK: k });
    return hits.map(({ id, title, text, score }) => ({ id, title, text, score }));
  } finally {
    await searcher.dispose();
    await store.close();
  }
}
