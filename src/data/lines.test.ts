import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { DataError } from '../util/errors.ts';
import { type LineOptions, readLines, splitLines } from './lines.ts';

async function read(content: string | Uint8Array, options?: LineOptions): Promise<string[]> {
  const lines: string[] = [];
  for await (const { text, line } of readLines(join(tempFiles({ f: content }), 'f'), options)) {
    lines.push(text);
    expect(line).toBe(lines.length);
  }
  return lines;
}

async function failure(content: string | Uint8Array, options?: LineOptions): Promise<DataError> {
  return await read(content, options).then(
    () => expect.fail('no error'),
    (error) => {
      expect(error).toBeInstanceOf(DataError);
      return error;
    },
  );
}

describe('readLines', () => {
  it.each([
    ['', []],
    ['a', ['a']],
    ['a\n', ['a']],
    ['a\n\nb\n', ['a', '', 'b']],
    ['a\r\nb\r\n', ['a', 'b']],
    ['a\r\nb\r', ['a', 'b']],
    ['\n', ['']],
    ['\ufeffa\nb', ['a', 'b']],
    ['\ufeff', []],
    ['a\n\ufeffb', ['a', '\ufeffb']], // only the first is a byte order mark
    ['grüße 🌍\n東京', ['grüße 🌍', '東京']],
    ['nul\0byte\u2028separator', ['nul\0byte\u2028separator']],
  ])('reads %j, plain and gzip', async (content, lines) => {
    expect(await read(content)).toEqual(lines);
    expect(await read(gzipSync(content))).toEqual(lines);
  });

  it('splits lines and characters correctly however the bytes arrive', async () => {
    const text = '\ufeffzürich 🌍\r\n\r\n東京\nlast';
    const bytes = Buffer.from(text);
    for (let size = 1; size <= bytes.length; size++) {
      async function* pieces() {
        for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
      }
      const lines: string[] = [];
      for await (const { text } of splitLines(pieces(), 'f')) lines.push(text);
      expect(lines).toEqual(['zürich 🌍', '', '東京', 'last']);
    }
  });

  it('reads a line of megabytes, and several gzip members as one file', async () => {
    const long = 'é'.repeat(2 ** 20);
    expect(await read(`a\n${long}\nb`)).toEqual(['a', long, 'b']);
    expect(await read(Buffer.concat([gzipSync('a\nb'), gzipSync(`c\n${long}`)]))).toEqual(['a', 'bc', long]);
  });

  it('shows all bytes as they lie on disk', async () => {
    const bytes = gzipSync('some lines\n'.repeat(1000));
    const seen: Uint8Array[] = [];
    await read(bytes, { onBytes: (chunk) => seen.push(Buffer.from(chunk)) });
    expect(Buffer.concat(seen).equals(bytes)).toBe(true);
  });

  it('names the line that is not UTF-8', async () => {
    const error = await failure(Buffer.from('good\ncaf\xe9\ngood\n', 'latin1'));
    expect(error.line).toBe(2);
    expect(error.message).toMatch(/:2: not UTF-8\n {2}help: .*iconv/);
    // A character cut off at the end of the file, and one spread over two lines.
    expect((await failure(Buffer.from([0x61, 0x0a, 0xc3]))).line).toBe(2);
    expect((await failure(Buffer.from([0xc3, 0x0a, 0xa9]))).line).toBe(1);
    // A surrogate half and an overlong form are no UTF-8.
    expect((await failure(Buffer.from([0xed, 0xa0, 0x80]))).line).toBe(1);
    expect((await failure(Buffer.from([0xc0, 0xaf]))).line).toBe(1);
  });

  it('bounds the length of a line', async () => {
    expect(await read(`${'x'.repeat(10)}\r\n${'y'.repeat(10)}`, { maxLineBytes: 10 })).toHaveLength(2);
    const error = await failure(`ok\n${'x'.repeat(11)}\n`, { maxLineBytes: 10 });
    expect(error.message).toMatch(/:2: the line is longer than 10 bytes/);
    // Endless data without a line end is refused before it fills the memory.
    const bomb = gzipSync(Buffer.alloc(32 * 2 ** 20, 'x'));
    expect((await failure(bomb, { maxLineBytes: 2 ** 20 })).message).toMatch(
      /:1: the line is longer than 1,048,576 bytes/,
    );
  });

  /** Number of lines, or the error. */
  async function linesOf(content: Uint8Array): Promise<number> {
    let lines = 0;
    for await (const _ of readLines(join(tempFiles({ f: content }), 'f'))) lines++;
    return lines;
  }

  it('refuses gzip data that grows as no text does', async () => {
    // Up to 32 MiB any growth is read.
    const line = Buffer.alloc(100_000, 'x').fill('\n', 99_999);
    expect(await linesOf(gzipSync(Buffer.concat(Array(300).fill(line))))).toBe(300);
    await expect(linesOf(gzipSync(Buffer.concat(Array(400).fill(line))))).rejects.toThrow(
      /: the gzip data grows to more than 200 times its size \(\d\d,\d+,\d+ bytes from [\d,]+\): no text does\n {2}help: /,
    );
  });

  it('refuses more than a million blank lines in a row', async () => {
    const few = Buffer.from(`${'\n'.repeat(600_000)}a\n${' \r\n'.repeat(600_000)}`);
    expect(await linesOf(few)).toBe(1_200_001);
    await expect(linesOf(Buffer.from(`a\n${' \t\r\n'.repeat(1_000_001)}b\n`))).rejects.toThrow(
      /:1000002: more than 1,000,000 lines in a row are blank/,
    );
  });

  it('tells what is wrong with a gzip file', async () => {
    const bytes = gzipSync('line of some text\n'.repeat(5000));
    for (const length of [2, 9, 12, bytes.length >> 1, bytes.length - 1]) {
      expect((await failure(bytes.subarray(0, length))).message).toMatch(/the gzip data ends too early/);
    }
    const damaged = Buffer.from(bytes);
    damaged.fill(0x55, damaged.length - 8);
    expect((await failure(damaged)).message).toMatch(/damaged gzip data \(incorrect data check\)/);
  });

  it.each([
    ['UTF-16', Buffer.from('\ufeffid\ttext', 'utf16le')],
    ['zip archive', Buffer.from('PK\x03\x04 rest', 'latin1')],
    ['zstd', Buffer.from('28b52ffd00', 'hex')],
    ['bzip2', Buffer.from('BZh91AY')],
    ['xz', Buffer.from('fd377a585a00', 'hex')],
    ['Parquet', Buffer.from('PAR1 rest')],
  ])('recognises %s', async (name, bytes) => {
    expect((await failure(bytes)).message).toMatch(new RegExp(`: is .*${name}[^\\n]*\\n {2}help: `));
  });

  it('names a file that is missing or a folder', async () => {
    const folder = tempFiles();
    const take = async (path: string) => await readLines(path).next();
    await expect(take(join(folder, 'absent'))).rejects.toThrow(/absent: no such file/);
    await expect(take(join(folder, 'absent'))).rejects.toBeInstanceOf(DataError);
    await expect(take(folder)).rejects.toThrow(/is a folder/);
    await expect(take(folder)).rejects.toBeInstanceOf(DataError);
  });

  it.runIf(existsSync('/proc/self/fd'))('closes the file when the reader leaves early or fails', async () => {
    const folder = tempFiles({
      plain: 'x\n'.repeat(1e6),
      gzip: gzipSync(
        randomBytes(2 ** 20)
          .toString('hex')
          .replaceAll('0', '\n'),
      ),
      bad: Buffer.concat([Buffer.from([0xff, 0x0a]), Buffer.alloc(2 ** 20)]),
      zip: Buffer.concat([Buffer.from('PK\x03\x04'), Buffer.alloc(2 ** 20)]),
    });
    // Files of /proc/self/fd that are ours: the pipes of the test runner come and go.
    const isOpen = () =>
      readdirSync('/proc/self/fd').some((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`).startsWith(folder);
        } catch {
          return false; // the descriptor that listed the folder
        }
      });
    for (const name of ['plain', 'gzip', 'bad', 'zip']) {
      const lines = readLines(join(folder, name));
      await lines.next().catch(() => {});
      if (name === 'plain') expect(isOpen()).toBe(true);
      await lines.return(undefined);
      await expect.poll(isOpen).toBe(false);
    }
  });
});
