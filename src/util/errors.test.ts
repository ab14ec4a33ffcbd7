import { expect, it } from 'vitest';
import { isOutOfMemory, OutOfMemoryError, RuntimeError } from './errors.ts';

it.each([
  'std::bad_alloc',
  'Non-zero status code returned while running MatMul node. Name:"m" Status Message: bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 4096',
  'Array buffer allocation failed',
  'Invalid array buffer length',
  'CUDA failure 2: out of memory',
  'posix_memalign: Cannot allocate memory',
])('memory that cannot be had is recognised: %s', (message) => {
  expect(isOutOfMemory(new Error(message))).toBe(true);
  expect(isOutOfMemory(message)).toBe(true);
  expect(isOutOfMemory(new RuntimeError(`program "step" failed: ${message}`))).toBe(true);
});

it('other errors are none of memory', () => {
  expect(isOutOfMemory(new Error('the memory of the run is complete'))).toBe(false);
  expect(isOutOfMemory(undefined)).toBe(false);
  const error = new OutOfMemoryError('no room', { neededBytes: 5, help: 'less' });
  expect([isOutOfMemory(error), error.neededBytes, error.exitCode]).toEqual([true, 5, 1]);
});
