import { CLUSTER_SEARCH_OPTIONS } from '../cluster/cluster-search.ts';
import { type Corpus, joinTitle } from '../data/corpus.ts';
import { loadCorpus } from '../data/documents.ts';
import { DOCUMENT_OPTIONS } from '../data/load-options.ts';
import { isPostgres, shownStore } from '../foreign/postgres-address.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { encodeCorpus } from '../retrieval/encode-corpus.ts';
import { readVectors, type StoredVectors } from '../retrieval/read-vectors.ts';
import { RERANK_OPTIONS, rerankTexts } from '../retrieval/rerank.ts';
import { RANKING_OPTIONS, VECTOR_OPTIONS } from '../retrieval/retrieval-options.ts';
import { buildLexicalIndex } from '../retrieval/retrieve.ts';
import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { ExactIndex } from '../search/exact-search.ts';
import { STORE_OPTION, STORE_SEARCH_OPTIONS } from '../store/store-options.ts';
import type { StoreHit } from '../store/store-searcher.ts';
import { BM25_OPTIONS } from '../text/bm25-options.ts';
import type { LexicalRanker } from '../text/lexical-rankers.ts';
import { commandLine } from '../util/command-line.ts';
import { UsageError } from '../util/errors.ts';
import type { OptionValues } from '../util/option-table.ts';
import { defineCommand } from './command.ts';
import type { Io } from './io.ts';
import { LEXICAL_HELP, LEXICAL_WORDS, lexicalOptions, lexicalRanker } from './lexical-model.ts';
import { loadCrossEncoderModel, loadModel, MODEL_HELP, readOptions, showProgress } from './model-source.ts';
import { refuseOthers } from './refuse-others.ts';
import { searchCluster } from './search-cluster.ts';
import { searchStore } from './search-store.ts';
import { computeOptions, ENCODING_OPTIONS, givenOptions, PROMPT_OPTIONS } from './shared-options.ts';
import { searchPostgres } from './store-postgres.ts';
import { checkCommandLine, textOf } from './text-argument.ts';

const OPTIONS = {
  model: { type: 'text', value: 'model', help: `${LEXICAL_HELP}, or ${MODEL_HELP}; not needed with --store` },
  data: { type: 'text', value: 'folder', help: 'data set or file whose documents to search' },
  corpus: {
    type: 'text',
    value: 'file',
    help: 'documents to search: JSONL, CSV, Parquet, TSV (id, text), one text per line, or any data that train reads',
  },
  embeddings: {
    type: 'text',
    value: 'file',
    help: '.npy file of the documents, encoded by this model (undrift encode --data); avoids encoding them again. Its manifest is checked',
  },
  ...VECTOR_OPTIONS,
  store: { ...STORE_OPTION.store, help: 'store to search (undrift index), or table of PostgreSQL' },
  ...STORE_SEARCH_OPTIONS,
  ...CLUSTER_SEARCH_OPTIONS,
  ...RERANK_OPTIONS,
  topK: { ...RANKING_OPTIONS.topK, default: 10, help: 'documents to show' },
  ...DOCUMENT_OPTIONS,
  ...ENCODING_OPTIONS,
  ...PROMPT_OPTIONS,
  ...BM25_OPTIONS,
  ...COMPUTE_OPTIONS,
} as const;

