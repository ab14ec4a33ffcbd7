import { existsSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DataError, UndriftError } from './errors.ts';
import { fileError, readJson, readText, recoverFolder, writeFileAtomic, writeFolderAtomic } from './files.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'undrift-files-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const text = (path: string) => readFile(path, 'utf8');

describe('writeFileAtomic', () => {
  it('writes text, bytes and pieces, makes parent folders and leaves nothing else', async () => {
    await writeFileAtomic(join(folder, 'a', 'b', 'text'), 'größe');
    await writeFileAtomic(join(folder, 'a', 'b', 'bytes'), Uint8Array.of(65, 66));
    await writeFileAtomic(
      join(folder, 'a', 'b', 'pieces'),
      (async function* () {
        yield 'one ';
        yield Buffer.from('two');
      })(),
    );
    expect(await text(join(folder, 'a', 'b', 'text'))).toBe('größe');
    expect(await text(join(folder, 'a', 'b', 'bytes'))).toBe('AB');
    expect(await text(join(folder, 'a', 'b', 'pieces'))).toBe('one two');
    expect((await readdir(join(folder, 'a', 'b'))).sort()).toEqual(['bytes', 'pieces', 'text']);
  });

  it('writes pieces of any size in their order', async () => {
    const sizes = [0, 1, 2 ** 18 - 1, 1, 2 ** 18, 2 ** 18 + 1, 7, 2 ** 19, 3];
    const shared = Buffer.alloc(2 ** 19);
    async function* pieces() {
      for (const [i, size] of sizes.entries()) yield shared.subarray(0, size).fill(i); // the piece before is overwritten
    }
    await writeFileAtomic(join(folder, 'pieces'), pieces());
    const expected = Buffer.concat(sizes.map((size, i) => Buffer.alloc(size, i)));
    expect((await readFile(join(folder, 'pieces'))).equals(expected)).toBe(true);
  });

  it('keeps the old content until all of the new is there', async () => {
    const path = join(folder, 'file');
    await writeFileAtomic(path, 'old');
    await writeFileAtomic(
      path,
      (async function* () {
        yield 'new';
        expect(await text(path)).toBe('old');
      })(),
    );
    expect(await text(path)).toBe('new');
  });

  it('keeps the old content and removes the temporary file if the source fails', async () => {
    const path = join(folder, 'file');
    await writeFileAtomic(path, 'old');
    const broken = (async function* () {
      yield 'half';
      throw new RangeError('source broke');
    })();
    await expect(writeFileAtomic(path, broken)).rejects.toThrow(new RangeError('source broke'));
    expect(await text(path)).toBe('old');
    expect(await readdir(folder)).toEqual(['file']);
  });

  it('refuses a folder, and a path through a file', async () => {
    await mkdir(join(folder, 'sub'));
    await writeFile(join(folder, 'file'), '');
    await expect(writeFileAtomic(join(folder, 'sub'), '')).rejects.toThrow(
      /cannot write .*folder, not a file\n {2}help/,
    );
    await expect(writeFileAtomic(join(folder, 'file', 'x'), '')).rejects.toThrow(UndriftError);
    expect((await readdir(folder)).sort()).toEqual(['file', 'sub']);
  });
});

describe('writeFolderAtomic', () => {
  const path = () => join(folder, 'checkpoint');
  const fill = (value: string) => async (temporary: string) => {
    await mkdir(join(temporary, 'deep'));
    await writeFile(join(temporary, 'deep', value), value);
  };

  it('makes and replaces a folder', async () => {
    await writeFolderAtomic(`${path()}/`, fill('one'));
    expect(await readdir(join(path(), 'deep'))).toEqual(['one']);
    await writeFolderAtomic(path(), fill('two'));
    expect(await readdir(join(path(), 'deep'))).toEqual(['two']);
    expect(await readdir(folder)).toEqual(['checkpoint']);
  });

  it('keeps the old folder if filling fails', async () => {
    await writeFolderAtomic(path(), fill('one'));
    const broken = writeFolderAtomic(path(), async (temporary) => {
      await fill('two')(temporary);
      throw new Error('stopped');
    });
    await expect(broken).rejects.toThrow('stopped');
    expect(await readdir(join(path(), 'deep'))).toEqual(['one']);
    expect(await readdir(folder)).toEqual(['checkpoint']);
  });

  it('recovers from a kill while filling, and from one between the two renames', async () => {
    await writeFolderAtomic(path(), fill('one'));
    await mkdir(`${path()}.tmp`);
    await writeFile(join(`${path()}.tmp`, 'half'), '');
    await recoverFolder(path());
    expect(await readdir(join(path(), 'deep'))).toEqual(['one']);
    await writeFolderAtomic(path(), fill('two'));
    expect(await readdir(path())).toEqual(['deep']);

    await rename(path(), `${path()}.old`);
    await mkdir(`${path()}.tmp`);
    await recoverFolder(path());
    expect(await readdir(join(path(), 'deep'))).toEqual(['two']);
    await writeFolderAtomic(path(), fill('three'));
    expect(await readdir(join(path(), 'deep'))).toEqual(['three']);
    expect(await readdir(folder)).toEqual(['checkpoint']);
  });

  it('refuses to replace a file', async () => {
    await writeFile(path(), 'mine');
    await expect(writeFolderAtomic(path(), fill('one'))).rejects.toThrow(UndriftError);
    expect(await text(path())).toBe('mine');
  });
});

describe('reading', () => {
  it('JSON: the value, without a byte-order mark', async () => {
    await writeFile(join(folder, 'x.json'), '\ufeff{"a": [1]}');
    expect(await readJson(join(folder, 'x.json'))).toEqual({ a: [1] });
  });

  it('JSON: names file and line of a fault', async () => {
    const path = join(folder, 'x.json');
    await writeFile(path, '{\n "a": 1,\n "b" 2\n}');
    await expect(readJson(path)).rejects.toThrow(`${path}:3: not valid JSON`);
    await writeFile(path, '{\n "a": 1,\n');
    await expect(readJson(path)).rejects.toThrow(`${path}:3: not valid JSON`);
    await writeFile(path, '[1,\nfoo]'); // of this one V8 does not tell the place
    await expect(readJson(path)).rejects.toThrow(`${path}: not valid JSON: Unexpected token 'o'`);
    await writeFile(path, '');
    await expect(readJson(path)).rejects.toThrow(DataError);
  });

  it('text: missing files, folders and other encodings are DataErrors', async () => {
    await expect(readText(join(folder, 'none'))).rejects.toThrow(/none: no such file/);
    await expect(readText(folder)).rejects.toThrow(DataError);
    await expect(readText('a\0b')).rejects.toThrow(DataError);
    await writeFile(join(folder, 'latin1'), Uint8Array.of(0xe4));
    await expect(readText(join(folder, 'latin1'))).rejects.toThrow(/latin1: the file is not UTF-8/);
  });
});

describe('fileError', () => {
  it.runIf(existsSync('/dev/full'))('explains a full disk', () => {
    let failure: unknown;
    try {
      writeFileSync('/dev/full', 'x');
    } catch (error) {
      failure = fileError(error, 'model.safetensors', 'write');
    }
    expect(failure).toBeInstanceOf(UndriftError);
    expect((failure as Error).message).toBe(
      'cannot write model.safetensors: no space left on the disk\n  help: free some space, or choose a path on another disk',
    );
  });

  it('passes other errors on', () => {
    const bug = new TypeError('a bug');
    expect(fileError(bug, 'x', 'write')).toBe(bug);
  });
});
