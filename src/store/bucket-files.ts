import { createHash, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Connection, Table } from '@lancedb/lancedb';
import type { Schema } from 'apache-arrow';
import { DataError } from '../util/errors.ts';
import { readAt, writeFolderAtomic } from '../util/files.ts';
import { lockBeside } from '../util/lock.ts';
import { waitForLock } from '../util/wait-for-lock.ts';
import type { Lance } from './lance.ts';
import { sqlText } from './sql.ts';
import type { StoreFiles } from './store-place.ts';

/** Bytes of a file in one row. */
const PART_BYTES = 1 << 24;
/** Name of the row that lists the files of a folder, written last; and of the file of the cache that repeats it. */
const CONTENTS = '.contents.json';

/** Files of a folder, or a single file. */
interface Contents {
  /** Id of the upload that brought them. */
  readonly upload: string;
  /** Whether this is a single file. */
  readonly alone: boolean;
  readonly files: readonly ListedFile[];
}

/** Folder, and id of the upload that brings its files. */
interface Place {
  readonly folder: string;
  readonly upload: string;
}

/** File of a folder. */
interface ListedFile {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

/**
 * Folders of files in an object store, as rows of a table: `folder`, `upload`, `name`, `part` and `data`, up to 16 MiB a row. The last
 * row of an upload lists the files with their digests: an upload without it is no part of the store. Uploads of several processes
 * do not mix.
 *
 * A folder that is opened is downloaded once into a cache on this machine, and checked by the digests.
 */
export class BucketFiles implements StoreFiles {
  private readonly lance: Lance;
  private readonly connection: Connection;
  private readonly name: string;
  private readonly cache: string;
  private table: Table | undefined;

  constructor(of: { lance: Lance; connection: Connection; table: string; cache: string }) {
    this.lance = of.lance;
    this.connection = of.connection;
    this.name = of.table;
    this.cache = of.cache;
  }

  async has(folder: string): Promise<boolean> {
    return (await this.contents(folder)) !== undefined;
  }

  async open(folder: string): Promise<string> {
    const contents = await this.contents(folder);
    if (contents === undefined) {
      throw new DataError('the store does not have this part', {
        file: folder,
        help: 'index the documents again, or start the migration again',
      });
    }
    const path = join(this.cache, folder);
    const { upload, alone, files } = JSON.parse(contents) as Contents;
    const found = alone ? join(path, basename(folder)) : path;
    if ((await cachedContents(path)) === contents) return found;
    await mkdir(dirname(path), { recursive: true });
    await waitForLock(
      lockBeside(`${path}.download`),
      () => {},
      async () => {
        // Another process or thread may have downloaded it meanwhile.
        if ((await cachedContents(path)) === contents) return;
        await writeFolderAtomic(path, async (temporary) => {
          for (const file of files) await this.download({ folder, upload }, file, temporary);
          await writeFile(join(temporary, CONTENTS), contents);
        });
      },
    );
    return found;
  }

