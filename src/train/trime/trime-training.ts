import { memorySoftmaxLoss } from '../../losses/memory-softmax.ts';
import { hostTensor } from '../../runtime/host-tensor.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import { rngKey, uniform } from '../../util/rng.ts';
import type { LanguageModelSettings } from '../language-model/settings.ts';
import {
  chainBatcher,
  consecutiveBatcher,
  randomBatcher,
  type WindowBatcher,
} from '../language-model/window-batcher.ts';
import type { WindowLoss, WindowTraining } from '../language-model/window-training.ts';
import { memoryMarks, type TrimeMemory } from './memory-marks.ts';
import { type TRIME_BATCHINGS, TRIME_OPTIONS } from './options.ts';
import { windowNeighbours } from './window-neighbours.ts';

/** Settings of a run with a memory; null where the memory or the batching has no such setting. */
interface TrimeSettings extends LanguageModelSettings {
  readonly memory: TrimeMemory;
  readonly batching: (typeof TRIME_BATCHINGS)[number];
  readonly consecutiveWindows: number | null;
  readonly memoryWarmup: number;
  readonly localOff: number | null;
  readonly otherDocuments: boolean;
  readonly detachMemory: boolean;
}

/** Batching of each memory, by default. */
const BATCHING = { local: 'random', long: 'consecutive', external: 'bm25' } as const;
/** Probability that the local memory is off beside the external one, by default. */
const LOCAL_OFF = 0.9;
/** Input of the marks of a batch. */
const MARKS = 'windows/marks';

/** Training with a memory in the softmax (TRIME). */
export const trimeTraining: WindowTraining = {
  id: 'trime',
  description:
    'trained to predict the next token with one softmax over the vocabulary and a memory of other tokens (TRIME)',
  options: TRIME_OPTIONS,
  complete,
  shares: (settings) => (settings as TrimeSettings).batching !== 'consecutive',
  batcher(windows, { settings, tokenizer, onProgress }): WindowBatcher {
    const { batching, batchSize, consecutiveWindows, otherDocuments, seed } = settings as TrimeSettings;
    const options = { batchSize, seed };
    if (batching === 'random') return randomBatcher(windows.lengths, options);
    if (batching === 'consecutive')
      return consecutiveBatcher(windows.documentRows, { ...options, run: consecutiveWindows! });
    const neighbours = windowNeighbours(windows, tokenizer, {
      otherDocuments,
      ...(onProgress && { onProgress }),
    });
    return chainBatcher(neighbours, options);
  },
  loss: (settings, totalBatches) => trimeLoss(settings as TrimeSettings, totalBatches),
};

function complete(given: LanguageModelSettings): TrimeSettings {
  const settings = given as TrimeSettings;
  const { memory, batchSize, consecutiveWindows, localOff, otherDocuments } = settings;
  const batching = settings.batching ?? BATCHING[memory];
  const foreign = localOff !== null ? 'localOff' : otherDocuments ? 'otherDocuments' : undefined;
  if (foreign !== undefined && memory !== 'external') {
    throw new UsageError(`${option(foreign)} has no meaning with ${option('memory', memory)}`, {
      help: `leave it out, or train with ${option('memory', 'external')}`,
    });
  }
  if (consecutiveWindows !== null && batching !== 'consecutive') {
    throw new UsageError(
      `${option('consecutiveWindows')} has no meaning with ${option('batching', batching)}`,
      {
        help: `leave it out, or give ${option('batching', 'consecutive')}`,
      },
    );
  }
  if (consecutiveWindows !== null && consecutiveWindows > batchSize) {
    throw new UsageError(
      `${option('consecutiveWindows', consecutiveWindows)} is more than the ${batchSize} windows of a batch`,
      { help: `give ${option('batchSize', consecutiveWindows)} or more` },
    );
  }
  return {
    ...settings,
    batching,
    consecutiveWindows: batching === 'consecutive' ? (consecutiveWindows ?? batchSize) : null,
    localOff: memory === 'external' ? (localOff ?? LOCAL_OFF) : null,
  };
}

/**
 * Makes the loss of a run. To measure the perplexity, the memory is the local one, whatever the run is trained with: it needs nothing but
 * the window.
 */
function trimeLoss(
  { memory, memoryWarmup, localOff, otherDocuments, detachMemory: detached, seed }: TrimeSettings,
  totalBatches: number,
): WindowLoss {
  const warmBatches = Math.floor(memoryWarmup * totalBatches);
  return {
    build(graph, { decoder, declared, inputs, dropoutRatio }, use) {
      const marks = graph.input(MARKS, 'i64', [...inputs.ids.shape, 3]);
      const { hidden, state } = decoder.hiddenAndState(declared.get, inputs, {
        state: 'feed-forward-input',
        dropoutRatio,
      });
      const others = use === 'train' && memory === 'external';
      const tokens = { states: state, marks };
      return memorySoftmaxLoss(hidden, decoder.matrix(declared.get), tokens, inputs, {
        ...{ documents: inputs.documents, others, detached },
      });
    },
    feeds(batch, draw) {
      const of = () => {
        if (draw === undefined) return memoryMarks(batch, 'local');
        if (draw < warmBatches) return memoryMarks(batch, 'none');
        return memoryMarks(batch, memory, { local: !isOff(localOff ?? 0, seed, draw), otherDocuments });
      };
      return { [MARKS]: hostTensor('i64', [batch.batch, batch.tokens, 3], of()) };
    },
  };
}

/** Draws whether the local memory is off in a batch. */
function isOff(probability: number, seed: number, draw: number): boolean {
  const drawn = new Float32Array(1);
  uniform(rngKey(seed, draw, 'trime/local'), drawn);
  return drawn[0]! < probability;
}
