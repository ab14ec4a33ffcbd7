import { InferenceSession, Tensor } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { ShapeError } from '../util/errors.ts';
import { encodeModel } from './encode.ts';
import type { OnnxModel, OnnxTensor } from './model.ts';

/** y = x · w + b over a named batch dimension. */
function affineModel(w: OnnxTensor, b: OnnxTensor): OnnxModel {
  return {
    irVersion: 10,
    opsets: { '': 20 },
    producerName: 'undrift',
    producerVersion: '0',
    graph: {
      name: 'affine',
      nodes: [
        {
          opType: 'Gemm',
          inputs: ['x', 'w', 'b'],
          outputs: ['y'],
          attributes: { alpha: { kind: 'float', value: 2 }, transB: { kind: 'int', value: 1 } },
        },
      ],
      inputs: [{ name: 'x', dtype: 'f32', shape: ['batch', w.dims[1]!] }],
      outputs: [{ name: 'y', dtype: 'f32', shape: ['batch', w.dims[0]!] }],
      initializers: [w, b],
    },
    metadata: { purpose: 'test' },
  };
}

describe('encodeModel', () => {
  it('writes a model that onnxruntime loads and runs', async () => {
    const w: OnnxTensor = { name: 'w', dtype: 'f32', dims: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) };
    const b: OnnxTensor = { name: 'b', dtype: 'f32', dims: [2], data: Float32Array.of(10, 20) };
    const session = await InferenceSession.create(encodeModel(affineModel(w, b)));
    expect(session.inputNames).toEqual(['x']);
    const { y } = await session.run({ x: new Tensor('float32', Float32Array.of(1, 0, 0, 0, 1, -1), [2, 3]) });
    expect([...(y!.data as Float32Array)]).toEqual([12, 28, 8, 18]);
    await session.release();
  });

  it('copies large weights once and keeps every byte', () => {
    const data = Float32Array.from({ length: 50_000 }, (_, i) => i);
    const model = affineModel(
      { name: 'w', dtype: 'f32', dims: [100, 500], data },
      { name: 'b', dtype: 'f32', dims: [100], data: new Float32Array(100) },
    );
    const bytes = encodeModel(model);
    const raw = Buffer.from(data.buffer);
    expect(Buffer.from(bytes.buffer).includes(raw)).toBe(true);
    expect(Buffer.from(encodeModel(model)).equals(bytes)).toBe(true);
  });

  it('refuses data that does not fit the shape', () => {
    const w: OnnxTensor = { name: 'w', dtype: 'f32', dims: [2, 3], data: new Float32Array(5) };
    const b: OnnxTensor = { name: 'b', dtype: 'f32', dims: [2], data: new Float32Array(2) };
    expect(() => encodeModel(affineModel(w, b))).toThrow(ShapeError);
    expect(() => encodeModel(affineModel(w, b))).toThrow(/'w'.*24 bytes.*20/);
  });
});
