import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { backward } from '../../src/grad/backward.ts';
import { Graph } from '../../src/graph/graph.ts';
import { gather, matmul, range } from '../../src/graph/ops.ts';
import type { Tensor } from '../../src/graph/tensor.ts';
import { readSafetensors } from '../../src/io/safetensors.ts';
import { softmaxCrossEntropy } from '../../src/losses/softmax-cross-entropy.ts';
import type { BertConfig } from '../../src/models/architectures/bert.ts';
import { Encoder } from '../../src/models/encoder.ts';
import { TokenFeeds } from '../../src/models/token-feeds.ts';
import { declareParameters, ROWS_INPUT } from '../../src/nn/parameters.ts';
import { adamw } from '../../src/optim/adamw.ts';
import { float32, type HostTensor, hostTensor, scalarValue } from '../../src/runtime/host-tensor.ts';
import { gradientOutput, Learner } from '../../src/runtime/learner.ts';
import { Program } from '../../src/runtime/program.ts';

type Side = 'query' | 'document';
const SIDES: readonly Side[] = ['query', 'document'];

interface Golden {
  config: BertConfig & Record<string, unknown>;
  temperature: number;
  learningRate: number;
  weightDecay: number;
  maxGradientNorm: number;
  usedTokens: number;
  lengths: Record<Side, number[]>;
  steps: ({ loss: number; gradientNorm: number } & Record<Side, number[][]>)[];
}

const fixture = (name: string) => new URL(`fixtures/${name}`, import.meta.url).pathname;
const golden = JSON.parse(readFileSync(fixture('encoder.json'), 'utf8')) as Golden;
const encoder = new Encoder({ model: golden.config, pooling: 'mean', normalize: true });
const names = encoder.specs.map((spec) => spec.name);

/** Zero in exact arithmetic (a softmax does not see a constant added to all its inputs), so rounding noise on both sides. */
const vanishes = (name: string) => name.endsWith('self.key.bias');

function trainingGraph(): Graph {
  const graph = new Graph('parity');
  const rows = graph.input(ROWS_INPUT, 'i64', [ROWS_INPUT]);
  const p = declareParameters(graph, encoder.specs, (table) => gather(table, rows));
  const [queries, documents] = SIDES.map((side) => {
    const shape = [side, `${side}Tokens`];
    const ids = graph.input(`${side}/ids`, 'i64', shape);
    return encoder.embed(p.get, { ids, mask: graph.input(`${side}/mask`, 'f32', shape) });
  }) as [Tensor, Tensor];
  const scores = matmul(queries, documents, { transB: true, alpha: 1 / golden.temperature });
  const loss = softmaxCrossEntropy(scores, range(graph, 'query'));
  graph.output('loss', loss);
  const gradients = backward(loss, [...p.targets.values()]);
  for (const [i, name] of [...p.targets.keys()].entries()) graph.output(gradientOutput(name), gradients[i]!);
  return graph;
}

const feeder = new TokenFeeds(golden.config.vocab_size);

/** Token feeds of one of the golden steps. */
function batchFeeds(step: Golden['steps'][number]): Record<string, HostTensor> {
  const batches = SIDES.map((side) => {
    const texts = step[side];
    const tokens = texts[0]!.length;
    const ids = Int32Array.from(texts.flat());
    const mask = Float32Array.from(ids, (_, i) =>
      i % tokens < golden.lengths[side][Math.floor(i / tokens)]! ? 1 : 0,
    );
    return [side, { ids, mask, batch: texts.length, tokens }] as const;
  });
  return feeder.feeds(Object.fromEntries(batches));
}

/** Rows of a lookup table's gradient, put back at their places in the whole table. */
function wholeTable(gradient: HostTensor, rows: HostTensor, like: Float32Array): Float32Array {
  const full = new Float32Array(like.length);
  const width = gradient.dims[1]!;
  for (const [i, row] of rows.data.entries()) {
    full.set(float32(gradient).subarray(i * width, (i + 1) * width), Number(row) * width);
  }
  return full;
}

const norm = (values: ArrayLike<number>) => Math.hypot(...Array.from(values));
const difference = (a: Float32Array, b: Float32Array) => a.map((value, i) => value - b[i]!);

