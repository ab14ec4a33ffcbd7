import { expect, test } from 'vitest';
import { DataError } from '../../util/errors.ts';
import { modernbert } from './modernbert.ts';
import { ropeConfig } from './rope-config.ts';

const parse = (json: Record<string, unknown>) => ropeConfig(json, 'config.json', { theta: 10_000 });
const LLAMA3 = { factor: 8, low_freq_factor: 1, high_freq_factor: 4 };

test.each([
  ['nothing', {}, { rope_theta: 10_000, rope_scaling: null }],
  ['old', { rope_theta: 5e5, rope_scaling: null }, { rope_theta: 5e5, rope_scaling: null }],
  [
    'new',
    { rope_parameters: { rope_type: 'default', rope_theta: 1e6 } },
    { rope_theta: 1e6, rope_scaling: null },
  ],
  [
    'oldest scaling',
    { rope_theta: 100, rope_scaling: { type: 'linear', factor: 2 } },
    { rope_theta: 100, rope_scaling: { rope_type: 'linear', factor: 2 } },
  ],
  [
    'llama3, whose original length is by default the longest',
    { max_position_embeddings: 64, rope_scaling: { rope_type: 'llama3', ...LLAMA3 } },
    {
      rope_theta: 10_000,
      rope_scaling: { rope_type: 'llama3', ...LLAMA3, original_max_position_embeddings: 64 },
    },
  ],
])('%s spelling', (_, json, expected) => {
  const config = parse(json);
  expect(config).toEqual(expected);
  // What is written to config.json is read as the same.
  expect(parse({ ...json, rope_parameters: undefined, ...config })).toEqual(expected);
});

test.each([
  [{ rope_scaling: { type: 'linear' } }, /"factor" must be a positive number/],
  [{ rope_parameters: [1] }, /"rope_parameters" must be an object/],
  [
    { rope_parameters: { rope_type: 'yarn', factor: 4 } },
    /"yarn" is not supported\n {2}help: these are: default/,
  ],
  [{ rope_theta: -1 }, /"rope_theta" must be a positive number, found -1/],
  [{ rope_parameters: { partial_rotary_factor: 0.25 } }, /"partial_rotary_factor" 0.25/],
])('%j is refused', (json, message) => {
  expect(() => parse(json)).toThrow(DataError);
  expect(() => parse(json)).toThrow(message);
});

const MODERN = {
  vocab_size: 10,
  hidden_size: 8,
  num_hidden_layers: 5,
  num_attention_heads: 2,
  intermediate_size: 12,
};
const layers = (word: string) =>
  [...word].map((letter) => (letter === 'w' ? 'full_attention' : 'sliding_attention'));

test('a ModernBERT in old and new spelling is the same', () => {
  const old = modernbert.parseConfig(
    { ...MODERN, global_attn_every_n_layers: 2, global_rope_theta: 8e4, local_rope_theta: 2e4 },
    'config.json',
  );
  const young = modernbert.parseConfig(
    {
      ...MODERN,
      layer_types: layers('wlwlw'),
      rope_parameters: {
        full_attention: { rope_type: 'default', rope_theta: 8e4 },
        sliding_attention: { rope_type: 'default', rope_theta: 2e4 },
      },
    },
    'config.json',
  );
  expect(young).toEqual(old);
  expect(old).toMatchObject({ global_attn_every_n_layers: 2, global_rope_theta: 8e4, local_rope_theta: 2e4 });
  const usual = modernbert.parseConfig(MODERN, 'config.json');
  expect(usual).toMatchObject({
    global_attn_every_n_layers: 3,
    global_rope_theta: 16e4,
    local_rope_theta: 1e4,
  });
});

test.each([
  ['wwwww', 1],
  ['wlllw', 4],
  ['wllll', 5],
])('layers %s: one of %d sees the whole text', (word, every) => {
  const config = modernbert.parseConfig({ ...MODERN, layer_types: layers(word) }, 'config.json');
  expect(config.global_attn_every_n_layers).toBe(every);
});

test.each(['lwlwl', 'wllww', 'wlwl', 'wlwlwl'])('layers %s are refused', (word) => {
  const json = { ...MODERN, layer_types: layers(word) };
  expect(() => modernbert.parseConfig(json, 'config.json')).toThrow(
    /"layer_types" .* is not supported\n {2}help: expected 5 entries/,
  );
});
