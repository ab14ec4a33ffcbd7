import { mul } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { HostTensor } from '../runtime/host-tensor.ts';
import type { MethodContext } from './method.ts';

const INPUT = 'lossScale';

/** What a program differentiates: the loss, times the run's loss scale where there is one. */
export const scaledLoss = (loss: Tensor, { lossScale }: Pick<MethodContext, 'lossScale'>): Tensor =>
  lossScale ? mul(loss, loss.graph.input(INPUT, 'f32', [])) : loss;

/** The program's input for it. */
export const lossScaleFeeds = ({
  lossScale,
}: Pick<MethodContext, 'lossScale'>): Readonly<Record<string, HostTensor>> =>
  lossScale ? { [INPUT]: lossScale.tensor } : {};