  async save(folder: string, write: (path: string) => Promise<unknown>): Promise<void> {
    await mkdir(this.cache, { recursive: true });
    const temporary = await mkdtemp(join(this.cache, 'save-'));
    try {
      const path = join(temporary, basename(folder));
      await write(path);
      const alone = (await stat(path)).isFile();
      const root = alone ? temporary : path;
      const upload = randomUUID();
      const before = await this.uploads(folder);
      const files: ListedFile[] = [];
      for (const entry of await readdir(root, { withFileTypes: true, recursive: true })) {
        if (!entry.isFile()) continue;
        const file = join(entry.parentPath, entry.name);
        const name = file.slice(root.length + 1).replaceAll('\\', '/');
        files.push(await this.upload({ folder, upload }, file, name));
      }
      const contents = Buffer.from(JSON.stringify({ upload, alone, files } satisfies Contents));
      await this.add({ folder, upload, name: CONTENTS, part: 0, data: contents });
      for (const { upload } of before) await this.table!.delete(`upload = ${sqlText(upload)}`);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  }

  async remove(folder: string): Promise<void> {
    await (await this.opened())?.delete(`folder = ${sqlText(folder)}`);
  }

  /** Merges small files of the table. */
  async tidy(unneededBefore: Date): Promise<void> {
    await (await this.opened())?.optimize({ cleanupOlderThan: unneededBefore });
  }

  close(): void {
    this.table?.close();
  }

  private async contents(folder: string): Promise<string | undefined> {
    return (await this.uploads(folder)).at(-1)?.contents;
  }

  /** Lists the uploads of a folder that are complete, with their contents as JSON. */
  private async uploads(folder: string): Promise<{ upload: string; contents: string }[]> {
    const table = await this.opened();
    const where = `folder = ${sqlText(folder)} AND name = ${sqlText(CONTENTS)}`;
    const rows = (await table?.query().where(where).select(['upload', 'data']).toArray()) ?? [];
    return rows.map(({ upload, data }) => ({ upload, contents: Buffer.from(data).toString('utf8') }));
  }

  private async download(
    { folder, upload }: Place,
    { name, bytes, sha256 }: ListedFile,
    into: string,
  ): Promise<void> {
    const table = (await this.opened())!;
    const path = join(into, name);
    await mkdir(dirname(path), { recursive: true });
    const file = await open(path, 'w');
    const hash = createHash('sha256');
    let size = 0;
    try {
      for (let part = 0; size < bytes; part++) {
        const where = `upload = ${sqlText(upload)} AND name = ${sqlText(name)} AND part = ${part}`;
        const [row] = await table.query().where(where).select(['data']).toArray();
        if (!row) break;
        const data = row.data as Uint8Array;
        hash.update(data);
        size += data.length;
        await file.writeFile(data);
      }
    } finally {
      await file.close();
    }
    if (size === bytes && hash.digest('hex') === sha256) return;
    throw new DataError(`${name} is damaged or incomplete in the object store`, {
      file: folder,
      help: 'index the documents again by the same model, which stores it again',
    });
  }

  private async upload(place: Place, path: string, name: string): Promise<ListedFile> {
    const { size } = await stat(path);
    const hash = createHash('sha256');
    const file = await open(path, 'r');
    try {
      for (let start = 0, part = 0; start < size; start += PART_BYTES, part++) {
        const data = await readAt(file, path, start, Math.min(PART_BYTES, size - start));
        hash.update(data);
        await this.add({ ...place, name, part, data });
      }
    } finally {
      await file.close();
    }
    return { name, bytes: size, sha256: hash.digest('hex') };
  }

  private async add(row: Place & { name: string; part: number; data: Uint8Array }): Promise<void> {
    const { Binary, Table, Utf8, vectorFromArray } = this.lance.arrow;
    const columns = new Table(this.schema, {
      folder: vectorFromArray([row.folder], new Utf8()),
      upload: vectorFromArray([row.upload], new Utf8()),
      name: vectorFromArray([row.name], new Utf8()),
      part: vectorFromArray(Int32Array.of(row.part)),
      data: vectorFromArray([row.data], new Binary()),
    });
    await (await this.made()).add(columns);
  }

  private get schema(): Schema {
    const { Binary, Field, Int32, Schema, Utf8 } = this.lance.arrow;
    return new Schema([
      new Field('folder', new Utf8(), false),
      new Field('upload', new Utf8(), false),
      new Field('name', new Utf8(), false),
      new Field('part', new Int32(), false),
      new Field('data', new Binary(), false),
    ]);
  }

  private async opened(): Promise<Table | undefined> {
    if (!this.table && !(await this.connection.tableNames()).includes(this.name)) return undefined;
    this.table ??= await this.connection.openTable(this.name);
    return this.table;
  }

  private async made(): Promise<Table> {
    const known = await this.opened();
    if (known) return known;
    try {
      this.table = await this.connection.createEmptyTable(this.name, this.schema, { mode: 'create' });
    } catch {
      // Another process has just made it.
      this.table = await this.connection.openTable(this.name);
    }
    return this.table;
  }
}

const cachedContents = (path: string): Promise<string | undefined> =>
  readFile(join(path, CONTENTS), 'utf8').catch(() => undefined);
