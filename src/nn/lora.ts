import { add, matmul } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { ParameterSpec, Parameters } from './parameters.ts';

/** LoRA adapter of the matrix of a linear layer. */
export interface Adapter {
  /** Name of the parameter A [r, inputs]. */
  readonly a: string;
  /** Name of the parameter B [outputs, r]. */
  readonly b: string;
  /** Factor α / r of the product B A. */
  readonly scale: number;
  /** Layout of the adapted matrix. */
  readonly layout: NonNullable<ParameterSpec['linear']>;
}

/**
 * Declares the two trainable matrices that LoRA adds to the matrix W of a linear layer:
 *
 *     W' = W + (α / r) B A,     A [r, inputs] uniform within ± 1/√inputs,     B [outputs, r] zero
 *
 * At the start, W' = W. Names and initial values are those of Python's peft. If W is stored as [inputs,
 * outputs], the product is added transposed.
 *
 * Paper: Hu et al. 2021, arXiv:2106.09685.
 *
 * @param spec specification of W; its field `linear` gives the layout
 */
export function loraParameters(
  spec: ParameterSpec,
  { rank, alpha }: { rank: number; alpha: number },
): { specs: [a: ParameterSpec, b: ParameterSpec]; adapter: Adapter } {
  const layout = spec.linear!;
  const [first, second] = spec.shape as [number, number];
  const [outputs, inputs] = layout === 'outputs-inputs' ? [first, second] : [second, first];
  const module = spec.name.replace(/\.weight$/, '');
  const adapter = {
    a: `${module}.lora_A.weight`,
    b: `${module}.lora_B.weight`,
    scale: alpha / rank,
    layout,
  };
  return {
    adapter,
    specs: [
      {
        name: adapter.a,
        shape: [rank, inputs],
        init: { kind: 'uniform', bound: 1 / Math.sqrt(inputs) },
        decay: true,
      },
      { name: adapter.b, shape: [outputs, rank], init: { kind: 'constant', value: 0 }, decay: true },
    ],
  };
}

/**
 * Wraps parameters so that adapted matrices are returned as W + (α / r) B A. Architectures need no knowledge
 * of LoRA.
 *
 * The sum is computed in every run of a program. The alternative, x Aᵀ Bᵀ added to x Wᵀ, avoids a gradient as
 * large as W, but adds gradients of the size of the hidden states, and every linear layer would have to
 * support it. Processor time of the step of `bench:fine-tuning` at rank 8: with queries and values adapted,
 * 1,040 ms by the sum and 1,105 ms by products; with all linear layers adapted, 1,398 ms and 1,254 ms.
 */
export function withAdapters(p: Parameters, adapters: ReadonlyMap<string, Adapter>): Parameters {
  const sums = new Map<string, Tensor>();
  return (name) => {
    const adapter = adapters.get(name);
    if (!adapter) return p(name);
    const sum = sums.get(name) ?? add(p(name), change(p(adapter.a), p(adapter.b), adapter));
    // Both sides of a dual encoder may use the matrix in one graph. They share one product and one gradient.
    sums.set(name, sum);
    return sum;
  };
}

const change = (a: Tensor, b: Tensor, { scale: alpha, layout }: Adapter): Tensor =>
  layout === 'outputs-inputs' ? matmul(b, a, { alpha }) : matmul(a, b, { transA: true, transB: true, alpha });

/** Computes the values of an adapted matrix W', rounded once to f32. */
export function adaptedWeight(
  weight: Float32Array,
  { a, b }: { a: Float32Array; b: Float32Array },
  { rank, adapter }: { rank: number; adapter: Adapter },
): Float32Array<ArrayBuffer> {
  const inputs = a.length / rank;
  const outputs = b.length / rank;
  const sum = new Float32Array(weight.length);
  const row = new Float64Array(inputs);
  // Strides of W'[output, input].
  const [perOutput, perInput] = adapter.layout === 'outputs-inputs' ? [inputs, 1] : [1, outputs];
  for (let output = 0; output < outputs; output++) {
    row.fill(0);
    for (let k = 0; k < rank; k++) {
      const factor = adapter.scale * b[output * rank + k]!;
      for (let input = 0; input < inputs; input++) row[input]! += factor * a[k * inputs + input]!;
    }
    for (let input = 0; input < inputs; input++) {
      const place = output * perOutput + input * perInput;
      sum[place] = weight[place]! + row[input]!;
    }
  }
  return sum;
}
