import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { damage } from '../../test/damage.ts';
import { DataError, ShapeError, UsageError } from '../util/errors.ts';
import { openSafetensors, readSafetensors, writeSafetensors } from './safetensors.ts';
import type { TensorData } from './tensor-data.ts';

// Written by the Python package safetensors: tools/reference/safetensors_golden.py
const fixture = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));

const golden: Record<string, TensorData> = {
  weight: { dtype: 'f32', dims: [2, 3], data: Float32Array.of(1.5, -2, 0.25, 0, Infinity, -1e-45) },
  half: { dtype: 'f16', dims: [3], data: Uint16Array.of(0x3c00, 0xb800, 0x7bff) },
  double: { dtype: 'f64', dims: [2], data: Float64Array.of(1.1, -1e300) },
  ids: { dtype: 'i64', dims: [3], data: BigInt64Array.of(-(2n ** 63n), -1n, 2n ** 63n - 1n) },
  i32: { dtype: 'i32', dims: [2], data: Int32Array.of(-(2 ** 31), 2 ** 31 - 1) },
  u32: { dtype: 'u32', dims: [1], data: Uint32Array.of(2 ** 32 - 1) },
  u16: { dtype: 'u16', dims: [3], data: Uint16Array.of(65535, 0, 1) },
  i8: { dtype: 'i8', dims: [2], data: Int8Array.of(-128, 127) },
  u8: { dtype: 'u8', dims: [3], data: Uint8Array.of(0, 255, 7) },
  mask: { dtype: 'bool', dims: [3], data: Uint8Array.of(1, 0, 1) },
  scalar: { dtype: 'f32', dims: [], data: Float32Array.of(7) },
  empty: { dtype: 'f32', dims: [0, 3], data: new Float32Array(0) },
  '10': { dtype: 'f32', dims: [1], data: Float32Array.of(10) },
  'größe "x"\\': { dtype: 'f32', dims: [1], data: Float32Array.of(2) },
};

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'undrift-safetensors-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** File with this header and `dataBytes` bytes of data. */
async function fileWith(header: string, dataBytes: number, claimedHeaderBytes?: number): Promise<string> {
  const path = join(folder, 'x.safetensors');
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(claimedHeaderBytes ?? Buffer.byteLength(header)));
  await writeFile(path, Buffer.concat([length, Buffer.from(header), Buffer.alloc(dataBytes)]));
  return path;
}

