import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { DataError } from '../util/errors.ts';
import { decodeModel } from './decode.ts';
import { bytesOf, type TypedArray } from './dtypes.ts';
import { encodeModel } from './encode.ts';
import type { OnnxModel, OnnxTensor } from './model.ts';
import { WireWriter } from './wire.ts';

// Written by the Python package onnx: tools/reference/onnx_golden.py
const fixture = (name: string) => readFileSync(new URL(`fixtures/${name}`, import.meta.url));
const golden = JSON.parse(fixture('golden.json').toString()) as {
  tensors: Record<string, { dims: number[]; values: string[] }>;
};

const text = (x: number | bigint, isFloat: boolean) => {
  if (!isFloat) return String(x);
  return x === Number.POSITIVE_INFINITY ? 'inf' : String(x);
};

function tensorValues(tensor: OnnxTensor): string[] {
  const isFloat = tensor.dtype === 'f32' || tensor.dtype === 'f64';
  return Array.from(tensor.data as TypedArray as Iterable<number | bigint>, (x) => text(x, isFloat));
}

describe('decodeModel', () => {
  it.each(['raw.onnx', 'typed.onnx'])('reads every element type (%s)', (file) => {
    const { graph } = decodeModel(fixture(file), file);
    expect(graph.initializers.map((t) => t.name)).toEqual(Object.keys(golden.tensors));
    for (const tensor of graph.initializers) {
      const expected = golden.tensors[tensor.name]!;
      const isFloat = tensor.dtype === 'f32' || tensor.dtype === 'f64';
      expect(tensor.dims).toEqual(expected.dims);
      expect(tensorValues(tensor)).toEqual(
        expected.values.map((v) => (isFloat && v !== 'inf' ? String(Number(v)) : v)),
      );
    }
  });

  it('reads nodes, attributes, subgraphs, shapes, operator sets and metadata', () => {
    const model = decodeModel(fixture('raw.onnx'));
    expect(model).toMatchObject({
      irVersion: 10,
      opsets: { '': 20, 'undrift.test': 1 },
      producerName: 'undrift-golden',
      producerVersion: '1',
      metadata: { key: 'value' },
    });
    const [conditional, everything] = model.graph.nodes;
    expect(everything).toEqual({
      opType: 'Everything',
      domain: 'undrift.test',
      name: 'every kind',
      docString: 'all kinds of attributes',
      inputs: ['x', '', 'f32'],
      outputs: ['z', ''],
      attributes: {
        a_int: { kind: 'int', value: -3 },
        b_big: { kind: 'int', value: -(2 ** 63) },
        c_float: { kind: 'float', value: 0.5 },
        d_string: { kind: 'string', value: 'größe' },
        e_ints: { kind: 'ints', value: [1, -1, 2 ** 40] },
        f_floats: { kind: 'floats', value: [0.25, -1.5] },
        g_strings: { kind: 'strings', value: ['a', ''] },
        h_tensor: {
          kind: 'tensor',
          value: { name: 't', dtype: 'i64', dims: [2], data: BigInt64Array.of(3n, -1n) },
        },
        i_zero: { kind: 'int', value: 0 },
      },
    });
    const branch = conditional!.attributes!.then_branch!;
    expect(branch.kind === 'graph' && branch.value.nodes[0]!.opType).toBe('Neg');
    expect(model.graph.inputs.map((v) => [v.name, v.dtype, v.shape])).toEqual([
      ['x', 'f32', ['batch', 3]],
      ['flag', 'bool', []],
      ['open', 'i64', ['batch', '']],
    ]);
    expect(model.graph.outputs[1]).toEqual({ name: 'z', dtype: 'f32', shape: ['...'] });
    expect(model.graph.values).toEqual([{ name: 'hidden', dtype: 'f16', shape: ['batch', 4] }]);
  });

  it('then encodeModel gives the bytes of the Python package', () => {
    const bytes = fixture('raw.onnx');
    expect(Buffer.from(encodeModel(decodeModel(bytes))).equals(bytes)).toBe(true);
  });

  it('reads packed lists', () => {
    const bytes = new WireWriter();
    const varints = (w: WireWriter, field: number, list: number[]) => {
      // A packed list holds the varints without tags.
      w.bytes(field, Uint8Array.from(list));
    };
    bytes.message(7, (graph) => {
      graph.message(5, (tensor) => {
        varints(tensor, 1, [2, 1]);
        tensor.varint(2, 7);
        varints(tensor, 7, [5, 6]);
      });
    });
    const [tensor] = decodeModel(bytes.finish()).graph.initializers;
    expect(tensor).toEqual({ name: '', dtype: 'i64', dims: [2, 1], data: BigInt64Array.of(5n, 6n) });
  });

  it('keeps a name like __proto__ as an ordinary key', () => {
    const model: OnnxModel = {
      irVersion: 10,
      opsets: { '': 20 },
      producerName: '',
      producerVersion: '',
      graph: { name: '', nodes: [], inputs: [], outputs: [], initializers: [] },
      metadata: Object.fromEntries([['__proto__', 'x']]),
    };
    expect(Object.entries(decodeModel(encodeModel(model)).metadata!)).toEqual([['__proto__', 'x']]);
  });

  it('does not copy aligned tensors', () => {
    const bytes = Uint8Array.from(fixture('raw.onnx'));
    const { graph } = decodeModel(bytes);
    const u8 = graph.initializers.find((t) => t.name === 'u8')!;
    expect(u8.data.buffer).toBe(bytes.buffer);
    expect([...bytesOf(u8.data)]).toEqual([0, 255]);
  });
});

