import { describe, expect, it } from 'vitest';
import { exactLabel, makeScale, type ScaleOptions } from './chart-scale.ts';

const options: ScaleOptions = { from: 100, to: 500, unit: 'value', ticks: 5 };
const labels = (values: number[], more: Partial<ScaleOptions> = {}) =>
  makeScale(values, { ...options, ...more }).ticks.map(({ label }) => label);

describe('a linear scale', () => {
  it('keeps all values inside, in their order', () => {
    const { at } = makeScale([3, 7, 5], options);
    expect(at(3)).toBeGreaterThan(100);
    expect(at(7)).toBeLessThan(500);
    expect(at(5)).toBeCloseTo(300, 9);
  });

  it('has round ticks with the digits that they need', () => {
    expect(labels([0.612, 0.709])).toEqual(['0.62', '0.64', '0.66', '0.68', '0.70']);
    expect(labels([-1, 1])).toEqual(['-1.0', '-0.5', '0', '0.5', '1.0']);
    expect(labels([0, 1234], { unit: 'count' })).toEqual(['0', '200', '400', '600', '800', '1k', '1.2k']);
    expect(labels([0, 3 * 2 ** 20], { unit: 'bytes', tickValues: [0, 2 ** 20] })).toEqual(['0B', '1MiB']);
    expect(labels([2e-7, 9e-7])).toEqual(['2e-7', '4e-7', '6e-7', '8e-7']);
  });

  it.each([[[5, 5]], [[0, 0]], [[-2]], [[1e300, 2e300]]])('survives %j', (values) => {
    const { at, ticks } = makeScale(values, options);
    expect(at(values[0]!)).toBeGreaterThanOrEqual(100);
    expect(at(values[0]!)).toBeLessThanOrEqual(500);
    expect(ticks.length).toBeGreaterThan(0);
    expect(ticks.length).toBeLessThan(12);
  });
});

describe('a logarithmic scale', () => {
  const log = { ...options, log: true };
  it('gives equal ratios equal room', () => {
    const { at } = makeScale([1, 10, 100], log);
    expect(at(100) - at(10)).toBeCloseTo(at(10) - at(1), 9);
  });

  it('has ticks at powers of ten, and at 2 and 5 where these are few', () => {
    expect(labels([1, 100_000], { log: true, unit: 'count' })).toEqual([
      '1',
      '10',
      '100',
      '1k',
      '10k',
      '100k',
    ]);
    expect(labels([15_000, 450_000], { log: true, unit: 'count' })).toEqual([
      '20k',
      '50k',
      '100k',
      '200k',
      '500k',
    ]);
  });

  it('has a place for zero, left of all others', () => {
    const { at, ticks } = makeScale([0, 0.001, 1], log);
    expect(ticks[0]).toEqual({ value: 0, label: '0' });
    expect(at(0)).toBeGreaterThanOrEqual(100);
    expect(at(0)).toBeLessThan(at(0.001));
  });
});

it('tells values with their unit', () => {
  expect(exactLabel(1234567, 'count')).toBe('1,234,567');
  expect(exactLabel(1.5, 'count')).toBe('1.5');
  expect(exactLabel(0.123456, 'value')).toBe('0.1235');
  expect(exactLabel(0.000012, 'value')).toBe('1.20e-5');
  expect(exactLabel(12.345, 'minutes')).toBe('12.3 min');
  expect(exactLabel(1536, 'bytes')).toBe('1.5KiB');
  expect(exactLabel(0.5, 'value', 0.00001)).toBe('0.5000 ± 0.0000');
  expect(exactLabel(12.345, 'minutes', 1.234)).toBe('12.3 ± 1.23 min');
  expect(exactLabel(0.5, 'value', 0)).toBe('0.5000');
});
