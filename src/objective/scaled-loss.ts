import { mul } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { HostTensor } from '../runtime/host-tensor.ts';
import type { LossScale } from '../runtime/loss-scale.ts';

const INPUT = 'lossScale';

/** A run, with a loss scale where it multiplies in half precision. */
interface MaybeScaled {
  readonly lossScale?: LossScale;
}

/** What a program differentiates: the loss, times the run's loss scale where there is one. */
export const scaledLoss = (loss: Tensor, { lossScale }: MaybeScaled): Tensor =>
  lossScale ? mul(loss, loss.graph.input(INPUT, 'f32', [])) : loss;

/** The program's input for it. */
export const lossScaleFeeds = ({ lossScale }: MaybeScaled): Readonly<Record<string, HostTensor>> =>
  lossScale ? { [INPUT]: lossScale.tensor } : {};
