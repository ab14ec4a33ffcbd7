import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { f32, numbers } from '../../test/evaluate.ts';
import { largestDifference } from '../../test/small-models.ts';
import { TEST_COMPUTE } from '../../test/test-device.ts';
import { backward } from '../grad/backward.ts';
import { Graph } from '../graph/graph.ts';
import { mul, sum } from '../graph/ops.ts';
import { readSafetensors } from '../io/safetensors.ts';
import { float32, type HostTensor } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';
import { takePrefix } from '../util/prefixes.ts';
import { chunkedCrossAttention, chunkedCrossAttentionParameters } from './chunked-cross-attention.ts';
import { encodeNeighbours, neighbourEncoderParameters } from './neighbour-encoder.ts';
import { declareParameters, initialValue } from './parameters.ts';

// Made by tools/reference/retro_golden.py, which computes every position alone.
const GOLDEN = fileURLToPath(new URL('fixtures/retro.safetensors', import.meta.url));
const [chunkTokens, heads, layers, crossLayers] = [3, 2, 2, [1]];
const SIZES = { hidden: 6, states: 8, heads, headSize: 4 };
const SPECS = [
  ...chunkedCrossAttentionParameters('cca', SIZES),
  ...neighbourEncoderParameters('enc', { ...SIZES, layers, crossLayers, inner: 10 }),
];

let golden: Record<string, HostTensor>;
let program: Program;
beforeAll(async () => {
  golden = (await readSafetensors(GOLDEN)).tensors as Record<string, HostTensor>;
  program = await Program.compile(makeGraph(), TEST_COMPUTE);
});
afterAll(() => program.dispose());

/** Encoder and attention, with all sizes but those of the weights named, and the gradients of Σ seed · read. */
function makeGraph(): Graph {
  const graph = new Graph('neighbours');
  const { get, targets } = declareParameters(graph, SPECS);
  const hidden = graph.input('hidden', 'f32', ['texts', 'tokens', SIZES.hidden]);
  const embeddings = graph.input('embeddings', 'f32', ['texts', 'chunks', 'k', 'r', SIZES.states]);
  const mask = graph.input('mask', 'f32', ['texts', 'chunks', 'k', 'r']);
  const seed = graph.input('seed', 'f32', hidden.shape);
  const options = { chunkTokens, heads, layers, crossLayers };
  const states = encodeNeighbours({ embeddings, mask, hidden }, get, 'enc', options);
  const read = chunkedCrossAttention(hidden, { states, mask }, get, 'cca', options);
  graph.output('states', states);
  graph.output('read', read);
  const all = new Map([...targets, ['hidden', hidden], ['embeddings', embeddings]]);
  const gradients = backward(sum(mul(seed, read)), [...all.values()]);
  for (const [i, name] of [...all.keys()].entries()) graph.output(`gradient/${name}`, gradients[i]!);
  return graph;
}

async function run(changed: Readonly<Record<string, HostTensor>> = {}): Promise<Record<string, HostTensor>> {
  const inputs = Object.fromEntries(
    ['hidden', 'embeddings', 'mask', 'seed'].map((name) => [name, golden[name]!]),
  );
  const weights = takePrefix('weight/', golden);
  return await program.run({ ...inputs, ...weights, ...changed });
}

describe('neighbour encoder and chunked cross-attention', () => {
  it('declare the parameters of the reference, with the output map 0 at first', () => {
    const shapes = Object.fromEntries(SPECS.map(({ name, shape }) => [name, [...shape]]));
    const theirs = Object.entries(takePrefix('weight/', golden)).map(([name, { dims }]) => [name, [...dims]]);
    expect(shapes).toEqual(Object.fromEntries(theirs));
    for (const spec of SPECS) {
      const zero = ['cca.o_proj.weight', 'cca.null_key', 'cca.null_value'].includes(spec.name);
      if (zero) expect(Math.hypot(...initialValue(spec, 1)), spec.name).toBe(0);
    }
    expect(Math.hypot(...initialValue(SPECS[1]!, 1))).toBeGreaterThan(0);
  });

  it('equal the reference, values to 1e-5 and gradients to 1e-4', async () => {
    const results = await run();
    const mask = numbers(golden.mask);
    // States of padding are read by nothing.
    const real = (_: number, i: number) => mask[Math.floor(i / SIZES.states)] === 1;
    const states = float32(golden.states).filter(real);
    expect(Math.hypot(...states)).toBeGreaterThan(1);
    expect(largestDifference(float32(results.states).filter(real), states)).toBeLessThan(1e-5);
    expect(largestDifference(float32(results.read), float32(golden.read))).toBeLessThan(1e-5);
    for (const name of [...SPECS.map((spec) => spec.name), 'hidden', 'embeddings']) {
      const [ours, theirs] = [results, golden].map((each) => float32(each[`gradient/${name}`]));
      expect(Math.hypot(...theirs!), name).toBeGreaterThan(1e-3);
      expect(largestDifference(ours!, theirs!) / Math.hypot(...theirs!), name).toBeLessThan(1e-4);
    }
  });

  it('read nothing before the first chunk is complete, nor of a chunk without neighbours', async () => {
    const rows = (values: ArrayLike<number>, b: number, from: number, to: number) =>
      Array.from(values).slice((b * 11 + from) * SIZES.hidden, (b * 11 + to) * SIZES.hidden);
    const read = float32((await run()).read);
    for (const b of [0, 1]) expect(rows(read, b, 0, 2).every((x) => x === 0)).toBe(true);
    // All neighbours of the second chunk of the second text are masked; the tokens 5, 6 and 7 read them.
    expect(rows(read, 1, 5, 8).every((x) => x === 0)).toBe(true);
    expect(rows(read, 1, 4, 5).some((x) => x !== 0)).toBe(true);
    expect(rows(read, 1, 8, 9).some((x) => x !== 0)).toBe(true);

    const none = await run({ mask: f32([2, 3, 2, 5], new Float32Array(60)) });
    for (const [name, value] of Object.entries(none)) {
      if (name === 'states') continue;
      expect(
        float32(value).every((x) => x === 0),
        name,
      ).toBe(true);
    }
  });

  it('are causal to the bit, in tokens and in neighbours', async () => {
    const read = float32((await run()).read);
    const at = (values: Float32Array, t: number) =>
      [0, 1].flatMap((b) =>
        Array.from(values.slice((b * 11 + t) * SIZES.hidden, (b * 11 + t + 1) * SIZES.hidden)),
      );
    for (let t = 0; t < 11; t++) {
      const hidden = float32(golden.hidden).slice();
      for (const b of [0, 1]) hidden[(b * 11 + t) * SIZES.hidden]! += 1;
      const changed = float32((await run({ hidden: f32([2, 11, SIZES.hidden], hidden) })).read);
      for (let before = 0; before < t; before++) expect(at(changed, before)).toEqual(at(read, before));
      if (t >= 2) expect(at(changed, t)).not.toEqual(at(read, t));
    }
    for (let u = 1; u <= 3; u++) {
      const embeddings = float32(golden.embeddings).slice();
      for (const b of [0, 1])
        for (let i = 0; i < 80; i++) embeddings[(b * 3 + u - 1) * 80 + i]! += (i % 7) - 3;
      const changed = float32((await run({ embeddings: f32([2, 3, 2, 5, 8], embeddings) })).read);
      for (let t = 0; t < 11; t++) {
        const reads = t >= u * chunkTokens - 1 && t <= (u + 1) * chunkTokens - 2;
        if (reads) expect(at(changed, t)).not.toEqual(at(read, t));
        else expect(at(changed, t)).toEqual(at(read, t));
      }
    }
  });
});
