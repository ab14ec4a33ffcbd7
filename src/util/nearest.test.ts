import { expect, it } from 'vitest';
import { didYouMean, nearest } from './nearest.ts';

const options = ['epochs', 'steps', 'batch-size', 'lr', 'ndcg@10', 'temperature', 'threads'];

it.each([
  ['epoch', 'epochs'],
  ['batchsize', 'batch-size'],
  ['ndgc@10', 'ndcg@10'],
  ['TEMPERATUR', 'temperature'],
  ['tempreature', 'temperature'],
  ['lr', 'lr'],
  ['l', 'lr'],
  ['seed', undefined],
  ['', undefined],
  ['hidden', undefined],
])('nearest(%j) is %j', (word, expected) => {
  expect(nearest(word, options)).toBe(expected);
});

it('prefers the nearer candidate, then the earlier', () => {
  expect(nearest('abcd', ['abxy', 'abcx', 'abcy'])).toBe('abcx');
  expect(nearest('x'.repeat(1e6), ['x'.repeat(1e6)])).toBeUndefined();
  expect(nearest('x', [])).toBeUndefined();
});

it('didYouMean returns a question, or the empty string', () => {
  expect(didYouMean('step', options)).toBe(" Did you mean 'steps'?");
  expect(didYouMean('seed', options)).toBe('');
});
