import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { largestDifference } from '../../../test/small-models.ts';
import { Graph } from '../../graph/graph.ts';
import { nextTokenLogProbabilities } from '../../losses/next-token.ts';
import { declareParameters, initialValue } from '../../nn/parameters.ts';
import { float32, hostTensor } from '../../runtime/host-tensor.ts';
import { Program } from '../../runtime/program.ts';
import { UsageError } from '../../util/errors.ts';
import type { ForwardOptions } from '../architectures/architecture.ts';
import { tokenInputs } from '../retriever/token-inputs.ts';
import { Decoder, type ModelConfig, TOKEN_STATES } from './decoder.ts';
import { LanguageModel } from './language-model.ts';
import { buildScoring, type ScoredTokens, scoringPasses } from './score-tokens.ts';

const FIXTURES = fileURLToPath(new URL('fixtures/causal', import.meta.url));
const COMPUTE = { threads: 1 };

/** Config of a small llama with heads of 16 numbers. */
const LLAMA = {
  hidden_size: 32,
  head_dim: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 32,
};

/** Token ids that follow no pattern. */
const tokens = (length: number, seed: number): number[] =>
  Array.from({ length }, (_, t) => (seed * 31 + t * t * 7 + t * 3) % 52);

const SEQUENCES: readonly ScoredTokens[] = [
  { ids: tokens(9, 1) },
  { ids: [] },
  { ids: Int32Array.from(tokens(20, 2)), from: 13 },
  { ids: [5] },
  { ids: tokens(20, 3), from: 0 },
  { ids: tokens(8, 4), from: 8 },
  { ids: tokens(3, 5), from: 2 },
];

/** Log-probabilities of all tokens but the first, from all logits of one text. */
async function plain(model: LanguageModel, ids: ArrayLike<number>): Promise<Float32Array> {
  const graph = new Graph('plain');
  const { get } = model.declare(graph);
  const [text, mask] = [graph.input('ids', 'i64', ['B', 'T']), graph.input('mask', 'f32', ['B', 'T'])];
  graph.output('y', nextTokenLogProbabilities(model.decoder.logits(get, { ids: text, mask }), text));
  const program = await Program.compile(graph, COMPUTE);
  const dims = [1, ids.length];
  const { y } = await program.run({
    ...model.weights,
    ids: hostTensor('i64', dims, BigInt64Array.from(Array.from(ids), BigInt)),
    mask: hostTensor('f32', dims, new Float32Array(ids.length).fill(1)),
  });
  await program.dispose();
  return float32(y);
}

