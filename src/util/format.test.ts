import { describe, expect, it } from 'vitest';
import { formatBytes, formatCount, formatDuration } from './format.ts';

describe('formatDuration', () => {
  it.each([
    [0, '0ms'],
    [850.4, '850ms'],
    [999.6, '1.0s'],
    [12_345, '12.3s'],
    [59_949, '59.9s'],
    [59_950, '1m 00s'],
    [125_000, '2m 05s'],
    [3_599_700, '1h 00m'],
    [3 * 3_600_000 + 7 * 60_000, '3h 07m'],
    [24 * 3_600_000 - 1, '1d 00h'],
    [98 * 3_600_000, '4d 02h'],
    [Number.NaN, '?'],
    [Number.POSITIVE_INFINITY, '?'],
    [-5, '?'],
  ])('%d ms is %s', (ms, text) => expect(formatDuration(ms)).toBe(text));
});

describe('formatCount', () => {
  it.each([
    [0, '0'],
    [0.0432, '0.0432'],
    [7, '7'],
    [7.05, '7.05'],
    [7.5, '7.5'],
    [10, '10'],
    [100, '100'],
    [999, '999'],
    [999.7, '1.00k'],
    [1234, '1.23k'],
    [12_000, '12.0k'],
    [45_600_000, '45.6M'],
    [7.894e9, '7.89G'],
    [-1500, '-1.50k'],
    [Number.NaN, '?'],
  ])('%d is %s', (count, text) => expect(formatCount(count)).toBe(text));
});

describe('formatBytes', () => {
  it.each([
    [0, '0 B'],
    [512, '512 B'],
    [1023, '1023 B'],
    [1024, '1.00 KiB'],
    [346 * 2 ** 20, '346 MiB'],
    [1.5 * 2 ** 30, '1.50 GiB'],
  ])('%d is %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));
});