describe('a BERT encoder, its gradients and AdamW agree with PyTorch', () => {
  let program: Program;
  let learner: Learner;
  const expected: Record<string, Float32Array> = {};
  const initial: Record<string, Float32Array> = {};
  const weights: Record<string, HostTensor> = {};
  const losses: number[] = [];
  const norms: number[] = [];
  let first: Record<string, Float32Array>;

  beforeAll(async () => {
    const { tensors } = await readSafetensors(fixture('encoder.safetensors'));
    for (const [name, { dims, data }] of Object.entries(tensors)) {
      expected[name] = data as Float32Array;
      if (!name.startsWith('weight/')) continue;
      initial[name.slice(7)] = data as Float32Array;
      weights[name.slice(7)] = hostTensor('f32', dims, data.slice());
    }
    program = await Program.compile(trainingGraph(), { threads: 1 });
    learner = await Learner.create(encoder.specs, weights, adamw(), { threads: 1 });
    for (const step of golden.steps) {
      const feeds = batchFeeds(step);
      const results = await program.run(
        { ...learner.parameters, ...feeds },
        { into: learner.gradientBuffers },
      );
      const byName = Object.fromEntries(names.map((name) => [name, results[gradientOutput(name)]!]));
      losses.push(scalarValue(results.loss));
      first ??= Object.fromEntries(
        encoder.specs.map(({ name, lookup }) => [
          name,
          lookup
            ? wholeTable(byName[name]!, feeds[ROWS_INPUT]!, initial[name]!)
            : float32(byName[name]).slice(),
        ]),
      );
      norms.push(await learner.apply({ byName, rows: feeds[ROWS_INPUT] }, golden));
    }
  });
  afterAll(async () => {
    await program?.dispose();
    await learner?.dispose();
  });

  it('has the parameters that the golden file has', () => {
    expect(Object.keys(initial).sort()).toEqual([...names].sort());
    for (const { name, shape } of encoder.specs) {
      expect(weights[name]!.dims, name).toEqual(shape);
    }
  });

  it('loss of every step, and the norm that clips its gradients', () => {
    for (const [i, step] of golden.steps.entries()) {
      expect(Math.abs(losses[i]! - step.loss) / step.loss).toBeLessThan(1e-5);
      expect(Math.abs(norms[i]! - step.gradientNorm) / step.gradientNorm).toBeLessThan(1e-4);
      expect(step.gradientNorm).toBeGreaterThan(golden.maxGradientNorm);
    }
  });

  it('every gradient, as a whole to 1e-4 and element by element', () => {
    for (const name of names) {
      const [ours, theirs] = [first[name]!, expected[`gradient/${name}`]!];
      if (vanishes(name)) {
        expect(Math.max(norm(ours), norm(theirs)), name).toBeLessThan(1e-6);
        continue;
      }
      const size = norm(theirs);
      expect(size, `the gradient of ${name} must not be zero`).toBeGreaterThan(1e-2);
      expect(norm(difference(ours, theirs)) / size, name).toBeLessThan(1e-4);
      // Elements far below the typical one carry the rounding errors of the typical ones.
      const floor = (0.1 * size) / Math.sqrt(theirs.length);
      for (const [i, value] of theirs.entries()) {
        const error = Math.abs(ours[i]! - value) / Math.max(Math.abs(value), floor);
        expect(error, `${name}[${i}]: ${ours[i]}, PyTorch ${value}`).toBeLessThan(1e-4);
      }
    }
  });

  it('padding and tokens outside the batch get no gradient', () => {
    const width = golden.config.hidden_size;
    const words = first['embeddings.word_embeddings.weight']!;
    expect(norm(words.subarray(0, width))).toBe(0);
    expect(norm(words.subarray(width, 2 * width))).toBeGreaterThan(0);
    expect(norm(words.subarray(golden.usedTokens * width))).toBe(0);
  });

  it('parameters after three steps of AdamW to 1e-4, their movement (a hundredth of them) to 5e-4', () => {
    for (const name of names) {
      // Adam divides by the gradient's size, so noise in place of a gradient becomes a step of arbitrary direction.
      if (vanishes(name)) continue;
      const used = name.includes('word_embeddings')
        ? golden.usedTokens * golden.config.hidden_size
        : undefined;
      const before = initial[name]!.subarray(0, used);
      const ours = float32(weights[name]).subarray(0, used);
      const theirs = expected[`trained/${name}`]!.subarray(0, used);
      const moved = norm(difference(theirs, before));
      expect(moved, `${name} must have moved`).toBeGreaterThan(2e-3);
      const error = norm(difference(ours, theirs));
      expect(error / norm(theirs), name).toBeLessThan(1e-4);
      expect(error / moved, `movement of ${name}`).toBeLessThan(5e-4);
    }
  });

  it('table rows that no batch touched have not moved, where PyTorch decays them', () => {
    const name = 'embeddings.word_embeddings.weight';
    const from = golden.usedTokens * golden.config.hidden_size;
    const [ours, before] = [float32(weights[name]).subarray(from), initial[name]!.subarray(from)];
    expect(ours).toEqual(before);
    expect(expected[`trained/${name}`]!.subarray(from)).not.toEqual(before);
  });
});
