import { backward } from '../src/grad/backward.ts';
import type { Tensor } from '../src/graph/tensor.ts';
import { type HostTensor, scalarValue } from '../src/runtime/host-tensor.ts';
import { evaluate, numbers } from './evaluate.ts';

/**
 * Computes a loss, its gradient with respect to each f32 input, and other results, as numbers.
 *
 * @param build  returns `loss` f32[], which is differentiated, and other results, which are only evaluated
 */
export async function lossAndGradients(
  inputs: Readonly<Record<string, HostTensor>>,
  build: (tensors: Record<string, Tensor>) => Record<string, Tensor> & { loss: Tensor },
): Promise<{
  loss: number;
  gradients: Record<string, number[]>;
  others: Record<string, number[]>;
}> {
  const wanted = Object.keys(inputs).filter((name) => inputs[name]!.dtype === 'f32');
  const results = await evaluate(inputs, (tensors) => {
    const { loss, ...others } = build(tensors);
    const gradients = backward(
      loss,
      wanted.map((name) => tensors[name]!),
    );
    const named = (prefix: string, entries: [string, Tensor][]) =>
      Object.fromEntries(entries.map(([name, tensor]) => [`${prefix}/${name}`, tensor]));
    return {
      loss,
      ...named(
        'gradient',
        wanted.map((name, i) => [name, gradients[i]!]),
      ),
      ...named('other', Object.entries(others)),
    };
  });
  const valuesOf = (prefix: string) =>
    Object.fromEntries(
      Object.entries(results).flatMap(([name, tensor]) =>
        name.startsWith(`${prefix}/`) ? [[name.slice(prefix.length + 1), numbers(tensor)]] : [],
      ),
    );
  return { loss: scalarValue(results.loss), gradients: valuesOf('gradient'), others: valuesOf('other') };
}
