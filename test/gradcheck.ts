import { expect } from 'vitest';
import { backward } from '../src/grad/backward.ts';
import { type Dim, evaluateDim } from '../src/graph/dims.ts';
import { Graph } from '../src/graph/graph.ts';
import type { Tensor } from '../src/graph/tensor.ts';
import { elementCount } from '../src/onnx/dtypes.ts';
import { type HostTensor, hostTensor } from '../src/runtime/host-tensor.ts';
import { Program } from '../src/runtime/program.ts';
import { permutation, rngKey, uniform } from '../src/util/rng.ts';
import { sameAsOnCpu, TEST_COMPUTE } from './test-device.ts';

/**
 * Input of a checked function: its declared shape, its actual dimensions, and the interval of its random
 * values.
 */
export interface CheckedInput {
  shape: readonly Dim[];
  dims?: readonly number[];
  low?: number;
  high?: number;
  /** Given values in place of random ones. An i64 tensor is an index and gets no gradient. */
  value?: HostTensor;
}

/** Options of `gradcheck`. */
export interface GradcheckOptions {
  /** Half the distance between the two evaluations of a central difference. */
  step?: number;
  /**
   * Allowed difference, relative to 1 + |numeric|. The error of f32 arithmetic divided by `step` is about
   * 1e-5. The rest is for curvature.
   */
  tolerance?: number;
  seed?: number;
  /**
   * Accepts a gradient of zero, for functions whose gradient is meant to vanish (empty tensors,
   * stop-gradient). Default false.
   */
  mayVanish?: boolean;
}

/**
 * Compares the gradient built by `backward` with central differences of the forward program, for every
 * element of every float input. The differentiated function is  L = Σ w·f(inputs)  with random fixed weights
 * w. Checks first that the gradient is not zero.
 */
export async function gradcheck(
  inputs: Record<string, CheckedInput>,
  build: (tensors: Record<string, Tensor>) => Tensor,
  options: GradcheckOptions = {},
): Promise<void> {
  const { step = 4e-3, tolerance = 2e-3, seed = 1 } = options;
  const graph = new Graph('gradcheck');
  const tensors: Record<string, Tensor> = {};
  const feeds: Record<string, HostTensor> = {};
  for (const [name, spec] of Object.entries(inputs)) {
    const value = spec.value ?? drawn(spec, name, seed);
    tensors[name] = graph.input(name, value.dtype, spec.shape);
    feeds[name] = value;
  }
  const y = build(tensors);
  graph.output('result', y);
  const weights = graph.input('weights', 'f32', y.shape);
  const wanted = Object.keys(inputs).filter((name) => feeds[name]!.dtype === 'f32');
  const gradients = backward(
    y,
    wanted.map((name) => tensors[name]!),
    { seed: weights },
  );
  for (const [i, name] of wanted.entries()) {
    expect(gradients[i]!.shape, `declared shape of the gradient of ${name}`).toEqual(tensors[name]!.shape);
    graph.output(`d_${name}`, gradients[i]!);
  }
  if (TEST_COMPUTE.device !== 'cpu') {
    const dims = evaluatedDims(y, tensors, feeds);
    const w = hostTensor('f32', dims, uniforms('weights', seed, elementCount(dims)));
    await sameAsOnCpu(graph, { ...feeds, weights: w });
    return;
  }

  const forwardGraph = new Graph('forward');
  const forwardTensors: Record<string, Tensor> = {};
  for (const [name, t] of Object.entries(tensors))
    forwardTensors[name] = forwardGraph.input(name, t.dtype, t.shape);
  forwardGraph.output('result', build(forwardTensors));
  const forward = await Program.compile(forwardGraph, { threads: 1 });
  const program = await Program.compile(graph, { threads: 1 });
  try {
    const usable = (p: Program, all: Record<string, HostTensor>) =>
      Object.fromEntries(p.inputs.map(({ name }) => [name, all[name]!]));
    const y0 = (await forward.run(usable(forward, feeds))).result!;
    const w = hostTensor('f32', y0.dims, uniforms('weights', seed, y0.data.length));
    const outputs = await program.run(usable(program, { ...feeds, weights: w }));
    const loss = async (): Promise<number> => {
      const { data } = (await forward.run(usable(forward, feeds))).result!;
      let total = 0;
      for (let i = 0; i < data.length; i++) total += Number(data[i]) * Number(w.data[i]);
      return total;
    };
    let largest = 0;
    for (const name of wanted) {
      const x = feeds[name]!.data as Float32Array;
      const gradient = outputs[`d_${name}`]!;
      expect(gradient.dims, `shape of the gradient of ${name}`).toEqual(feeds[name]!.dims);
      for (let i = 0; i < x.length; i++) {
        const original = x[i]!;
        x[i] = original + step;
        const [upper, above] = [x[i]!, await loss()];
        x[i] = original - step;
        const [lower, below] = [x[i]!, await loss()];
        x[i] = original;
        const numeric = (above - below) / (upper - lower);
        const symbolic = Number(gradient.data[i]);
        largest = Math.max(largest, Math.abs(numeric));
        const difference = Math.abs(numeric - symbolic) / (1 + Math.abs(numeric));
        expect(difference, `d ${name}[${i}]: differences say ${numeric}, the rule ${symbolic}`).toBeLessThan(
          tolerance,
        );
      }
    }
    if (!options.mayVanish) expect(largest, 'the gradient must not be zero everywhere').toBeGreaterThan(1e-3);
  } finally {
    await forward.dispose();
    await program.dispose();
  }
}

/** Evaluates the dims of a tensor, given those of the fed inputs. */
function evaluatedDims(
  y: Tensor,
  inputs: Readonly<Record<string, Tensor>>,
  feeds: Readonly<Record<string, HostTensor>>,
): number[] {
  const sizes = new Map<string, number>();
  for (const [name, { shape }] of Object.entries(inputs)) {
    for (const [axis, dim] of shape.entries()) sizes.set(String(dim), feeds[name]!.dims[axis]!);
  }
  return y.shape.map((dim) => (typeof dim === 'number' ? dim : evaluateDim(dim, sizes)!));
}

function drawn(spec: CheckedInput, name: string, seed: number): HostTensor {
  const dims = spec.dims ?? (spec.shape as number[]);
  const { low = -1, high = 1 } = spec;
  // Each of n equal cells gets one value, in random order and at least half a cell apart. A maximum therefore
  // stays at the same element while one value moves by `step`.
  const n = elementCount(dims);
  const cells = permutation(rngKey(seed, 0, `${name}/cells`), n);
  const data = uniforms(name, seed, n).map((u, i) => low + ((high - low) * (cells[i]! + u / 2)) / n);
  return hostTensor('f32', dims, data);
}

function uniforms(name: string, seed: number, length: number): Float32Array<ArrayBuffer> {
  const values = new Float32Array(length);
  uniform(rngKey(seed, 0, name), values);
  return values;
}