/** The command `undrift search`: finds the best documents for a text. */
export const searchCommand = defineCommand({
  arguments: [{ name: 'text...', help: 'what to search for; - reads it from stdin', required: true }],
  options: OPTIONS,
  examples: [
    '--model runs/first --data data/api-docs "read a file line by line"',
    '--model bm25 --corpus notes.txt --top-k 3 meeting in march',
    '--model bm25 --data data/api-docs --rerank runs/reranker "read a file line by line"',
    '--cluster nats://head:4222 --deadline 2 "read a file line by line"',
    '--store stores/docs --mode hybrid --filter year>=2020 "read a file line by line"',
  ],
  async run(options, io, words) {
    const query = await textOf(words);
    if (query.trim() === '') throw new UsageError('the text to search for is empty');
    if (options.cluster !== undefined) {
      refuseOthers(OPTIONS, options, {
        allowed: ['topK', ...Object.keys({ ...STORE_SEARCH_OPTIONS, ...CLUSTER_SEARCH_OPTIONS })],
        purpose: 'a search in a cluster, whose owners have models of their own',
      });
      const { json, results, notice } = await searchCluster(query, options, io);
      return { json, text: `${results.map(formatHit).join('') || 'no passage was found\n'}${notice}` };
    }
    if (options.store !== undefined) {
      const { store, mode } = options;
      const isTable = isPostgres(store);
      refuseOthers(OPTIONS, options, {
        allowed: [
          'store',
          'topK',
          ...(isTable ? ['mode'] : Object.keys({ ...STORE_SEARCH_OPTIONS, ...RERANK_OPTIONS })),
          ...COMPUTE_NAMES,
        ],
        purpose: isTable ? 'a search in a table of PostgreSQL' : 'a search in a store',
      });
      const search = isTable ? searchPostgres : searchStore;
      const { passages, results } = await search(store, query, options, {
        io,
        compute: computeOptions(options),
      });
      const json = { store: shownStore(store), query, mode, documents: passages, results };
      return { json, text: results.map(formatHit).join('') || 'no passage was found\n' };
    }
    const allowed = Object.keys(OPTIONS).filter(
      (name) => !(name in STORE_SEARCH_OPTIONS) && !(name in CLUSTER_SEARCH_OPTIONS),
    );
    refuseOthers(OPTIONS, options, { allowed, purpose: 'a search in --data or --corpus' });
    if (options.model === undefined) throw new UsageError('--model is missing');
    if ((options.data === undefined) === (options.corpus === undefined)) {
      throw new UsageError(
        options.data === undefined
          ? 'nothing to search in: --data or --corpus is missing'
          : '--data and --corpus exclude each other',
      );
    }
    if (options.trustVectors && options.embeddings === undefined) {
      throw new UsageError('--trust-vectors is about the file of --embeddings, which is missing');
    }
    const ranker = lexicalRanker({ ...options, model: options.model });
    if (ranker && options.embeddings !== undefined)
      throw new UsageError(`--embeddings has no meaning with --model ${ranker}`);
    const corpus = await loadCorpus((options.data ?? options.corpus)!, { ...readOptions(io, options) });
    io.finishProgress();
    const topK = options.rerank === undefined ? options.topK : Math.max(options.topK, options.rerankDepth);
    const found = ranker
      ? searchLexical(ranker, query, corpus, { ...options, topK }, io)
      : await searchDense(query, corpus, { ...options, topK }, io);
    const { rows, scores } = await rerankFound(found, query, corpus, options, io);
    const results = Array.from(rows, (row, i) => ({
      rank: i + 1,
      score: scores[i]!,
      id: corpus.id(row),
      text: corpus.text(row),
    }));
    const json = { model: options.model, query, documents: corpus.size, results };
    return { json, text: results.map(formatResult).join('') || 'no document has a word of the query\n' };
  },
});

const COMPUTE_NAMES = Object.keys(COMPUTE_OPTIONS);

type Found = { rows: Int32Array; scores: Float32Array };

/** Reranks what was found by the cross-encoder of `--rerank`, if there is one. */
async function rerankFound(
  found: Found,
  query: string,
  corpus: Corpus,
  { rerank, rerankDepth: depth, topK, ...options }: OptionValues<typeof OPTIONS>,
  io: Io,
): Promise<Found> {
  if (rerank === undefined) return found;
  checkCommandLine('search');
  const crossEncoder = await loadCrossEncoderModel(rerank, io, 'rerank');
  const texts = Array.from(found.rows, (row) => corpus.text(row));
  const ranked = await rerankTexts(crossEncoder, query, texts, { depth, topK, ...computeOptions(options) });
  await crossEncoder.dispose();
  return {
    rows: Int32Array.from(ranked, ({ document }) => found.rows[document]!),
    scores: Float32Array.from(ranked, ({ score }) => score),
  };
}