describe('safetensors', () => {
  it('reads what Python wrote', async () => {
    expect(await readSafetensors(fixture('golden.safetensors'))).toEqual({
      tensors: golden,
      metadata: { format: 'pt' },
    });
    const { tensors } = await readSafetensors(fixture('bf16.safetensors'));
    expect(tensors).toEqual({
      b: { dtype: 'bf16', dims: [1, 2], data: Uint16Array.of(0x3f80, 0xc000) },
      f: { dtype: 'f32', dims: [1], data: Float32Array.of(3) },
    });
  });

  it('writes the same bytes as Python', async () => {
    const path = join(folder, 'x.safetensors');
    await writeSafetensors(path, golden);
    expect(await readFile(path)).toEqual(await readFile(fixture('golden.safetensors')));
    await writeSafetensors(path, (await readSafetensors(fixture('bf16.safetensors'))).tensors);
    expect(await readFile(path)).toEqual(await readFile(fixture('bf16.safetensors')));
  });

  it('reads single tensors and names the nearest for one that is missing', async () => {
    const file = await openSafetensors(fixture('golden.safetensors'));
    expect(file.tensors.get('weight')).toMatchObject({ dtype: 'f32', dims: [2, 3] });
    expect(await file.read('weight')).toEqual(golden.weight);
    await expect(file.read('wieght')).rejects.toThrow(/no tensor 'wieght'\. Did you mean 'weight'\?/);
    await file.close();
  });

  it('writes views of larger buffers, no metadata, and no tensors', async () => {
    const path = join(folder, 'x.safetensors');
    const data = Float32Array.of(0, 1, 2, 3).subarray(1, 3);
    await writeSafetensors(path, { a: { dtype: 'f32', dims: [2], data } }, {});
    expect(await readSafetensors(path)).toEqual({
      tensors: { a: { dtype: 'f32', dims: [2], data: Float32Array.of(1, 2) } },
      metadata: {},
    });
    await writeSafetensors(path, {});
    expect((await readSafetensors(path)).tensors).toEqual({});
    const hidden = Object.fromEntries([['__proto__', golden.i8!]]);
    await writeSafetensors(path, hidden);
    expect(Object.entries((await readSafetensors(path)).tensors)).toEqual([['__proto__', golden.i8]]);
  });

  it('refuses to write what does not fit, and leaves no file', async () => {
    const path = join(folder, 'x.safetensors');
    const wrong: TensorData = { dtype: 'f32', dims: [2, 2], data: new Float32Array(3) };
    await expect(writeSafetensors(path, { wrong })).rejects.toThrow(ShapeError);
    await expect(writeSafetensors(path, { __metadata__: golden.i8! })).rejects.toThrow(UsageError);
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('sharded safetensors', () => {
  const index = (weightMap: unknown) =>
    writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
  const one = 'model-00001-of-00002.safetensors';
  const two = 'model-00002-of-00002.safetensors';

  it('reads all shards of an index, also by the name of the whole', async () => {
    await writeSafetensors(join(folder, one), { weight: golden.weight! });
    await writeSafetensors(join(folder, two), { ids: golden.ids!, unused: golden.i8! });
    await index({ weight: one, ids: two });
    const expected = { tensors: { weight: golden.weight, ids: golden.ids }, metadata: { format: 'pt' } };
    expect(await readSafetensors(join(folder, 'model.safetensors.index.json'))).toEqual(expected);
    expect(await readSafetensors(join(folder, 'model.safetensors'))).toEqual(expected);
  });

  it.each<[string, unknown, RegExp]>([
    ['no map', undefined, /no object 'weight_map'/],
    ['a list', ['weight'], /no object 'weight_map'/],
    ['a path out of the folder', { weight: '../x.safetensors' }, /no \.safetensors file of this folder/],
    ['no file name', { weight: 3 }, /no \.safetensors file of this folder/],
    ['a missing shard', { weight: two }, /00002.*no such file/],
    ['a tensor that its shard lacks', { other: one }, /no tensor 'other'/],
    ['the name of the whole', { weight: 'model.safetensors' }, /no such file/],
  ])('refuses %s', async (_, weightMap, message) => {
    await writeSafetensors(join(folder, one), { weight: golden.weight! });
    await index(weightMap);
    const reading = readSafetensors(join(folder, 'model.safetensors'));
    await expect(reading).rejects.toThrow(DataError);
    await expect(readSafetensors(join(folder, 'model.safetensors'))).rejects.toThrow(message);
  });
});

describe('tensors whose element type is not read', () => {
  const header = (dtype: string, bytes: number) =>
    `{"odd":{"dtype":"${dtype}","shape":[4],"data_offsets":[0,${bytes}]},"even":{"dtype":"F32","shape":[1],"data_offsets":[${bytes},${bytes + 4}]}}`;

  it.each([
    ['F8_E4M3', 4, /save the tensor in one of these types: F32, /],
    ['F8_E5M2', 4, /F8_E5M2, which we do not read/],
    ['F4', 2, /F4, which we do not read/],
    ['F6_E2M3', 3, /F6_E2M3, which we do not read/],
    ['I16', 8, /I16, which we do not read/],
    ['U64', 32, /U64, which we do not read/],
    ['C64', 32, /C64, which we do not read/],
    ['X99', 7, /the file is damaged, or of a newer version of safetensors/],
  ])('%s: the other tensors are read', async (dtype, bytes, message) => {
    const path = await fileWith(header(dtype, bytes), bytes + 4);
    const file = await openSafetensors(path);
    expect([...file.unreadable]).toEqual([['odd', dtype]]);
    expect([...file.tensors.keys()]).toEqual(['even']);
    expect((await file.read('even')).dims).toEqual([1]);
    await expect(file.read('odd')).rejects.toThrow(message);
    await expect(readSafetensors(path)).rejects.toThrow(`tensor 'odd' has the element type ${dtype}`);
    await file.close();
    await writeFile(
      `${path}.index.json`,
      JSON.stringify({
        metadata: { total: 1, odd: 'even' },
        weight_map: { odd: basename(path), even: basename(path) },
      }),
    );
    const shards = await openSafetensors(`${path}.index.json`);
    expect([...shards.unreadable.keys()]).toEqual(['odd']);
    expect(shards.metadata).toEqual({ odd: 'even' });
    await expect(shards.read('odd')).rejects.toThrow(message);
    await shards.close();
  });
});

describe('safetensors files that are refused', () => {
  const entry = (shape: string, offsets: string, dtype = 'F32') =>
    `{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}`;

  it.each<[string, string, number, number | undefined, RegExp]>([
    ['header longer than the file', '{}', 0, 1000, /claims 1000 bytes/],
    ['header of more than 100 MB', '{}', 0, 2 ** 40, /at most 100000000/],
    ['no JSON', '{"a":', 0, undefined, /not valid JSON/],
    ['JSON, but a list', '[]', 0, undefined, /not a JSON object/],
    ['null', 'null', 0, undefined, /not a JSON object/],
    ['entry that is no object', '{"a":1}', 0, undefined, /'a' is not an object/],
    ['metadata that is not text', '{"__metadata__":{"a":1}}', 0, undefined, /__metadata__/],
    ['no element type', '{"a":{}}', 0, undefined, /no element type/],
    [
      'wrong size of a type that is not read',
      `{"a":${entry('[3]', '[0,4]', 'I16')}}`,
      4,
      undefined,
      /type I16 .* needs 6 bytes, has 4/,
    ],
    ['negative dimension', `{"a":${entry('[-1]', '[0,4]')}}`, 4, undefined, /no valid shape/],
    ['fractional dimension', `{"a":${entry('[0.5]', '[0,2]')}}`, 2, undefined, /no valid shape/],
    ['shape that is text', `{"a":${entry('"1"', '[0,4]')}}`, 4, undefined, /no valid shape/],
    [
      'huge shape',
      `{"a":${entry('[4294967296,4294967296]', '[0,4]')}}`,
      4,
      undefined,
      /needs .* bytes, has 4/,
    ],
    [
      'overflowing shape',
      `{"a":${entry(`[${'9007199254740991,'.repeat(30)}0]`, '[0,0]')}}`,
      0,
      undefined,
      /needs/,
    ],
    ['one offset', `{"a":${entry('[1]', '[0]')}}`, 4, undefined, /no valid data_offsets/],
    ['negative offset', `{"a":${entry('[1]', '[-4,0]')}}`, 4, undefined, /no valid data_offsets/],
    ['offsets in the wrong order', `{"a":${entry('[1]', '[4,0]')}}`, 4, undefined, /lies at bytes 4 to 0/],
    ['offset beyond the file', `{"a":${entry('[2]', '[0,8]')}}`, 4, undefined, /lies at bytes 0 to 8/],
    ['wrong size', `{"a":${entry('[2]', '[0,4]')}}`, 4, undefined, /needs 8 bytes, has 4/],
    ['overlap', `{"a":${entry('[2]', '[0,8]')},"b":${entry('[1]', '[4,8]')}}`, 8, undefined, /'b' overlaps/],
    ['gap', `{"a":${entry('[1]', '[4,8]')}}`, 8, undefined, /bytes 0 to 4 of the data belong to no tensor/],
    ['rest', `{"a":${entry('[1]', '[0,4]')}}`, 8, undefined, /bytes 4 to 8/],
    [
      'duplicate',
      `{"a":${entry('[1]', '[0,4]')},"\\u0061" :${entry('[1]', '[0,4]')}}`,
      4,
      undefined,
      /'a' occurs twice/,
    ],
    [
      'deep nesting',
      `{"a":${'['.repeat(2e5)}${']'.repeat(2e5)}}`,
      0,
      undefined,
      /nested more than 200 levels deep/,
    ],
    [
      'deep nesting as a shape',
      `{"a":${entry(`${'['.repeat(2e5)}${']'.repeat(2e5)}`, '[0,0]')}}`,
      0,
      undefined,
      /nested more than 200 levels deep/,
    ],
    ['endless text', `{"${'x'.repeat(1e6)}":1}`, 0, undefined, /is not an object/],
  ])('%s', async (_, header, dataBytes, claimed, message) => {
    const path = await fileWith(header, dataBytes, claimed);
    await expect(openSafetensors(path)).rejects.toThrow(DataError);
    await expect(openSafetensors(path)).rejects.toThrow(message);
  });

  it('files that are missing, empty, cut, folders, or not UTF-8', async () => {
    const path = join(folder, 'x.safetensors');
    await expect(openSafetensors(path)).rejects.toThrow(/no such file/);
    await writeFile(path, '');
    await expect(openSafetensors(path)).rejects.toThrow(/at least 8 bytes/);
    const whole = await readFile(fixture('golden.safetensors'));
    await writeFile(path, whole.subarray(0, -1));
    await expect(openSafetensors(path)).rejects.toThrow(DataError);
    await expect(openSafetensors(folder)).rejects.toThrow(DataError);
    const latin1 = await fileWith('{"?":1}', 0);
    await writeFile(latin1, (await readFile(latin1)).fill(0xe4, 10, 11));
    await expect(openSafetensors(latin1)).rejects.toThrow(/not UTF-8/);
  });

  it('a file that is cut after it was opened', async () => {
    const path = join(folder, 'x.safetensors');
    const whole = await readFile(fixture('golden.safetensors'));
    await writeFile(path, whole);
    const file = await openSafetensors(path);
    await writeFile(path, whole.subarray(0, -4));
    await expect(file.read('mask')).rejects.toThrow(/ends 3 bytes too early/);
    await file.close();
  });

  it('damaged bytes: read or refused with a DataError', async () => {
    const whole = await readFile(fixture('golden.safetensors'));
    const path = join(folder, 'x.safetensors');
    let refused = 0;
    for (let index = 0; index < 2000; index++) {
      await writeFile(path, damage(whole, index));
      try {
        await readSafetensors(path);
      } catch (error) {
        if (!(error instanceof DataError)) throw new Error(`case ${index}`, { cause: error });
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(500);
    expect(refused).toBeLessThan(2000);
  });
});
