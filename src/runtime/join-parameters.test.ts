import { expect, test } from 'vitest';
import { zeros } from './host-tensor.ts';
import { joinParameters, type ModelParameters } from './join-parameters.ts';

const model = (...names: string[]): ModelParameters => ({
  specs: names.map((name) => ({ name, shape: [2], init: { kind: 'constant', value: 0 }, decay: true })),
  weights: Object.fromEntries(names.map((name) => [name, zeros('f32', [2])])),
});

test('the same tensors under names with prefixes', () => {
  const [reader, temperature] = [model('w', 'b'), model('tau')];
  const { specs, weights } = joinParameters({ reader, '': temperature });
  expect(specs.map(({ name }) => name)).toEqual(['reader/w', 'reader/b', 'tau']);
  expect(weights['reader/b']).toBe(reader.weights.b);
  expect(weights.tau).toBe(temperature.weights.tau);
});

test('one name for two parameters is refused', () => {
  expect(() => joinParameters({ a: model('b/w'), 'a/b': model('w') })).toThrow(
    /two models have a parameter "a\/b\/w"\n.*prefix of its own/,
  );
});