describe('decodeModel refuses', () => {
  const minimal = (fill: (graph: WireWriter) => void) => {
    const writer = new WireWriter();
    writer.message(7, fill);
    return writer.finish();
  };
  /** A tensor of dtype f32 with given dims and raw bytes. */
  const tensor = (dims: number[], rawBytes: number) => (graph: WireWriter) =>
    graph.message(5, (w) => {
      for (const dim of dims) w.varint(1, dim);
      w.varint(2, 1);
      w.bytes(9, new Uint8Array(rawBytes));
    });
  /** Graphs nested in attributes of nodes. */
  const nested = (depth: number) => (graph: WireWriter) =>
    graph.message(1, (node) => {
      node.string(4, 'If');
      if (depth > 0) node.message(5, (attribute) => attribute.message(6, nested(depth - 1)));
    });

  it.each<[string, Uint8Array, RegExp]>([
    ['no bytes', new Uint8Array(0), /no graph/],
    ['text', Buffer.from('{"model_type": "bert"}'), /./],
    ['a length beyond the end', Uint8Array.of(0x3a, 0xff, 0xff, 0xff, 0x7f, 0), /ends too early/],
    [
      'a negative length',
      Uint8Array.of(0x3a, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1),
      /ends too early/,
    ],
    ['an endless integer', Uint8Array.of(0x08, ...Array<number>(20).fill(0x80)), /more than 10 bytes/],
    ['field number 0', Uint8Array.of(0x02, 0), /no field tag/],
    ['a group', Uint8Array.of(0x7b), /wire type 3/],
    ['a wrong wire type', Uint8Array.of(0x0a, 0), /wire type 2, expected 0/],
    ['data too short for the shape', minimal(tensor([2, 2], 12)), /needs 4 elements, found 3/],
    ['a huge shape', minimal(tensor([2 ** 62, 2 ** 62, 2 ** 62], 12)), /needs .* elements, found 3/],
    ['an infinite shape times zero', minimal(tensor([...Array<number>(40).fill(2 ** 62), 0], 0)), /elements/],
    ['a negative dimension', minimal(tensor([-1, -3], 12)), /shape \[-1,-3\]/],
    ['deep nesting', minimal(nested(60)), /nested more than 100 deep/],
    ['names that are not UTF-8', minimal((graph) => graph.bytes(2, Uint8Array.of(0xff))), /not UTF-8/],
    ['external data', minimal((g) => g.message(5, (w) => w.varint(14, 1))), /another file/],
    ['string tensors', minimal((g) => g.message(5, (w) => w.varint(2, 8))), /element type 8/],
  ])('%s', (_, bytes, message) => {
    expect(() => decodeModel(bytes, 'model.onnx')).toThrow(DataError);
    expect(() => decodeModel(bytes, 'model.onnx')).toThrow(message);
    expect(() => decodeModel(bytes, 'model.onnx')).toThrow(/^model\.onnx: /);
  });

  it('no graph of moderate nesting', () => {
    expect(decodeModel(minimal(nested(20))).graph.nodes).toHaveLength(1);
  });
});