describe.each(readdirSync(FIXTURES))('%s', (name) => {
  let model: LanguageModel;
  beforeAll(async () => {
    model = await LanguageModel.load(join(FIXTURES, name));
  });
  afterAll(() => model.dispose());
  const weights = (parameter: string) => float32(model.weights[parameter]);

  test('log-probabilities of the scored tokens equal those of all logits', async () => {
    const scores = await model.scoreTokens(SEQUENCES, COMPUTE);
    expect(scores.map(({ logProbabilities }) => logProbabilities.length)).toEqual([8, 0, 7, 0, 19, 0, 1]);
    for (const [i, { ids, from = 1 }] of SEQUENCES.entries()) {
      if (ids.length < 2) continue;
      const expected = (await plain(model, ids)).slice(Math.max(from, 1) - 1);
      expect(largestDifference(scores[i]!.logProbabilities, expected), `sequence ${i}`).toBeLessThan(1e-5);
      expect(scores[i]!.keys).toBeUndefined();
    }
  });

  test('target scores are the products of the output state and the row of the token', async () => {
    const sequence = { ids: tokens(20, 2), from: 13 };
    const [scores] = await model.scoreTokens([sequence], { ...COMPUTE, keys: 'output', targetScores: true });
    const matrix = weights(model.decoder.output.name);
    const D = model.decoder.hiddenSize;
    const expected = Array.from({ length: 7 }, (_, i) => {
      const row = matrix.subarray(sequence.ids[13 + i]! * D);
      return scores!.keys!.subarray(i * D, (i + 1) * D).reduce((sum, h, d) => sum + h * row[d]!, 0);
    });
    expect(largestDifference(scores!.targetScores!, expected)).toBeLessThan(1e-4);
    const [plain] = await model.scoreTokens([sequence], COMPUTE);
    expect(largestDifference(scores!.logProbabilities, plain!.logProbabilities)).toBeLessThan(1e-6);
    expect(plain!.targetScores).toBeUndefined();
  });

  test('keys: the output state gives the log-probabilities; row i predicts token from + i', async () => {
    const D = model.decoder.hiddenSize;
    const scores = await model.scoreTokens(SEQUENCES, { ...COMPUTE, keys: 'output' });
    const matrix = weights(model.decoder.specs.find(({ shape }) => shape[0] === 52 && shape[1] === D)!.name);
    const head = model.weights['lm_head.weight'] ? weights('lm_head.weight') : matrix;
    for (const [i, { ids, from = 1 }] of SEQUENCES.entries()) {
      const { logProbabilities, keys } = scores[i]!;
      expect(keys).toHaveLength(D * logProbabilities.length);
      for (const [row, logProbability] of logProbabilities.entries()) {
        const logits = Array.from({ length: 52 }, (_, v) => {
          let sum = 0;
          for (let d = 0; d < D; d++) sum += keys![row * D + d]! * head[v * D + d]!;
          return sum;
        });
        const total = Math.log(logits.reduce((sum, s) => sum + Math.exp(s), 0));
        expect(logits[ids[Math.max(from, 1) + row]!]! - total).toBeCloseTo(logProbability, 4);
      }
    }
  });

  test('keys: each state is what the last layer computes from the one before it', async () => {
    const D = model.decoder.hiddenSize;
    const keys = Object.fromEntries(
      await Promise.all(
        TOKEN_STATES.map(async (state) => [
          state,
          (await model.scoreTokens([SEQUENCES[4]!], { ...COMPUTE, keys: state }))[0]!.keys!,
        ]),
      ),
    ) as Record<string, Float32Array>;
    const config = model.decoder.config as Record<string, unknown>;
    const layer = Number(config.n_layer ?? config.num_hidden_layers) - 1;
    const gpt2 = config.model_type === 'gpt2';
    const norm = (x: Float32Array, parameter: string) => {
      const [scale, shift] = [
        weights(`${parameter}.weight`),
        gpt2 ? weights(`${parameter}.bias`) : undefined,
      ];
      const epsilon = Number(config.layer_norm_epsilon ?? config.rms_norm_eps);
      return x.map((value, i) => {
        const row = x.subarray(i - (i % D), i - (i % D) + D);
        const center = gpt2 ? row.reduce((a, b) => a + b, 0) / D : 0;
        const variance = row.reduce((a, b) => a + (b - center) ** 2, 0) / D;
        return ((value - center) / Math.sqrt(variance + epsilon)) * scale[i % D]! + (shift?.[i % D] ?? 0);
      });
    };
    const names = gpt2
      ? [`h.${layer}.ln_1`, `h.${layer}.ln_2`]
      : [`layers.${layer}.input_layernorm`, `layers.${layer}.post_attention_layernorm`];
    for (const [i, part] of ['attention', 'feed-forward'].entries()) {
      const expected = norm(keys[`before-${part}-norm`]!, names[i]!);
      expect(largestDifference(keys[`${part}-input`]!, expected), part).toBeLessThan(1e-5);
    }
    if (gpt2) return;
    const product = (x: Float32Array, parameter: string) => {
      const matrix = weights(`layers.${layer}.mlp.${parameter}.weight`);
      const inputs = x.length / 19;
      return Float32Array.from({ length: (19 * matrix.length) / inputs }, (_, i) => {
        const [row, out] = [Math.floor(i / (matrix.length / inputs)), i % (matrix.length / inputs)];
        let sum = 0;
        for (let d = 0; d < inputs; d++) sum += x[row * inputs + d]! * matrix[out * inputs + d]!;
        return sum;
      });
    };
    const [gate, up] = ['gate_proj', 'up_proj'].map((each) => product(keys['feed-forward-input']!, each));
    const inner = product(
      gate!.map((g, i) => (g / (1 + Math.exp(-g))) * up![i]!),
      'down_proj',
    );
    const sum = keys['before-feed-forward-norm']!.map((x, i) => x + inner[i]!);
    expect(largestDifference(keys.output!, norm(sum, 'norm'))).toBeLessThan(1e-4);
    expect(largestDifference(keys.output!, keys['feed-forward-input']!)).toBeGreaterThan(0.1);
  });

  test('one by one: longer sequences first, the same bytes at each call', async () => {
    const found: number[] = [];
    const all = await model.scoreTokens(SEQUENCES, { ...COMPUTE, keys: 'feed-forward-input' });
    const options = { ...COMPUTE, keys: 'feed-forward-input' } as const;
    for await (const { index, ...scores } of model.scoreTokensOneByOne(SEQUENCES, options)) {
      found.push(index);
      expect(scores).toEqual(all[index]);
    }
    expect(found).toEqual([2, 4, 0, 6]);
  });
});

