import { describe, expect, test } from 'vitest';
import { smallRetriever } from '../../../test/small-models.ts';
import type { ParameterSpec } from '../../nn/parameters.ts';
import type { NewRetrieverOptions } from './create-retriever.ts';
import { Retriever } from './retriever.ts';
import { frozenHash, partMatcher, planTuning, type TuningOptions, tuned } from './tuning.ts';

/** A small model as one that was loaded: none of its weights is fresh. */
function given(options: Partial<NewRetrieverOptions> = {}): Retriever {
  const { config, tokenizer, weights } = smallRetriever({ kind: 'transformer', ...options });
  return new Retriever(config, tokenizer, { weights });
}

/** Names of what is trained, without the tower where there is one only. */
const trainedOf = (retriever: Retriever, options: TuningOptions) =>
  tuned(retriever, options)
    .specs.filter(({ frozen }) => !frozen)
    .map(({ name }) => name.replace('encoder/', ''));

describe('parts', () => {
  test.each([
    ['embeddings', 'encoder/embeddings.LayerNorm.bias', 'encoder/encoder.layer.0.output.dense.bias'],
    ['embeddings', 'encoder/wte.weight', 'encoder/h.0.attn.c_attn.weight'],
    ['embeddings', 'encoder/embed_tokens.weight', 'encoder/norm.weight'],
    ['layers:2', 'encoder/encoder.layer.2.output.dense.bias', 'encoder/encoder.layer.12.output.dense.bias'],
    ['layers:0-3', 'encoder/layers.3.mlp.Wi.weight', 'encoder/layers.4.mlp.Wi.weight'],
    ['layers:10-11', 'encoder/h.10.ln_1.weight', 'encoder/h.1.ln_1.weight'],
    ['layers:0', 'encoder/transformer.layer.0.ffn.lin1.bias', 'encoder/embeddings.LayerNorm.bias'],
    ['document', 'document/embedding.weight', 'query/embedding.weight'],
    ['*.bias', 'encoder/encoder.layer.0.output.dense.bias', 'encoder/encoder.layer.0.output.dense.weight'],
    ['*attention*', 'query/encoder.layer.0.attention.self.key.bias', 'query/embeddings.LayerNorm.bias'],
    ['norm.weight', 'encoder/norm.weight', 'encoder/normXweight'],
  ])('%s is %s, and not %s', (part, inside, outside) => {
    expect(partMatcher(part)(inside)).toBe(true);
    expect(partMatcher(part)(outside)).toBe(false);
  });
});

