import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Connection } from '@lancedb/lancedb';
import { DataError, UndriftError, UsageError } from '../util/errors.ts';
import { fileError } from '../util/file-error.ts';
import { HeldLockError, lockInside, takeLock } from '../util/lock.ts';
import { DurableFolder } from './durable-folder.ts';
import type { Lance } from './lance.ts';
import { withDiskErrors } from './lance-errors.ts';
import { type HeadFile, headFile, RESTORE, type StoreHead } from './store-head.ts';
import { makeFirstHead, type StoreFiles, type StorePlace, type WriterLock } from './store-place.ts';
import { LOCK_WAIT_MS, takenInTime } from './taken-in-time.ts';

/** Files that a process leaves in a new store when it is killed before the head is written. */
const OWN_LEFTOVERS = /^(\.lock|passages\.lance|.*\.tmp)$/;

/**
 * Store in a folder. Its head is the file `store.json`, which is replaced by renaming. A commit syncs all files to the disk before
 * that. Processes exclude each other by a lock file.
 */
export class FolderPlace implements StorePlace {
  readonly address: string;
  readonly head: HeadFile;
  readonly headPath: string;
  private readonly lance: Lance;
  private readonly folders = new Map<string, DurableFolder>();
  private connected: Connection | undefined;

  private constructor(lance: Lance, folder: string) {
    this.lance = lance;
    this.address = folder;
    this.headPath = join(folder, 'store.json');
    this.head = headFile(this.headPath);
  }

  static async open(lance: Lance, location: string): Promise<FolderPlace> {
    // LanceDB takes an address that begins with "db" for one of its cloud, so that the path must be absolute.
    const place = new FolderPlace(lance, resolve(location));
    // LanceDB makes a folder that is missing, which reading must not do.
    if (existsSync(place.address)) await place.connect();
    return place;
  }

  get connection(): Connection {
    if (!this.connected) throw new UndriftError(`${this.address} does not exist`);
    return this.connected;
  }

  private async connect(): Promise<void> {
    const { lancedb } = this.lance;
    const options = { readConsistencyInterval: 0 };
    this.connected = withDiskErrors(await lancedb.connect(this.address, options), this.address);
  }

  get scratch(): string {
    return this.address;
  }

  get files(): StoreFiles {
    const path = (folder: string) => join(this.address, folder);
    return {
      has: async (folder) => existsSync(path(folder)),
      open: async (folder) => {
        if (existsSync(path(folder))) return path(folder);
        throw new DataError('a part of the store is missing', { file: path(folder), help: RESTORE });
      },
      save: async (folder, write) => void (await write(path(folder))),
      remove: (folder) => rm(path(folder), { recursive: true, force: true }),
    };
  }

  async make(tables: () => Promise<StoreHead>): Promise<StoreHead> {
    const { address } = this;
    if (existsSync(address) && (await readdir(address)).some((name) => !OWN_LEFTOVERS.test(name))) {
      throw new UsageError(`${address} is not a store, and not empty`, {
        help: 'name an empty folder, or one that does not exist',
      });
    }
    try {
      await mkdir(address, { recursive: true });
    } catch (error) {
      throw fileError(error, address, 'create');
    }
    if (!this.connected) await this.connect();
    return await makeFirstHead(this, tables);
  }

  async lock(): Promise<WriterLock> {
    const target = lockInside(this.address);
    const lock = await takenInTime(LOCK_WAIT_MS, async (isLate) => {
      try {
        return await takeLock(target);
      } catch (error) {
        // To look at the lock now would be too late: it may have been released since.
        if (isLate || !(error instanceof HeldLockError)) throw error;
        return undefined;
      }
    });
    // Another process takes it over only if this one has ended.
    return { check: () => {}, release: () => lock.release() };
  }

  async sync(table: string): Promise<void> {
    await this.durable(table).sync();
  }

  async rollBack(table: string, committed: number): Promise<number[]> {
    return await this.durable(table).rollBack(committed, join(this.address, 'quarantine', table));
  }

  forget(table: string): void {
    this.folders.delete(table);
  }

  async tidy(): Promise<void> {}

  async bytes(): Promise<number> {
    let bytes = 0;
    for (const entry of await readdir(this.address, { withFileTypes: true, recursive: true })) {
      if (!entry.isFile()) continue;
      // A writer may remove files meanwhile.
      const { size } = await stat(join(entry.parentPath, entry.name)).catch(() => ({ size: 0 }));
      bytes += size;
    }
    return bytes;
  }

  close(): void {
    this.connected?.close();
  }

  private durable(table: string): DurableFolder {
    const known = this.folders.get(table) ?? new DurableFolder(join(this.address, `${table}.lance`));
    this.folders.set(table, known);
    return known;
  }
}