function searchLexical(
  ranker: LexicalRanker,
  query: string,
  corpus: Corpus,
  options: OptionValues<typeof OPTIONS>,
  io: Io,
): Found {
  const index = buildLexicalIndex(ranker, corpus, {
    ...lexicalOptions(options),
    onProgress: showProgress(io),
  });
  return index.search(query, options.topK);
}

async function searchDense(
  query: string,
  corpus: Corpus,
  options: OptionValues<typeof OPTIONS>,
  io: Io,
): Promise<Found> {
  checkCommandLine('search');
  const compute = computeOptions(options);
  const retriever = await loadModel(options.model!, io, LEXICAL_WORDS, options);
  const stored =
    options.embeddings === undefined
      ? undefined
      : await readEmbeddings(options.embeddings, corpus, retriever, { options, io });
  const documents =
    stored?.vectors ??
    (await encodeCorpus(retriever, 'document', corpus, { ...compute, onProgress: showProgress(io) }));
  const vector = await retriever.encode('query', [query], compute);
  await retriever.dispose();
  const embeddingSpace = stored?.embeddingSpace;
  const index = ExactIndex.create(documents, retriever.dimension, { ...compute, embeddingSpace });
  const found = await index.search(vector, options.topK, {
    embeddingSpace: stored && embeddingSpaceId(retriever),
  });
  await index.dispose();
  return found;
}

/** Reads the vectors of all documents, checked against model and corpus by their manifest. */
async function readEmbeddings(
  file: string,
  corpus: Corpus,
  retriever: Retriever,
  { options, io }: { options: OptionValues<typeof OPTIONS>; io: Io },
): Promise<StoredVectors> {
  const { trustVectors } = options;
  const command = encodeCommandLine(file, options);
  const stored = await readVectors(file, { retriever, corpus, trustVectors, command });
  const { manifest } = stored;
  if (!manifest) {
    io.log(
      `note: ${file} has no manifest: only its shape was checked, not its model (${embeddingSpaceId(retriever)}) or its texts`,
    );
  } else if (manifest.corrector) {
    const { kind, fromSpace } = manifest.corrector;
    io.log(
      `note: the vectors of ${file} were moved from the embedding space ${fromSpace} by a ${kind} corrector`,
    );
  }
  return stored;
}

/** Composes the command that writes the vectors of the documents that are searched. */
function encodeCommandLine(file: string, options: OptionValues<typeof OPTIONS>): string {
  const { model, data, corpus, dimensions, encodeDtype, queryPrompt, docPrompt } = options;
  return commandLine('encode', {
    model,
    data: data ?? corpus,
    out: file,
    dimensions,
    encodeDtype,
    queryPrompt,
    docPrompt,
    ...givenOptions(DOCUMENT_OPTIONS, options),
  });
}

/** Formats a passage of a store like a document, with its title before its text. */
const formatHit = (hit: Pick<StoreHit, 'rank' | 'score' | 'id' | 'title' | 'text'>): string =>
  formatResult({ ...hit, text: joinTitle(hit.title, hit.text) });

const EXCERPT_CHARACTERS = 160;

function formatResult({
  rank,
  score,
  id,
  text,
}: {
  rank: number;
  score: number;
  id: string;
  text: string;
}): string {
  const line = text.replace(/\s+/g, ' ').trim();
  const excerpt = line.length > EXCERPT_CHARACTERS ? `${line.slice(0, EXCERPT_CHARACTERS - 1)}…` : line;
  return `${String(rank).padStart(2)}  ${score.toFixed(4)}  ${id}\n    ${excerpt}\n`;
}
