import { expect, it } from 'vitest';
import { expand, fill, scatterAdd, unsqueeze } from '../src/graph/ops.ts';
import { hostTensor } from '../src/runtime/host-tensor.ts';
import { evaluate } from './evaluate.ts';

// ScatterND of onnxruntime adds from several threads at once and loses updates if indices repeat
// (docs/bugs-and-fixes.md).
it('scatterAdd loses no update where many indices are the same', async () => {
  const [updates, width, rows] = [20_000, 16, 3];
  const indices = BigInt64Array.from({ length: updates }, (_, i) => BigInt(i % rows));
  const inputs = {
    indices: hostTensor('i64', [updates], indices),
    ones: hostTensor('f32', [updates, width], new Float32Array(updates * width).fill(1)),
  };
  const { sums } = await evaluate(inputs, ({ indices, ones }) => ({
    sums: scatterAdd(
      fill(ones!.graph, 0, [rows, width]),
      expand(unsqueeze(indices!, 1), [updates, width]),
      ones!,
      { axis: 0 },
    ),
  }));
  // Integers below 2^24 are exact in f32, in any order of summation.
  const expected = Array.from({ length: rows * width }, (_, i) =>
    Math.ceil((updates - Math.floor(i / width)) / rows),
  );
  expect([...sums!.data]).toEqual(expected);
});
