import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { damage } from '../../test/damage.ts';
import { DataError, ShapeError, UsageError } from '../util/errors.ts';
import { openNpy, openNpyWriter, readNpy, writeNpy } from './npy.ts';
import type { TensorData } from './tensor-data.ts';

// Written by numpy: tools/reference/npy_golden.py
const { files } = JSON.parse(readFileSync(new URL('fixtures/npy.json', import.meta.url), 'utf8')) as {
  files: Record<string, string>;
};
const golden = (name: string) => Buffer.from(files[name]!, 'base64');

const counting: TensorData = { dtype: 'f32', dims: [2, 3], data: Float32Array.of(0, 1, 2, 3, 4, 5) };
const arrays: Record<string, TensorData> = {
  f32: counting,
  f64: { dtype: 'f64', dims: [2], data: Float64Array.of(1.1, -1e300) },
  f16: { dtype: 'f16', dims: [3], data: Uint16Array.of(0x3c00, 0xb800, 0x7bff) },
  i64: { dtype: 'i64', dims: [2], data: BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n) },
  i32: { dtype: 'i32', dims: [2], data: Int32Array.of(-(2 ** 31), 2 ** 31 - 1) },
  i8: { dtype: 'i8', dims: [2], data: Int8Array.of(-128, 127) },
  u8: { dtype: 'u8', dims: [2], data: Uint8Array.of(0, 255) },
  u16: { dtype: 'u16', dims: [1], data: Uint16Array.of(65535) },
  u32: { dtype: 'u32', dims: [1], data: Uint32Array.of(2 ** 32 - 1) },
  bool: { dtype: 'bool', dims: [2], data: Uint8Array.of(1, 0) },
  scalar: { dtype: 'f32', dims: [], data: Float32Array.of(7) },
  empty: { dtype: 'f32', dims: [0, 3], data: new Float32Array(0) },
  deep: { dtype: 'i32', dims: [2, 3, 4], data: Int32Array.from({ length: 24 }, (_, i) => i) },
  'fortran-vector': { dtype: 'f32', dims: [2], data: Float32Array.of(1, 2) },
  aligned: { dtype: 'f32', dims: Array<number>(15).fill(1), data: new Float32Array(1) },
};

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'undrift-npy-'));
  path = join(folder, 'x.npy');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('.npy', () => {
  it.each(Object.keys(arrays))('%s: reads and writes the bytes of numpy', async (name) => {
    await writeFile(path, golden(name));
    expect(await readNpy(path)).toEqual(arrays[name]);
    await writeNpy(path, arrays[name]!);
    expect(await readFile(path)).toEqual(golden(name));
  });

  it.each(['version 2', 'version 3'])('reads %s of the format', async (name) => {
    await writeFile(path, golden(name));
    expect(await readNpy(path)).toEqual(counting);
  });

  it('reads rows', async () => {
    await writeFile(path, golden('deep'));
    const file = await openNpy(path);
    expect([file.dtype, file.dims]).toEqual(['i32', [2, 3, 4]]);
    const row = await file.readRows(1, 2);
    expect(row.dims).toEqual([1, 3, 4]);
    expect([...(row.data as Int32Array)]).toEqual(Array.from({ length: 12 }, (_, i) => 12 + i));
    expect((await file.readRows(2, 2)).data).toHaveLength(0);
    await expect(file.readRows(1, 3)).rejects.toThrow(UsageError);
    await expect(file.readRows(-1, 1)).rejects.toThrow(UsageError);
    await file.close();
  });

  it('does not write bf16, or data of the wrong size', async () => {
    await expect(writeNpy(path, { dtype: 'bf16', dims: [1], data: new Uint16Array(1) })).rejects.toThrow(
      /bf16/,
    );
    await expect(writeNpy(path, { dtype: 'f32', dims: [2], data: new Float32Array(1) })).rejects.toThrow(
      ShapeError,
    );
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('openNpyWriter', () => {
  it('appends rows and completes the header', async () => {
    const writer = await openNpyWriter(path, { dtype: 'f32', rowDims: [3] });
    await writer.append(Float32Array.of(0, 1, 2));
    expect(await readdir(folder)).not.toContain('x.npy');
    await writer.append(Float32Array.of(3, 4, 5));
    expect(writer.rows).toBe(2);
    await writer.close();
    expect(await readFile(path)).toEqual(golden('f32'));
    expect(await readdir(folder)).toEqual(['x.npy']);
  });

  it('takes a known number of rows, and refuses another', async () => {
    const writer = await openNpyWriter(path, { dtype: 'f32', rowDims: [3], rows: 2 });
    await writer.append(Float32Array.of(0, 1, 2, 3, 4, 5));
    await writer.close();
    expect(await readFile(path)).toEqual(golden('f32'));

    const short = await openNpyWriter(path, { dtype: 'f32', rowDims: [3], rows: 2 });
    await short.append(Float32Array.of(9, 9, 9));
    await expect(short.close()).rejects.toThrow(/2 rows were announced, 1 appended/);
    expect(await readFile(path)).toEqual(golden('f32'));
    expect(await readdir(folder)).toEqual(['x.npy']);
  });

  it('writes vectors, and files without rows', async () => {
    const vector = await openNpyWriter(path, { dtype: 'i32', rowDims: [] });
    await vector.append(Int32Array.of(-(2 ** 31), 2 ** 31 - 1));
    await vector.close();
    expect(await readFile(path)).toEqual(golden('i32'));
    await (await openNpyWriter(path, { dtype: 'f32', rowDims: [3] })).close();
    expect(await readFile(path)).toEqual(golden('empty'));
  });

  it('refuses parts of rows and other types; discard leaves nothing', async () => {
    const writer = await openNpyWriter(path, { dtype: 'f32', rowDims: [3] });
    await expect(writer.append(new Float32Array(4))).rejects.toThrow(ShapeError);
    await expect(writer.append(new Int32Array(3))).rejects.toThrow(/Float32Array, found Int32Array/);
    await writer.discard();
    expect(await readdir(folder)).toEqual([]);
    await expect(openNpyWriter(path, { dtype: 'bf16', rowDims: [1] })).rejects.toThrow(UsageError);
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('.npy files that are refused', () => {
  it.each([
    ['fortran', /Fortran order.*\n.*ascontiguousarray/],
    ['big-endian', />f4 is not one that we read/],
    ['object', /\|O is not/],
    ['structured', /\(a structure\)/],
    ['complex', /<c8/],
    ['text', /<U2/],
  ])('%s', async (name, message) => {
    await writeFile(path, golden(name));
    await expect(readNpy(path)).rejects.toThrow(DataError);
    await expect(readNpy(path)).rejects.toThrow(message);
  });

  it('missing, empty, cut, too long, of another format', async () => {
    await expect(readNpy(path)).rejects.toThrow(/no such file/);
    const whole = golden('f32');
    const hostile = Buffer.from(whole);
    hostile.write('(9999999, 9999999, 99999), }', hostile.indexOf('(2, 3), }'));
    for (const [bytes, message] of [
      [Buffer.alloc(0), /has 0 bytes/],
      [Buffer.from('not an array'), /not a \.npy file/],
      [Buffer.from('\x93NUMPY\x02\0\xff\xff\xff', 'latin1'), /has 11 bytes/],
      [Buffer.from('\x93NUMPY\x02\0\xff\xff\xff\xff', 'latin1'), /claims 4294967295 bytes/],
      [Buffer.from('\x93NUMPY\x09\0\0\0\0\0', 'latin1'), /format 9/],
      [whole.subarray(0, -1), /needs 24 bytes, the file has 23/],
      [Buffer.concat([whole, whole]), /needs 24 bytes/],
      [hostile, /shape \[9999999,9999999,99999\] needs/],
    ] as const) {
      await writeFile(path, bytes);
      await expect(readNpy(path)).rejects.toThrow(DataError);
      await expect(readNpy(path)).rejects.toThrow(message);
    }
    await expect(readNpy(folder)).rejects.toThrow(DataError);
  });

  it('damaged bytes: read or refused with a DataError', async () => {
    let refused = 0;
    for (let index = 0; index < 2000; index++) {
      await writeFile(path, damage(golden(index % 2 ? 'f32' : 'version 2'), index));
      try {
        await readNpy(path);
      } catch (error) {
        if (!(error instanceof DataError)) throw new Error(`case ${index}`, { cause: error });
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(500);
    expect(refused).toBeLessThan(2000);
  });
});
