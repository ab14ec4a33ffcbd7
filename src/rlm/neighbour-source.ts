import type { LanguageModel } from '../models/language/language-model.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { UsageError } from '../util/errors.ts';
import { type NoteListener, option } from '../util/option-name.ts';
import { checkedValues, type GivenValues, type OptionTable, pickOptions } from '../util/option-table.ts';
import type { Progress } from '../util/progress.ts';
import type { ChunkDatabase } from './chunk-database.ts';
import { excludedDocuments } from './excluded-documents.ts';
import { type LeakFilter, leakFilter } from './leak-filter.ts';
import { bm25Source, type PassageSource, randomSource } from './passage-source.ts';
import { retrieverSource } from './retriever-source.ts';
import { SOURCE_OPTIONS } from './source-options.ts';
import { stateSource } from './state-source.ts';

/** Sources of neighbours with a name. Any other name is a retriever's folder. */
const [BM25, STATES, RANDOM, GOLD] = ['bm25', 'states', 'random', 'gold'];

/** Options of finding neighbours of chunks. */
export const NEIGHBOUR_SOURCE_OPTIONS = pickOptions(
  SOURCE_OPTIONS,
  'retriever',
  'sameDocument',
  'excludeDocuments',
  'maxOverlap',
) satisfies OptionTable;

/** Surroundings of a source of neighbours. */
export interface NeighbourSourceContext extends ComputeOptions {
  /** Called while vectors are computed. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Called for everything that a user should know about the retriever. */
  readonly onNote?: NoteListener | undefined;
}

/** Source of neighbours with its leak rules, which stored neighbours depend on. */
export interface NeighbourSource {
  readonly source: PassageSource;
  /** Rules of the leak filter. */
  readonly rules: LeakFilter['rules'];
  /** Name of the source, with the model that makes its vectors. */
  readonly name: string;
  /** Chunks of which vectors were computed. */
  readonly encodes: number;
  /** Frees the source and what it has loaded. */
  dispose(): Promise<void>;
}

/**
 * Opens a source of neighbours over the chunks of a database. Its leak filter sees chunks with their continuations, as a reader does.
 *
 * @param model language model of the source `states`
 * @param given values of `NEIGHBOUR_SOURCE_OPTIONS`
 */
export async function neighbourSource(
  database: ChunkDatabase,
  model: LanguageModel,
  given: GivenValues,
  { onProgress, onNote, ...compute }: NeighbourSourceContext = {},
): Promise<NeighbourSource> {
  const {
    retriever: name,
    sameDocument,
    excludeDocuments,
    maxOverlap,
  } = checkedValues(NEIGHBOUR_SOURCE_OPTIONS, given);
  if (name === GOLD) {
    throw new UsageError(`${option('retriever', GOLD)} finds judged passages, and chunks have none`, {
      help: `take ${BM25}, ${STATES}, ${RANDOM} or the folder of a retriever`,
    });
  }
  const excluded = await excludedDocuments(excludeDocuments, database, onNote);
  const rules = { sameDocument: !sameDocument, excludedDocuments: excluded, maxOverlap };
  const filter = leakFilter(database.readPassages, rules);
  const opened = (source: PassageSource, encodes: number): NeighbourSource => {
    return { source, rules: filter.rules, name, encodes, dispose: () => source.dispose() };
  };
  // Chunks are short: stop words would be half of their terms, and three quarters of the time of a search.
  if (name === BM25) return opened(bm25Source(database, filter, { stopWords: true, onProgress }), 0);
  if (name === RANDOM) return opened(randomSource(database, filter), 0);
  if (name === STATES)
    return opened(await stateSource(model, database, filter, { ...compute, onProgress }), database.size);
  const source = await retrieverSource(name, database, filter, { ...compute, onProgress, onNote });
  return opened(source, database.size);
}
