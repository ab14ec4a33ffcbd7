import type { TrainCallbacks } from '../callbacks.ts';
import { type LanguageModelTrainResult, trainOnWindows } from '../language-model/train-language-model.ts';
import type { TrimeTrainOptions } from './options.ts';
import { trimeTraining } from './trime-training.ts';

/**
 * Trains a language model with one softmax over the vocabulary and a memory of other tokens (TRIME). The loss is `memorySoftmaxLoss`, over
 * the tokens of the batch. Everything else is as in `trainLanguageModel`. The result is a usual language model, which is best read with a
 * memory: `trimeSystem`, and `undrift lm eval --method trime`.
 *
 * During training, the perplexity is measured with the local memory. The first `memoryWarmup` of the batches have an empty memory.
 *
 * @param given  functions to call during training
 * @throws UsageError for options that are unknown, out of range or contradict each other
 * @throws DataError with file and line for invalid texts
 * @throws InterruptedError when `signal` fires, after saving what there is to save
 * @paper Zhong, Lei, Chen 2022: "Training Language Models with Memory Augmentation"
 */
export async function trainTrime(
  options: TrimeTrainOptions,
  given: TrainCallbacks = {},
): Promise<LanguageModelTrainResult> {
  return await trainOnWindows(trimeTraining, options, given);
}
