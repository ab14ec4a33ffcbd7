import { streamTextCorpus, type TextDocument } from '../data/text-corpus.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { type OptionTable, type OptionValues, optionValues } from '../util/option-table.ts';
import {
  checkDatastoreOptions,
  DATASTORE_OPTIONS,
  type RecallOptions,
  recallDocuments,
  refuseGiven,
  TUNING_OPTIONS,
  withDatastore,
} from './datastore-options.ts';
import { type KnnLmWeights, knnLmSystem } from './knn-lm.ts';
import { Recaller } from './recaller.ts';
import type { SystemContext, SystemSpec } from './system-spec.ts';
import type { TokenMemory } from './token-datastore.ts';
import { type KnnLmTuning, type TuneKnnLmOptions, tuneKnnLm } from './tune-knn-lm.ts';

const GROUP = { group: 'kNN-LM' } as const;

const OPTIONS = {
  ...DATASTORE_OPTIONS,
  knnTemperature: {
    ...GROUP,
    type: 'number',
    value: 'τ',
    above: 0,
    help: 'temperature of the softmax over negative squared distances; depends on the model, so tune it with --tune-data',
  },
  knnLambda: {
    ...GROUP,
    type: 'number',
    value: 'λ',
    min: 0,
    max: 1,
    defaultHelp: '0.25, or tuned',
    help: 'weight of the neighbours beside the language model',
  },
  cache: {
    ...GROUP,
    type: 'switch',
    default: false,
    help: 'mix in the tokens of the window before each token too (continuous cache); needs no datastore',
  },
  cacheTheta: {
    ...GROUP,
    type: 'number',
    value: 'θ',
    above: 0,
    help: 'scale of the softmax over inner products with the states of the window; depends on the model, so tune it with --tune-data',
  },
  cacheLambda: {
    ...GROUP,
    type: 'number',
    value: 'λ',
    min: 0,
    max: 1,
    defaultHelp: '0.1, or tuned',
    help: 'weight of the cache beside the language model',
  },
  ...TUNING_OPTIONS,
} as const satisfies OptionTable;

type Values = OptionValues<typeof OPTIONS>;

/** kNN-LM as a kind of language system. */
export const knnLm: SystemSpec = {
  id: 'knn-lm',
  summary: 'the nearest tokens of a datastore, and those of the window, beside the language model',
  paper: {
    title: 'Generalization through Memorization: Nearest Neighbor Language Models',
    year: 2020,
    url: 'https://arxiv.org/abs/1911.00172',
  },
  options: OPTIONS,
  controls: [
    {
      name: 'random-keys',
      method: 'knn-lm',
      options: { knnTokens: 'random' },
      follows: ({ datastore, knnTokens = 'own' }) => datastore !== undefined && knnTokens === 'own',
    },
  ],
  async open(model, given, context) {
    const options = optionValues(OPTIONS, given);
    checkTogether(options);
    return await withDatastore(model, options, context, async (memory) => {
      const tuning = await tuned(model, memory, options, context);
      const weights = tuning?.best ?? givenWeights(options);
      return {
        system: knnLmSystem(model, memory, { ...weights, neighbours: options.knnK }),
        settings: { ...pickWeights(weights), ...(tuning && { tuning }) },
      };
    });
  },
};

/** Refuses options that contradict each other. */
function checkTogether(options: Values): void {
  const { datastore, cache, tuneData } = options;
  if (datastore === undefined && !cache) {
    throw new UsageError(`${option('datastore')} is missing`, {
      help: `build one with undrift lm datastore, or mix in the tokens of the window alone with ${option('cache', true)}`,
    });
  }
  if (datastore === undefined)
    refuseGiven(options, ['knnTemperature', 'knnLambda'], `without ${option('datastore')}`);
  checkDatastoreOptions(options);
  if (!cache) refuseGiven(options, ['cacheTheta', 'cacheLambda'], `without ${option('cache', true)}`);
  if (tuneData !== undefined) {
    refuseGiven(
      options,
      ['knnTemperature', 'knnLambda', 'cacheTheta', 'cacheLambda'],
      `with ${option('tuneData')}, which chooses it`,
    );
    return;
  }
  const missing = (
    [
      ['knnTemperature', datastore !== undefined],
      ['cacheTheta', cache],
    ] as const
  ).find(([key, isNeeded]) => isNeeded && options[key] === undefined);
  if (missing) {
    throw new UsageError(`${option(missing[0])} is missing, and its right value depends on the model`, {
      help: `tune it on other text of the same kind: ${option('tuneData', 'dev.jsonl')}`,
    });
  }
}

const givenWeights = ({ datastore, cache, ...given }: Values): KnnLmWeights => {
  const lambda = datastore === undefined ? 0 : (given.knnLambda ?? 0.25);
  return {
    temperature: given.knnTemperature ?? 1,
    lambda,
    cacheTheta: given.cacheTheta ?? 1,
    cacheLambda: cache ? (given.cacheLambda ?? Math.min(0.1, 1 - lambda)) : 0,
  };
};

const pickWeights = ({ temperature, lambda, cacheTheta, cacheLambda }: KnnLmWeights): KnnLmWeights => ({
  temperature,
  lambda,
  cacheTheta,
  cacheLambda,
});

async function tuned(
  model: LanguageModel,
  memory: TokenMemory | undefined,
  { tuneData, tuneTokens, knnK, cache }: Values,
  context: SystemContext,
): Promise<KnnLmTuning | undefined> {
  if (tuneData === undefined) return undefined;
  const { windows, onProgress, onNote, device, threads } = context;
  const documents = streamTextCorpus(tuneData, { onNote: (note) => onNote?.(note) });
  return await tuneKnnLmOn(model, memory, documents, {
    ...{ windows, tokens: tuneTokens, neighbours: knnK, cache, onProgress, device, threads },
  });
}

/** Text and machine of `tuneKnnLmOn`. */
export interface TuneKnnLmOnOptions extends Omit<RecallOptions, 'tokens'> {
  /** Number of tokens to tune on. Default 8,192. */
  readonly tokens?: number | undefined;
  /** Neighbours of each token, ≥ 1. Default 1,024. */
  readonly neighbours?: number | undefined;
  /** Whether there is a cache. */
  readonly cache: boolean;
  /** Points to try. */
  readonly grid?: TuneKnnLmOptions | undefined;
}

/** Recalls the beginning of development text once, and chooses temperatures and weights on it: see `tuneKnnLm`. */
export async function tuneKnnLmOn(
  model: LanguageModel,
  memory: TokenMemory | undefined,
  documents: AsyncIterable<TextDocument> | Iterable<TextDocument>,
  options: TuneKnnLmOnOptions,
): Promise<KnnLmTuning> {
  const { neighbours, cache, grid, tokens = TUNING_OPTIONS.tuneTokens.default, ...reading } = options;
  const recaller = new Recaller(model, { memory, neighbours, cache });
  try {
    return tuneKnnLm(await recallDocuments(recaller, model, documents, { ...reading, tokens }), grid);
  } finally {
    await recaller.dispose();
  }
}
