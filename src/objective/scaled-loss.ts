import { mul } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { HostTensor } from '../runtime/host-tensor.ts';
import type { LossScale } from '../runtime/loss-scale.ts';

const INPUT = 'lossScale';

/** Parts of a run that may hold a loss scale: where matrices are multiplied in half precision. */
interface MaybeScaled {
  readonly lossScale?: LossScale | undefined;
}

/**
 * Returns the tensor that a program differentiates: the loss, times the run's loss scale where there is one.
 *
 * @param loss  f32[]
 */
export const scaledLoss = (loss: Tensor, { lossScale }: MaybeScaled): Tensor =>
  lossScale ? mul(loss, loss.graph.input(INPUT, 'f32', [])) : loss;

/** Returns the value of the program input that `scaledLoss` declares; empty where there is no loss scale. */
export const lossScaleFeeds = ({ lossScale }: MaybeScaled): Readonly<Record<string, HostTensor>> =>
  lossScale ? { [INPUT]: lossScale.tensor } : {};
