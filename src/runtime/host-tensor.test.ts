import { expect, it } from 'vitest';
import { int64Tensor } from './host-tensor.ts';

it('int64Tensor holds whole numbers, negative ones too', () => {
  const numbers = [0, 1, -1, 2 ** 31 - 1, -(2 ** 31), -5];
  const { dtype, dims, data } = int64Tensor(numbers);
  expect({ dtype, dims }).toEqual({ dtype: 'i64', dims: [6] });
  expect(data).toEqual(BigInt64Array.from(numbers, BigInt));
});
