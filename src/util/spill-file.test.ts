import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { SpillFile } from './spill-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'undrift-spill-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('bytes are read back at any place and in any order, and no name is left', () => {
  const file = SpillFile.create(folder);
  expect(readdirSync(folder)).toEqual([]);
  const bytes = Uint8Array.from({ length: 600_000 }, (_, i) => (i * 31 + (i >> 8)) & 255);
  const places: number[] = [];
  for (let start = 0; start < bytes.length; start += 1000)
    places.push(file.append(bytes.subarray(start, start + 1000)));
  expect(file.bytes).toBe(bytes.length);
  const check = (start: number, length: number) => {
    const into = new Uint8Array(length);
    file.read(start, into);
    expect(Buffer.compare(into, bytes.subarray(start, start + length))).toBe(0);
  };
  for (const place of places) check(place, 1000); // one after the other: through the window
  for (const place of places.toReversed()) check(place, 999);
  check(bytes.length - 1, 1);
  check(0, bytes.length);
  // What is appended after a read is seen, although the end of the file was read ahead.
  check(bytes.length - 2000, 1000);
  check(bytes.length - 1000, 1000);
  const added = file.append(Uint8Array.of(1, 2, 3));
  const into = new Uint8Array(3);
  file.read(added, into);
  expect([...into]).toEqual([1, 2, 3]);
  expect(() => file.read(added, new Uint8Array(4))).toThrow('600000 to 600004 of 600003');
  file.close();
  expect(() => file.read(0, into)).toThrow('is closed');
});

test('a folder that does not exist is an error that names it', () => {
  expect(() => SpillFile.create(join(folder, 'absent'))).toThrow(/cannot write .*absent/);
});
