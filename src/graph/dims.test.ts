import { describe, expect, it } from 'vitest';
import {
  addDims,
  canonicalDim,
  dimTerms,
  evaluateDim,
  formatShape,
  multiplyDims,
  sameDim,
  sameShape,
  subtractDims,
} from './dims.ts';

describe('dimensions are polynomials in named sizes', () => {
  it.each([
    ['tokens*batch', 'batch*tokens'],
    ['2*batch*3', '6*batch'],
    ['batch+batch', '2*batch'],
    ['batch-batch', 0],
    ['3+batch-1', 'batch+2'],
    ['512-tokens', '-tokens+512'],
    ['0*batch+4', 4],
    ['a.b_1', 'a.b_1'],
  ])('%s is written %s', (dim, canonical) => {
    expect(canonicalDim(dim)).toBe(canonical);
    expect(canonicalDim(canonical)).toBe(canonical);
    expect(sameDim(dim, canonical)).toBe(true);
  });

  it('adds, subtracts and multiplies', () => {
    expect(addDims('batch', 3, 'batch', -3)).toBe('2*batch');
    expect(subtractDims('batch+rows', 'rows')).toBe('batch');
    expect(multiplyDims('batch+1', 'batch-1')).toBe('batch*batch-1');
    expect(multiplyDims('batch', 'tokens', 384)).toBe('384*batch*tokens');
    expect(multiplyDims()).toBe(1);
    expect(multiplyDims('batch', 0)).toBe(0);
  });

  it('obeys the laws of arithmetic, and agrees with the numbers put in', () => {
    const sizes = new Map([
      ['a', 3],
      ['b', 5],
      ['c', 7],
    ]);
    const dims = [0, 2, 'a', 'b*c', 'a+2*b', 'c-1', 'a*a-b'];
    const value = (dim: string | number) => evaluateDim(dim, sizes)!;
    for (const x of dims) {
      for (const y of dims) {
        expect(addDims(x, y)).toBe(addDims(y, x));
        expect(multiplyDims(x, y)).toBe(multiplyDims(y, x));
        expect(addDims(subtractDims(x, y), y)).toBe(canonicalDim(x));
        expect(value(addDims(x, y))).toBe(value(x) + value(y));
        expect(value(subtractDims(x, y))).toBe(value(x) - value(y));
        expect(value(multiplyDims(x, y))).toBe(value(x) * value(y));
        for (const z of dims) {
          expect(multiplyDims(x, addDims(y, z))).toBe(addDims(multiplyDims(x, y), multiplyDims(x, z)));
        }
      }
    }
  });

  it('has no value while a name has none', () => {
    expect(evaluateDim('batch*tokens', new Map([['batch', 2]]))).toBeUndefined();
    expect(evaluateDim(7, new Map())).toBe(7);
    expect(dimTerms('512-2*tokens')).toEqual([
      { coefficient: 512, symbols: [] },
      { coefficient: -2, symbols: ['tokens'] },
    ]);
  });

  it('compares and prints shapes', () => {
    expect(sameShape(['batch', 'a*b', 3], ['batch', 'b*a', 3])).toBe(true);
    expect(sameShape(['batch', 3], ['batch', 3, 1])).toBe(false);
    expect(sameShape(['batch', 3], ['queries', 3])).toBe(false);
    expect(formatShape(['batch', 3])).toBe('[batch, 3]');
  });

  it.each(['batch size', '3x', 'a**b', 'a/b', '(a)'])('refuses "%s"', (dim) => {
    expect(() => canonicalDim(dim)).toThrow(/is no dimension: ".*" is neither a number nor a name/);
  });

  it('refuses fractions', () => {
    expect(() => addDims(1.5, 'batch')).toThrow('a dimension must be an integer, got 1.5');
  });
});
