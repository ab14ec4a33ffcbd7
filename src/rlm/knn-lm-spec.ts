import { streamTextCorpus, type TextDocument } from '../data/text-corpus.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import { UsageError } from '../util/errors.ts';
import { count } from '../util/format.ts';
import { option, tellNote } from '../util/option-name.ts';
import { type OptionTable, type OptionValues, optionValues } from '../util/option-table.ts';
import { documentSegments } from './evaluate-text.ts';
import { type KnnLmWeights, knnLmSystem, NEIGHBOURS, Recaller } from './knn-lm.ts';
import type { LanguageSystem, Segment } from './language-system.ts';
import { withRandomTokens } from './random-tokens.ts';
import type { SystemContext, SystemSpec } from './system-spec.ts';
import type { TextWindows } from './text-windows.ts';
import { TokenDatastore, type TokenMemory } from './token-datastore.ts';
import { type KnnLmTuning, type TuneKnnLmOptions, tuneKnnLm } from './tune-knn-lm.ts';

const GROUP = { group: 'kNN-LM' } as const;

const OPTIONS = {
  datastore: {
    ...GROUP,
    type: 'text',
    value: 'folder',
    nonEmpty: true,
    help: 'datastore that undrift lm datastore has built with this model',
  },
  datastoreShare: {
    ...GROUP,
    type: 'number',
    above: 0,
    max: 1,
    default: 1,
    help: 'share of the datastore to search, from its beginning',
  },
  knnK: {
    ...GROUP,
    type: 'integer',
    value: 'n',
    min: 1,
    default: NEIGHBOURS,
    help: 'nearest tokens of the datastore for each token; all where it holds fewer',
  },
  knnTokens: {
    ...GROUP,
    type: 'choice',
    choices: ['own', 'random'],
    default: 'own',
    help: 'tokens that the neighbours predict: their own, or, as a control, those of other places of the datastore',
  },
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
  tuneData: {
    ...GROUP,
    type: 'text',
    value: 'file',
    nonEmpty: true,
    help: 'development text on which temperatures and weights are chosen: a file like that of --data',
  },
  tuneTokens: {
    ...GROUP,
    type: 'integer',
    value: 'n',
    min: 1,
    default: 8192,
    help: 'tokens of the development text to tune on',
  },
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
    const { datastore: folder, datastoreShare: share } = options;
    const { device, threads } = context;
    const compute = { ...(device && { device }), ...(threads && { threads }) };
    const datastore =
      folder === undefined ? undefined : await TokenDatastore.open(folder, { share, ...compute });
    try {
      datastore?.check(model);
      if (datastore && datastore.size < options.knnK) {
        tellNote(
          context.onNote,
          `${option('knnK', options.knnK)}: the datastore holds ${count(datastore.size)} tokens, all of which are neighbours`,
        );
      }
      const memory = datastore && options.knnTokens === 'random' ? withRandomTokens(datastore) : datastore;
      const tuning = await tuned(model, memory, options, context);
      const weights = tuning?.best ?? givenWeights(options);
      const system = knnLmSystem(model, memory, { ...weights, neighbours: options.knnK });
      return withDatastore(system, datastore, {
        ...(datastore && { datastore: { ...datastore.manifest, tokens: datastore.size, share } }),
        neighbours: options.knnK,
        ...(options.knnTokens !== 'own' && { tokens: options.knnTokens }),
        ...pickWeights(weights),
        ...(tuning && { tuning }),
      });
    } catch (error) {
      await datastore?.dispose();
      throw error;
    }
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
  const isGiven = (key: keyof Values) => options[key] !== undefined;
  const refuse = (keys: readonly (keyof Values)[], because: string) => {
    const found = keys.find(isGiven);
    if (found !== undefined) throw new UsageError(`${option(found)} has no meaning ${because}`);
  };
  if (datastore === undefined) refuse(['knnTemperature', 'knnLambda'], `without ${option('datastore')}`);
  if (datastore === undefined && options.knnTokens !== 'own')
    throw new UsageError(`${option('knnTokens')} has no meaning without ${option('datastore')}`);
  if (!cache) refuse(['cacheTheta', 'cacheLambda'], `without ${option('cache', true)}`);
  if (tuneData !== undefined) {
    refuse(
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
  ).find(([key, isNeeded]) => isNeeded && !isGiven(key));
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
export interface TuneKnnLmOnOptions extends Pick<SystemContext, 'onProgress'> {
  readonly device?: SystemContext['device'] | undefined;
  readonly threads?: number | undefined;
  /** Windows in which the text is read. */
  readonly windows: TextWindows;
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
  const {
    windows,
    tokens = OPTIONS.tuneTokens.default,
    neighbours,
    cache,
    onProgress,
    device,
    threads,
  } = options;
  const segments: Segment[] = [];
  let rest = tokens;
  for await (const document of documents) {
    for (const segment of documentSegments({ model }, document, windows, rest).segments) {
      segments.push(segment);
      rest -= segment.ids.length - segment.from;
    }
    if (rest <= 0) break;
  }
  const recaller = new Recaller(model, { memory, neighbours, cache });
  try {
    const recalled = [];
    let done = 0;
    const compute = { ...(device && { device }), ...(threads && { threads }) };
    for await (const each of recaller.recall(segments, compute)) {
      recalled.push(each);
      done += each.base.length;
      onProgress?.({ stage: 'recall', done, total: tokens - Math.max(0, rest), unit: 'tokens' });
    }
    return tuneKnnLm(recalled, options.grid);
  } finally {
    await recaller.dispose();
  }
}

const withDatastore = (
  system: LanguageSystem,
  datastore: TokenDatastore | undefined,
  settings: Readonly<Record<string, unknown>>,
): LanguageSystem => ({
  ...system,
  settings,
  async dispose() {
    await system.dispose();
    await datastore?.dispose();
  },
});
