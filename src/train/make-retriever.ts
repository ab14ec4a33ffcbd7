import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { RetrievalData } from '../data/retrieval-data.ts';
import { findModel } from '../models/folder/find-model.ts';
import { loadRetriever } from '../models/folder/model-folder.ts';
import { createRetriever } from '../models/retriever/create-retriever.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { type TuningOptions, tuned } from '../models/retriever/tuning.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { trainVocabulary } from '../text/train-vocabulary.ts';
import { isNewModel, NEW_MODELS, type TrainSettings } from './settings.ts';

/**
 * Makes the retriever that a run starts from. It is a given one (a model folder, or the run that trained it), or a new one. The
 * tokenizer of a new one is given, or trained on the documents and the training queries, never on dev or test queries.
 *
 * @param options.fromRun  folder of the run to resume; its tokenizer is read instead of trained again
 * @param options.besideAnother  whether the run trains another model too, so that the retriever may be frozen. Default false
 */
export async function makeRetriever(
  settings: TrainSettings,
  data: RetrievalData,
  options: { fromRun?: string | undefined; besideAnother?: boolean; onNote?: (note: string) => void },
): Promise<Retriever> {
  if (!isNewModel(settings.model)) return await givenModel(settings, settings.model, options);
  const stored = options.fromRun && join(options.fromRun, 'tokenizer.json');
  // A run of an early version may lack it: its vocabulary is trained again, on the same data.
  const file = stored && existsSync(stored) ? stored : settings.tokenizer;
  const tokenizer = file ? Tokenizer.fromFile(file) : vocabulary(settings, data);
  return createRetriever({
    kind: settings.model,
    tokenizer,
    hidden: settings.hidden,
    layers: settings.layers,
    ...(settings.heads && { heads: settings.heads }),
    ...(settings.projection && { projectionSize: settings.projection }),
    pooling: settings.pooling ?? 'mean',
    normalize: settings.normalize ?? true,
    towers: settings.towers ?? 'shared',
    prompts: { query: settings.queryPrompt ?? '', document: settings.docPrompt ?? '' },
    maxQueryTokens: settings.maxQueryTokens!,
    maxDocTokens: settings.maxDocTokens!,
    seed: settings.seed,
  });
}

/** Options that determine what a given model computes before it is trained. */
export const GIVEN_MODEL_OPTIONS = [
  'model',
  'maxQueryTokens',
  'maxDocTokens',
  'queryPrompt',
  'docPrompt',
  'pooling',
  'normalize',
] as const;

async function givenModel(
  settings: TrainSettings,
  path: string,
  { besideAnother = false, onNote }: { besideAnother?: boolean; onNote?: (note: string) => void },
): Promise<Retriever> {
  const { maxQueryTokens, maxDocTokens, queryPrompt, docPrompt, pooling, normalize } = settings;
  const { towers, projection, seed } = settings;
  const given = await loadRetriever(await findModel(path, NEW_MODELS), {
    maxTokens: {
      ...(maxQueryTokens !== null && { query: maxQueryTokens }),
      ...(maxDocTokens !== null && { document: maxDocTokens }),
    },
    prompts: {
      ...(queryPrompt !== null && { query: queryPrompt }),
      ...(docPrompt !== null && { document: docPrompt }),
    },
    ...(pooling && { pooling }),
    ...(normalize !== null && { normalize }),
    ...(towers && { towers }),
    ...(projection && { projectionSize: projection }),
    seed,
    ...(onNote && { onNote }),
  });
  return tuned(given, { ...tuningOf(settings), besideAnother });
}

/** Tuning of a given model by the settings of a run, in which null stands for an option that is not given. */
export const tuningOf = ({
  seed,
  lora,
  loraAlpha,
  loraTargets,
  freeze,
  trainOnly,
}: Pick<
  TrainSettings,
  'seed' | 'lora' | 'loraAlpha' | 'loraTargets' | 'freeze' | 'trainOnly'
>): TuningOptions => ({
  seed,
  ...(lora && { lora }),
  ...(loraAlpha && { loraAlpha }),
  ...(loraTargets && { loraTargets }),
  ...(freeze && { freeze }),
  ...(trainOnly && { trainOnly }),
});

function vocabulary(settings: TrainSettings, data: RetrievalData): Tokenizer {
  function* texts(): Iterable<string> {
    for (let row = 0; row < data.corpus.size; row++) yield data.corpus.text(row);
    // Documents that are their own queries have been read already.
    if (data.queries === data.corpus) return;
    for (const row of data.examples('train').queryRows) yield data.queries.text(row);
  }
  return Tokenizer.fromJson(
    trainVocabulary(texts(), { model: settings.vocabulary, vocabSize: settings.vocabSize }),
  );
}
