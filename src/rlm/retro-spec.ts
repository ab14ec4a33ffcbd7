import { streamTextCorpus } from '../data/text-corpus.ts';
import { tokenizeCorpus } from '../data/token-corpus.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { checkedValues, type GivenValues, type OptionTable, pickOptions } from '../util/option-table.ts';
import { ChunkDatabase } from './chunk-database.ts';
import { NEIGHBOUR_SOURCE_OPTIONS, neighbourSource } from './neighbour-source.ts';
import { openRetro } from './retro.ts';
import { RETRO_READING_OPTIONS } from './retro-options.ts';
import { RetroSystem } from './retro-system.ts';
import { SOURCE_OPTIONS } from './source-options.ts';
import type { SystemContext, SystemSpec } from './system-spec.ts';

const OPTIONS = {
  ...pickOptions(SOURCE_OPTIONS, 'passageData'),
  ...NEIGHBOUR_SOURCE_OPTIONS,
  ...RETRO_READING_OPTIONS,
} as const satisfies OptionTable;

/** RETRO as a kind of language system. */
export const retro: SystemSpec = {
  id: 'retro',
  summary: 'neighbours of the chunks read so far, by cross-attention inside the model',
  paper: {
    title: 'Improving Language Models by Retrieving from Trillions of Tokens',
    year: 2022,
    url: 'https://arxiv.org/abs/2112.04426',
  },
  options: OPTIONS,
  controls: [
    {
      name: 'shuffled-neighbours',
      method: 'retro',
      options: { neighbours: 'shuffled' },
      follows: ({ neighbours = 'true' }) => neighbours === 'true',
    },
  ],
  async open(model, options, context) {
    const { system, dispose } = await openRetroSystem(model, options, context);
    return {
      name: system.name,
      model: system.model,
      ledger: system.ledger,
      score: (segments, scoring) => system.score(segments, scoring),
      dispose,
    };
  },
};

/** Options of generating text with a RETRO model, as commands take them. */
export const RETRO_GENERATION_OPTIONS = pickOptions(
  OPTIONS,
  'passageData',
  'excludeDocuments',
  'chunkNeighbours',
  'neighbours',
  'neighbourPart',
);

/**
 * Opens a RETRO model over the chunks of documents.
 *
 * @param options  values of the options of `retro`
 * @returns  the system, and a function that frees it with its source
 * @throws UsageError where the model has no parts that read neighbours, or no documents are given
 */
export async function openRetroSystem(
  model: LanguageModel,
  options: GivenValues,
  { modelFolder, onProgress, onNote, device, threads }: Omit<SystemContext, 'windows' | 'corpus'>,
): Promise<{ readonly system: RetroSystem; dispose(): Promise<void> }> {
  const values = checkedValues(OPTIONS, options);
  const { passageData, chunkNeighbours, neighbours, neighbourPart: part } = values;
  if (modelFolder === undefined) {
    throw new UsageError('a model in memory has no parts that read neighbours', {
      help: 'give the folder of a model that was trained with them',
    });
  }
  const loaded = await openRetro(modelFolder, model);
  if (passageData === undefined) {
    throw new UsageError('no documents whose chunks are neighbours', {
      help: `name them by ${option('passageData')}, such as those that the model was trained with`,
    });
  }
  const documents = streamTextCorpus(passageData, {
    ...(onProgress && { onProgress }),
    ...(onNote && { onNote }),
  });
  const corpus = await tokenizeCorpus(documents, model.tokenizer, { onProgress });
  const database = new ChunkDatabase(corpus, model.tokenizer, loaded.wing.config.chunkTokens);
  const compute = { ...(device && { device }), ...(threads && { threads }) };
  const found = await neighbourSource(database, model, values, { ...compute, onProgress, onNote });
  const system = new RetroSystem(loaded, database, found.source, { k: chunkNeighbours, neighbours, part });
  if (found.encodes > 0) system.ledger.add('passageEncodes', found.encodes);
  return {
    system,
    async dispose() {
      await system.dispose();
      await found.dispose();
    },
  };
}
