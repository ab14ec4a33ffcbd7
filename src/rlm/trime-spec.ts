import { streamTextCorpus } from '../data/text-corpus.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { type OptionTable, type OptionValues, optionValues } from '../util/option-table.ts';
import {
  checkDatastoreOptions,
  DATASTORE_OPTIONS,
  recallDocuments,
  refuseGiven,
  TUNING_OPTIONS,
  withDatastore,
} from './datastore-options.ts';
import type { SystemContext, SystemSpec } from './system-spec.ts';
import type { TokenMemory } from './token-datastore.ts';
import { type TrimeMemories, type TrimeWeights, trimeRecaller, trimeSystem } from './trime.ts';
import { type TrimeTuning, tuneTrime } from './tune-trime.ts';

const GROUP = { group: 'TRIME' } as const;

const OPTIONS = {
  localMemory: {
    ...GROUP,
    type: 'switch',
    default: true,
    negative: true,
    help: 'leave the earlier tokens of the window out of the softmax',
  },
  longTokens: {
    ...GROUP,
    type: 'integer',
    value: 'n',
    min: 0,
    default: 0,
    help: 'tokens of earlier windows of the document that are in the softmax too, at most',
  },
  ...DATASTORE_OPTIONS,
  externalInside: {
    ...GROUP,
    type: 'switch',
    default: true,
    negative: true,
    help: 'keep the nearest tokens of the datastore out of the softmax, and only mix them in beside it',
  },
  memoryTemperature: {
    ...GROUP,
    type: 'number',
    value: 'τ',
    above: 0,
    defaultHelp: '1, or tuned',
    help: 'temperature of the memory in the softmax',
  },
  externalTemperature: {
    ...GROUP,
    type: 'number',
    value: "τ'",
    above: 0,
    defaultHelp: '1, or tuned',
    help: 'temperature of the nearest tokens of the datastore beside the softmax',
  },
  externalLambda: {
    ...GROUP,
    type: 'number',
    value: 'λ',
    min: 0,
    max: 1,
    defaultHelp: '0, or tuned',
    help: 'weight of the nearest tokens of the datastore beside the softmax',
  },
  ...TUNING_OPTIONS,
} as const satisfies OptionTable;

type Values = OptionValues<typeof OPTIONS>;

/** TRIME as a kind of language system. */
export const trime: SystemSpec = {
  id: 'trime',
  summary: 'one softmax over the vocabulary and remembered tokens of the document and of a datastore',
  paper: {
    title: 'Training Language Models with Memory Augmentation',
    year: 2022,
    url: 'https://arxiv.org/abs/2205.12674',
  },
  options: OPTIONS,
  controls: [
    {
      name: 'trime-random-keys',
      method: 'trime',
      options: { knnTokens: 'random' },
      follows: ({ datastore, knnTokens = 'own' }) => datastore !== undefined && knnTokens === 'own',
    },
  ],
  async open(model, given, context) {
    const options = optionValues(OPTIONS, given);
    checkTogether(options);
    const memories = memoriesOf(options);
    return await withDatastore(model, options, context, async (memory) => {
      const tuning = await tuned(model, memory, options, context);
      const { temperature, externalTemperature, lambda }: TrimeWeights = tuning?.best ?? {
        temperature: options.memoryTemperature ?? 1,
        externalTemperature: options.externalTemperature ?? 1,
        lambda: options.externalLambda ?? 0,
      };
      const weights = { temperature, externalTemperature, lambda };
      const { neighbours: _, ...shown } = memories;
      return {
        system: trimeSystem(model, memory, { ...memories, ...weights }),
        settings: { ...shown, ...weights, ...(tuning && { tuning }) },
      };
    });
  },
};

const memoriesOf = ({ localMemory, longTokens, externalInside, knnK }: Values): TrimeMemories => ({
  local: localMemory,
  ...{ longTokens, externalInside, neighbours: knnK },
});

/** Refuses options that contradict each other. */
function checkTogether(options: Values): void {
  const { datastore, localMemory, longTokens, externalInside, tuneData } = options;
  checkDatastoreOptions(options);
  if (datastore === undefined) {
    refuseGiven(options, ['externalTemperature', 'externalLambda'], `without ${option('datastore')}`);
    if (!externalInside)
      throw new UsageError(
        `${option('externalInside', false)} has no meaning without ${option('datastore')}`,
      );
  }
  if (tuneData !== undefined) {
    const chosen = ['memoryTemperature', 'externalTemperature', 'externalLambda'] as const;
    refuseGiven(options, chosen, `with ${option('tuneData')}, which chooses it`);
  }
  if (datastore === undefined && !localMemory && longTokens === 0) {
    throw new UsageError('there is no memory', {
      help: `leave out ${option('localMemory', false)}, or give ${option('longTokens')} or ${option('datastore')}`,
    });
  }
  const isInside = localMemory || longTokens > 0 || (datastore !== undefined && externalInside);
  if (!isInside) {
    const without = [option('localMemory', false), option('externalInside', false)].join(' and ');
    refuseGiven(options, ['memoryTemperature'], `with ${without}: the softmax has no memory`);
  }
  const mixes = tuneData !== undefined || (options.externalLambda ?? 0) > 0;
  if (datastore !== undefined && !externalInside && !mixes) {
    throw new UsageError(`${option('externalInside', false)} leaves the datastore unread`, {
      help: `give ${option('externalLambda')}, or tune it with ${option('tuneData', 'dev.jsonl')}`,
    });
  }
  if (!mixes) refuseGiven(options, ['externalTemperature'], `unless ${option('externalLambda')} is above 0`);
}

async function tuned(
  model: LanguageModel,
  memory: TokenMemory | undefined,
  options: Values,
  { windows, onProgress, onNote, device, threads }: SystemContext,
): Promise<TrimeTuning | undefined> {
  const { tuneData, tuneTokens, externalInside } = options;
  if (tuneData === undefined) return undefined;
  const documents = streamTextCorpus(tuneData, { onNote: (note) => onNote?.(note) });
  const recaller = trimeRecaller(model, memory, memoriesOf(options));
  try {
    const recalled = await recallDocuments(recaller, model, documents, {
      ...{ windows, tokens: tuneTokens, onProgress, device, threads },
    });
    return tuneTrime(recalled, { dimension: model.decoder.hiddenSize, externalInside });
  } finally {
    await recaller.dispose();
  }
}
