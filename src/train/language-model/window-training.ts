import type { Graph } from '../../graph/graph.ts';
import type { Tensor } from '../../graph/tensor.ts';
import type { TokenInputs } from '../../models/architectures/architecture.ts';
import type { Decoder } from '../../models/language/decoder.ts';
import type { DeclaredParameters } from '../../nn/parameters.ts';
import type { Feeds } from '../../runtime/program.ts';
import type { PackedWindows, WindowBatch } from '../../text/packed-windows.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import type { TrainCallbacks } from '../callbacks.ts';
import type { LanguageModelSettings, OwnSettings } from './settings.ts';
import { randomBatcher, type WindowBatcher } from './window-batcher.ts';

/** Purpose of a loss: to be differentiated, or to measure the perplexity. */
export type LossUse = 'train' | 'measure';

/** Loss of batches of windows. */
export interface WindowLoss {
  /**
   * Builds the mean loss of the predicted tokens of a batch, f32[], in nats per token.
   *
   * @param inputs  tokens of the batch `windows`. Further inputs are declared by the loss
   */
  build(
    graph: Graph,
    given: {
      readonly decoder: Decoder;
      readonly declared: DeclaredParameters;
      readonly inputs: TokenInputs;
      readonly dropoutRatio?: number | undefined;
    },
    use: LossUse,
  ): Tensor;
  /**
   * Makes the tensors for the further inputs.
   *
   * @param draw  number of the batch in the run, from 0; undefined where the perplexity is measured
   */
  feeds(batch: WindowBatch, draw: number | undefined): Feeds;
}

/** Way of training a language model on windows of texts: what differs between next-token training and training with memory. */
export interface WindowTraining extends OwnSettings {
  /** Words for the model card. */
  readonly description: string;
  /** Tells whether short documents share windows. */
  shares(settings: LanguageModelSettings): boolean;
  /** Makes the batches of a run. */
  batcher(
    windows: PackedWindows,
    given: { readonly settings: LanguageModelSettings; readonly tokenizer: Tokenizer } & TrainCallbacks,
  ): WindowBatcher;
  /** Makes the loss of a run. @param totalBatches  number of batches of the run */
  loss(settings: LanguageModelSettings, totalBatches: number): WindowLoss;
}

/** Loss of the next token. */
export const NEXT_TOKEN_LOSS: WindowLoss = {
  build: (_, { decoder, declared, inputs, dropoutRatio }) =>
    decoder.nextTokenLoss(declared.get, inputs, { dropoutRatio }),
  feeds: () => ({}),
};

/** Training on next tokens. */
export const nextTokenTraining: WindowTraining = {
  id: 'language-model',
  description: 'trained to predict the next token',
  options: {},
  complete: (settings) => settings,
  shares: () => true,
  batcher: (windows, { settings }) => randomBatcher(windows.lengths, settings),
  loss: () => NEXT_TOKEN_LOSS,
};
