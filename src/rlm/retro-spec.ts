import { streamTextCorpus } from '../data/text-corpus.ts';
import { tokenizeCorpus } from '../data/token-corpus.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { checkedValues, type OptionTable, pickOptions } from '../util/option-table.ts';
import { ChunkDatabase } from './chunk-database.ts';
import type { LanguageSystem } from './language-system.ts';
import { NEIGHBOUR_SOURCE_OPTIONS, neighbourSource } from './neighbour-source.ts';
import { openRetro } from './retro.ts';
import { RETRO_READING_OPTIONS } from './retro-options.ts';
import { RetroSystem } from './retro-system.ts';
import { SOURCE_OPTIONS } from './source-options.ts';
import type { SystemSpec } from './system-spec.ts';

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
  async open(model, options, { modelFolder, onProgress, onNote, device, threads }) {
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
    return ownedSystem(system, found);
  },
};

/** System that disposes of its source. */
const ownedSystem = (system: RetroSystem, source: { dispose(): Promise<void> }): LanguageSystem => ({
  name: system.name,
  model: system.model,
  ledger: system.ledger,
  score: (segments, options) => system.score(segments, options),
  async dispose() {
    await system.dispose();
    await source.dispose();
  },
});