describe('what is trained', () => {
  const retriever = given();
  const all = retriever.specs.map(({ name }) => name.replace('encoder/', ''));

  test('is everything by default', () => {
    expect(trainedOf(retriever, {})).toEqual(all);
    expect(frozenHash(tuned(retriever, {}))).toBeNull();
  });

  test('is everything except frozen parts', () => {
    expect(trainedOf(retriever, { freeze: ['embeddings', 'layers:0'] })).toEqual(
      all.filter((name) => name.startsWith('encoder.layer.1.')),
    );
  });

  test('is the parts of trainOnly, without frozen ones', () => {
    const biases = all.filter((name) => name.endsWith('.bias'));
    expect(trainedOf(retriever, { trainOnly: ['*.bias'] })).toEqual(biases);
    expect(trainedOf(retriever, { trainOnly: ['*.bias'], freeze: ['layers:0-1'] })).toEqual([
      'embeddings.LayerNorm.bias',
    ]);
  });

  test('is a tower', () => {
    const pair = given({ towers: 'separate' });
    expect(trainedOf(pair, { freeze: ['document'] }).every((name) => name.startsWith('query/'))).toBe(true);
  });

  test('is adapters of queries and values by default, or of the chosen targets, never of frozen parts', () => {
    const modules = (options: TuningOptions) => [
      ...new Set(trainedOf(retriever, { lora: 2, ...options }).map((name) => name.replace(/\.lora_.*/, ''))),
    ];
    const layer = (i: number, parts: string[]) => parts.map((part) => `encoder.layer.${i}.${part}`);
    const usual = ['attention.self.query', 'attention.self.value'];
    expect(modules({})).toEqual([...layer(0, usual), ...layer(1, usual)]);
    expect(modules({ freeze: ['layers:0'] })).toEqual(layer(1, usual));
    expect(modules({ loraTargets: ['attention.output.dense'] })).toEqual([
      ...layer(0, ['attention.output.dense']),
      ...layer(1, ['attention.output.dense']),
    ]);
    expect(modules({ loraTargets: ['all-linear'] })).toHaveLength(12);
  });

  test('takes whole names as targets, with a tower or without', () => {
    const own = 'layers.1.self_attn.q_proj';
    for (const tower of ['', 'encoder/']) {
      const names = [0, 1].map((i) => `${tower}layers.${i}.self_attn.q_proj.weight`);
      const specs = names.map((name) => ({
        ...{ name, shape: [4, 4], init: { kind: 'constant', value: 0 }, decay: true },
        linear: 'outputs-inputs',
      })) satisfies ParameterSpec[];
      for (const target of new Set([own, tower + own])) {
        const { lora } = planTuning({ specs, fresh: new Set() }, { lora: 2, loraTargets: [target] });
        expect([...lora!.weights]).toEqual([names[1]]);
      }
    }
  });

  test('always includes a new projection', () => {
    const { config, tokenizer, weights } = smallRetriever({ kind: 'transformer' });
    const fresh = () =>
      new Retriever({ ...config, encoder: { ...config.encoder, dense: [{ size: 8 }] } }, tokenizer, {
        weights,
      });
    expect(trainedOf(fresh(), { lora: 2 })).toContain('projection.weight');
    expect(trainedOf(fresh(), { freeze: ['*'] })).toEqual(['projection.weight']);
  });

  test('changing a frozen weight changes the hash', () => {
    const own = given();
    const before = frozenHash(tuned(own, { freeze: ['embeddings'] }));
    (own.weights['encoder/embeddings.LayerNorm.bias']!.data as Float32Array)[0]! += 1;
    expect(frozenHash(tuned(own, { freeze: ['embeddings'] }))).not.toBe(before);
  });
});

describe('refuses', () => {
  const bad: [string, TuningOptions, Partial<NewRetrieverOptions>, RegExp][] = [
    ['a part that is nowhere', { freeze: ['layers:7'] }, {}, /freeze: nothing in the model is "layers:7"/],
    ['the same alone', { trainOnly: ['pooler.*'] }, {}, /trainOnly: nothing .* "pooler\.\*"/],
    ['a tower of a shared encoder', { freeze: ['document'] }, {}, /nothing in the model is "document"/],
    ['everything', { freeze: ['*'] }, {}, /nothing is left to train/],
    ['adapters where all is frozen', { lora: 2, freeze: ['layers:0-1'] }, {}, /nothing is left to train/],
    [
      'targets that are nowhere',
      { lora: 2, loraTargets: ['q_proj'] },
      {},
      /no linear layer is called "q_proj"/,
    ],
    ['half of a name', { lora: 2, loraTargets: ['uery'] }, {}, /no linear layer is called "uery"/],
    ['a bag of tokens', { lora: 2 }, { kind: 'static' }, /no queries and values/],
    ['a rank above a size', { lora: 33 }, {}, /lora: 33 is more than/],
    ['an α without a rank', { loraAlpha: 8 }, {}, /loraAlpha without lora/],
    ['two ways to say what is trained', { lora: 2, trainOnly: ['*.bias'] }, {}, /both say what is trained/],
  ];
  test.each(bad)('%s', (_, options, model, message) => {
    expect(() => tuned(given(model), options)).toThrow(message);
  });

  test('and names the parameters, layers once', () => {
    let help = '';
    try {
      tuned(given(), { freeze: ['layer.0'] });
    } catch (error) {
      help = (error as { help: string }).help;
    }
    expect(help).toContain('encoder.layer.N.attention.self.query.weight');
    expect(help.split('encoder.layer.N.attention.self.query.weight')).toHaveLength(2);
  });
});
