import { describe, expect, it } from 'vitest';
import { DataError, UndriftError } from '../util/errors.ts';
import { WireReader, WireWriter } from './wire.ts';

function read<T>(bytes: Uint8Array, get: (reader: WireReader) => T): T {
  const reader = new WireReader(bytes, 'test');
  expect(reader.next()).toBe(true);
  const value = get(reader);
  expect(reader.next()).toBe(false);
  return value;
}

describe('varint', () => {
  it.each([
    0,
    1,
    127,
    128,
    300,
    2 ** 28,
    2 ** 31,
    2 ** 32 - 1,
    2 ** 32,
    2 ** 35,
    2 ** 53 - 1,
    -1,
    -128,
    -(2 ** 31),
    -(2 ** 32),
    -(2 ** 53),
    2 ** 62,
    -(2 ** 63),
  ])('%d comes back', (value) => {
    const writer = new WireWriter();
    writer.varint(1, value);
    expect(read(writer.finish(), (r) => r.varint())).toBe(value);
    const bigints: bigint[] = [];
    read(writer.finish(), (r) => r.bigints(bigints));
    expect(bigints).toEqual([BigInt(value)]);
  });

  it('has the bytes of the specification', () => {
    const writer = new WireWriter();
    writer.varint(1, 150);
    writer.varint(2, -2);
    writer.string(16, 'testing');
    expect(Buffer.from(writer.finish()).toString('hex')).toBe(
      '08960110feffffffffffffffff018201' + '0774657374696e67',
    );
  });

  it('saturates at 64 bits, beyond the precision of numbers', () => {
    const bigints: bigint[] = [];
    for (const value of [2 ** 63, 1e300, -1e300]) {
      const writer = new WireWriter();
      writer.varint(1, value);
      read(writer.finish(), (r) => r.bigints(bigints));
    }
    expect(bigints).toEqual([2n ** 63n - 1n, 2n ** 63n - 1n, -(2n ** 63n)]);
  });

  it('refuses numbers that are not integers', () => {
    for (const value of [0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => new WireWriter().varint(1, value)).toThrow(UndriftError);
    }
  });
});

it('floats, doubles and text come back', () => {
  const writer = new WireWriter();
  writer.float(1, 0.1);
  writer.double(2, 0.1);
  writer.string(3, 'größe €\u{1f600}');
  const reader = new WireReader(writer.finish(), 'test');
  reader.next();
  expect(reader.float()).toBe(Math.fround(0.1));
  reader.next();
  expect(reader.double()).toBe(0.1);
  reader.next();
  expect(reader.string()).toBe('größe €\u{1f600}');
});

it('nested messages of every size around the copying threshold come back', () => {
  for (const size of [0, 1, 63, 64, 127, 128, 4095, 4096, 4097, 20_000]) {
    const payload = Uint8Array.from({ length: size }, (_, i) => i % 251);
    const writer = new WireWriter();
    writer.varint(1, 1);
    writer.message(2, (outer) => {
      outer.string(1, 'before');
      outer.message(2, (inner) => inner.bytes(3, payload));
      outer.string(3, 'after');
    });
    writer.varint(3, 3);
    const bytes = writer.finish();
    expect(bytes.byteLength).toBe(writer.length);
    const reader = new WireReader(bytes, 'test');
    reader.next();
    expect(reader.varint()).toBe(1);
    reader.next();
    const outer = reader.message();
    outer.next();
    expect(outer.string()).toBe('before');
    outer.next();
    const inner = outer.message();
    inner.next();
    expect(Buffer.compare(inner.bytes(), payload)).toBe(0);
    outer.next();
    expect(outer.string()).toBe('after');
    reader.next();
    expect(reader.varint()).toBe(3);
    expect(reader.next()).toBe(false);
  }
});

it('a nested length may not reach beyond its own message', () => {
  // Field 1 has two bytes and contains a field 1 that claims three. The next bytes belong to the outer message.
  const reader = new WireReader(Uint8Array.of(0x0a, 2, 0x0a, 3, 0x10, 1, 0x10, 1), 'test');
  reader.next();
  const inner = reader.message();
  inner.next();
  expect(() => inner.bytes()).toThrow(DataError);
});
