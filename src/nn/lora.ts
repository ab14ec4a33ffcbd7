import { add, matmul } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { ParameterSpec, Parameters } from './parameters.ts';

/** What is added to the matrix of a linear layer: the names of A and B, and the factor α / r. */
export interface Adapter {
  readonly a: string;
  readonly b: string;
  readonly scale: number;
  readonly layout: NonNullable<ParameterSpec['linear']>;
}

/**
 * The two trained matrices that LoRA (Hu et al. 2021, arXiv:2106.09685) puts beside the matrix W of a linear layer:
 *
 *     W' = W + (α / r) B A,     A [r, inputs] uniform within ± 1/√inputs,     B [outputs, r] zero
 *
 * so that W' = W at the start. Names and initial values are those of Python's peft. Where W lies as [inputs, outputs] the product
 * is added transposed.
 *
 * @param spec  of W, whose `linear` says how it lies
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
 * Parameters as an architecture asks for them, adapted matrices with what is added: architectures know nothing of LoRA.
 *
 * The sum is made anew in every run of a program. The other way, x Aᵀ Bᵀ beside x Wᵀ, would make no gradient as large as W, but more
 * of the size of the hidden states, and every linear map would have to know. Processor time of the step of `bench:fine-tuning` at rank
 * 8: 1,040 ms by the sum and 1,105 by products for queries and values, 1,398 and 1,254 for all linear layers.
 */
export function withAdapters(p: Parameters, adapters: ReadonlyMap<string, Adapter>): Parameters {
  const sums = new Map<string, Tensor>();
  return (name) => {
    const adapter = adapters.get(name);
    if (!adapter) return p(name);
    const sum = sums.get(name) ?? add(p(name), change(p(adapter.a), p(adapter.b), adapter));
    // Both sides of a dual encoder ask for it in one graph: one product, one gradient.
    sums.set(name, sum);
    return sum;
  };
}

const change = (a: Tensor, b: Tensor, { scale: alpha, layout }: Adapter): Tensor =>
  layout === 'outputs-inputs' ? matmul(b, a, { alpha }) : matmul(a, b, { transA: true, transB: true, alpha });

/** W' of an adapted matrix as numbers, rounded once. */
export function adaptedWeight(
  weight: Float32Array,
  { a, b }: { a: Float32Array; b: Float32Array },
  { rank, adapter }: { rank: number; adapter: Adapter },
): Float32Array<ArrayBuffer> {
  const inputs = a.length / rank;
  const outputs = b.length / rank;
  const sum = new Float32Array(weight.length);
  const row = new Float64Array(inputs);
  // Place of W'[output, input].
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
