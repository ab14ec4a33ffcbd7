import { expect, test } from 'vitest';
import { Graph } from '../graph/graph.ts';
import { declareParameters, embeddingParameters, linearParameters, prefixedSpecs } from './parameters.ts';

const SPECS = [embeddingParameters('words', 9, 4, { lookup: true }), ...linearParameters('out', 4, 2)];

test('inputs, targets, rows and their dimension carry the prefix; the model asks by its own names', () => {
  const graph = new Graph('two');
  const plain = declareParameters(graph, SPECS);
  const other = declareParameters(graph, SPECS, { prefix: 'a/b' });
  expect(graph.inputs.map(String)).toEqual([
    'rows i64[rows]',
    'words.weight f32[9, 4]',
    'out.weight f32[2, 4]',
    'out.bias f32[2]',
    'a/b/rows i64[a.b.rows]',
    'a/b/words.weight f32[9, 4]',
    'a/b/out.weight f32[2, 4]',
    'a/b/out.bias f32[2]',
  ]);
  const names = prefixedSpecs('a/b', SPECS).map(({ name }) => name);
  expect([...other.targets.keys()]).toEqual(names);
  expect(prefixedSpecs('a/b', SPECS)[0]!.lookup).toBe('a/b/rows');
  expect(prefixedSpecs('', SPECS)).toEqual(SPECS);
  expect(other.get('words.weight').shape).toEqual(['a.b.rows', 4]);
  expect(other.get('words.weight')).toBe(other.targets.get('a/b/words.weight'));
  expect(plain.get('out.bias')).toBe(plain.targets.get('out.bias'));
  expect(() => other.get('a/b/out.bias')).toThrow('no parameter "a/b/out.bias"');
});

test('two models of one prefix, and prefixes that no dimension can have, are refused', () => {
  const graph = new Graph('two');
  declareParameters(graph, SPECS, { prefix: 'a' });
  expect(() => declareParameters(graph, SPECS, { prefix: 'a' })).toThrow('input "a/rows" exists already');
  expect(() => declareParameters(graph, SPECS, { prefix: 'my-model' })).toThrow(/"my-model" has characters/);
});
