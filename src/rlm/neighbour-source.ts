import { loadRetriever } from '../models/folder/open-retriever.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { NoteListener } from '../util/option-name.ts';
import { type GivenValues, type OptionTable, optionValues } from '../util/option-table.ts';
import type { Progress } from '../util/progress.ts';
import type { ChunkDatabase } from './chunk-database.ts';
import { type LeakFilter, leakFilter } from './leak-filter.ts';
import { bm25Source, denseSource, type PassageSource, randomSource } from './passage-source.ts';
import { stateSource } from './state-source.ts';

/** Sources of neighbours with a name. Any other name is a retriever's folder. */
const [BM25, STATES, RANDOM] = ['bm25', 'states', 'random'];

/** Options of finding neighbours of chunks. */
export const NEIGHBOUR_SOURCE_OPTIONS = {
  /** Way of finding neighbours: `bm25` (default), `states` of the language model, the folder of a retriever, or `random`. */
  retriever: {
    type: 'text',
    value: 'name',
    nonEmpty: true,
    default: BM25!,
    group: 'Passages',
    help: 'bm25, states (mean states of the language model), the folder of a retriever, or random as a control',
  },
  /** Whether neighbours of the document that is read may be read. Default false. */
  sameDocument: {
    type: 'switch',
    default: false,
    group: 'Passages',
    help: 'allow passages of the document that is scored itself',
  },
  /** Largest share of the next chunk that a neighbour with its continuation may contain as one piece. Default 1: all. */
  maxOverlap: {
    type: 'number',
    min: 0,
    max: 1,
    default: 1,
    group: 'Passages',
    help: 'largest share of the text to predict that a passage may contain as one piece, in words; others are not read',
  },
} as const satisfies OptionTable;

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
  const { retriever: name, sameDocument, maxOverlap } = optionValues(NEIGHBOUR_SOURCE_OPTIONS, given);
  const filter = leakFilter(database.readPassages, { sameDocument: !sameDocument, maxOverlap });
  const opened = (source: PassageSource, dispose = () => source.dispose()): NeighbourSource => {
    return { source, rules: filter.rules, name, dispose };
  };
  if (name === BM25) return opened(bm25Source(database, filter, { onProgress }));
  if (name === RANDOM) return opened(randomSource(database, filter));
  if (name === STATES) return opened(await stateSource(model, database, filter, { ...compute, onProgress }));
  const retriever = await loadRetriever(name, {
    ...(onProgress && { onProgress }),
    ...(onNote && { onNote }),
  });
  try {
    const source = await denseSource(retriever, database, filter, { ...compute, onProgress });
    return opened(source, async () => {
      await source.dispose();
      await retriever.dispose();
    });
  } catch (error) {
    await retriever.dispose();
    throw error;
  }
}