describe.each([
  ['gpt2', { model_type: 'gpt2', n_embd: 32, n_layer: 2, n_head: 2, n_positions: 32 }],
  ['llama', { ...LLAMA, model_type: 'llama', rope_scaling: { rope_type: 'linear', factor: 2 } }],
  ['qwen3', { ...LLAMA, model_type: 'qwen3' }],
])('attention in one kernel: %s', (_, config) => {
  test('gives the scores of separate operations, whatever the padding and the context', async () => {
    const decoder = new Decoder({ vocab_size: 52, ...config } as ModelConfig);
    const { tokenizer } = await LanguageModel.load(join(FIXTURES, 'gpt2'));
    const weights = decoder.specs.map((spec) => {
      const dims = spec.shape as number[];
      const values = initialValue(spec, 3);
      // Larger than initial values, so that attention is not almost uniform.
      return [
        spec.name,
        hostTensor('f32', dims, dims.length === 2 ? values.map((x) => 12 * x) : values),
      ] as const;
    });
    const model = new LanguageModel(decoder, tokenizer, Object.fromEntries(weights));
    const sequences = [...SEQUENCES, { ids: tokens(17, 6) }, { ids: tokens(32, 7), from: 20 }];
    const graph = new Graph('fused');
    buildScoring(graph, { decoder, declared: model.declare(graph), device: 'cpu' });
    expect(graph.nodes.filter(({ op }) => op === 'CausalAttention')).toHaveLength(2);
    const scores = await model.scoreTokens(sequences, COMPUTE);
    for (const [i, { ids, from = 1 }] of sequences.entries()) {
      if (ids.length < 2) continue;
      const expected = (await plain(model, ids)).slice(Math.max(from, 1) - 1);
      expect(largestDifference(scores[i]!.logProbabilities, expected), `sequence ${i}`).toBeLessThan(2e-5);
    }
    await model.dispose();
  });
});

test('attention in one kernel is refused where it would compute something else', () => {
  const decoder = new Decoder({ ...LLAMA, vocab_size: 52, model_type: 'llama' } as ModelConfig);
  const fused = (more: { documents?: boolean }, options: ForwardOptions) => {
    const graph = new Graph('fused');
    const declared = declareParameters(graph, decoder.specs);
    decoder.hidden(declared.get, tokenInputs(declared, 'texts', more), options);
    return graph.nodes.some(({ op }) => op === 'CausalAttention');
  };
  expect(fused({}, { inference: true })).toBe(true);
  expect(fused({}, {})).toBe(false);
  expect(fused({ documents: true }, { inference: true })).toBe(false);
});

describe('passes', () => {
  const ofLengths = (lengths: readonly number[]) => lengths.map((length) => ({ ids: { length } }));

  test('hold sequences of similar length, and at most 2,048 places unless one sequence alone has more', () => {
    const sequences = ofLengths([1, 300, 5000, 290, 10, 700, 680, 690, 2]);
    expect([...scoringPasses(sequences)]).toEqual([[2], [5, 7], [6], [1, 3], [4], [8]]);
  });

  test('three hundred thousand sequences are grouped in moments', () => {
    const sequences = ofLengths(Array.from({ length: 300_000 }, (_, i) => 2 + (i % 500)));
    let seen = 0;
    for (const pass of scoringPasses(sequences)) {
      seen += pass.length;
      const longest = sequences[pass[0]!]!.ids.length;
      expect(pass.length * longest).toBeLessThanOrEqual(2048);
    }
    expect(seen).toBe(300_000);
  });
});

describe('bad input', () => {
  let model: LanguageModel;
  beforeAll(async () => {
    model = await LanguageModel.load(join(FIXTURES, 'gpt2'));
  });
  afterAll(() => model.dispose());

  test.each<[string, ScoredTokens, RegExp]>([
    ['too long', { ids: tokens(33, 1) }, /sequence 1 of 33 tokens, where the model reads 32\n.*cut it/],
    ['a token that the model lacks', { ids: [3, 52] }, /sequence 1: token 1 has the id 52, .* 0 to 51/],
    ['a token that is none', { ids: [3, -1] }, /sequence 1: token 1 has the id -1/],
    ['no number', { ids: [3, Number.NaN] }, /token 1 has the id NaN/],
    ['a place before the text', { ids: [3, 4], from: -1 }, /sequence 1: from = -1 is no position/],
    ['half a place', { ids: [3, 4], from: 1.5 }, /from = 1.5 is no position/],
  ])('%s', async (_, sequence, message) => {
    const error = await model.scoreTokens([{ ids: [1, 2] }, sequence]).catch((cause) => cause);
    expect(error).toBeInstanceOf(UsageError);
    expect(error.message).toMatch(message);
  });

  test('unknown keys, and nothing to score', async () => {
    await expect(model.scoreTokens([], { keys: 'hidden' as never })).rejects.toThrow(
      /unknown state "hidden"\n.*feed-forward-input, output/,
    );
    expect(await model.scoreTokens([])).toEqual([]);
  });
});
