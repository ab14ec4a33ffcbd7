import { existsSync } from 'node:fs';
import { mkdir, open, readdir, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DataError } from '../util/errors.ts';
import { fileError } from '../util/file-error.ts';
import { syncFolder } from '../util/files.ts';
import { RESTORE } from './store-head.ts';

/** Largest number in the file name of a manifest: version v is `(2^64 − 1 − v).manifest`, so that the newest is listed first. */
const LAST_VERSION = 2n ** 64n - 1n;

/**
 * Makes commits of a LanceDB table durable. LanceDB never syncs files to the disk: a commit survives the end of the process, but
 * not a loss of power, after which the newest manifest may be empty and the table cannot be opened.
 */
export class DurableFolder {
  private readonly folder: string;
  /** Files that are known to be on the disk, relative to the folder. LanceDB never writes to a file again. */
  private readonly synced = new Set<string>();

  /** @param folder  folder of the table, `NAME.lance` */
  constructor(folder: string) {
    this.folder = folder;
  }

  /** Syncs all files that have been written since the last call, and then the folders that list them. */
  async sync(): Promise<void> {
    const found = await this.list();
    const changed = new Set<string>();
    for (const file of found) {
      if (this.synced.has(file)) continue;
      await syncFile(join(this.folder, file));
      changed.add(dirname(file));
    }
    for (const part of changed) await syncFolder(join(this.folder, part));
    if (changed.size > 0) await syncFolder(this.folder);
    this.synced.clear();
    for (const file of found) this.synced.add(file);
  }

  /**
   * Sets the manifests of versions aside that were not committed: what a writer was adding when it was killed, and manifests that
   * a loss of power has torn. Their rows are then not part of the table.
   *
   * @param version  last committed version
   * @param quarantine  folder that keeps the manifests
   * @returns  versions set aside
   * @throws DataError if the manifest of the committed version is missing: LanceDB would go on from an earlier one
   */
  async rollBack(version: number, quarantine: string): Promise<number[]> {
    const folder = join(this.folder, '_versions');
    const committed = `${String(LAST_VERSION - BigInt(version)).padStart(20, '0')}.manifest`;
    if (!existsSync(join(folder, committed))) {
      throw new DataError('the file of the committed version is missing', {
        file: join(folder, committed),
        help: RESTORE,
      });
    }
    const newer: number[] = [];
    for (const name of await readdir(folder)) {
      const number = /^(\d{20})\.manifest$/.exec(name)?.[1];
      if (number === undefined) continue;
      const found = Number(LAST_VERSION - BigInt(number));
      if (found <= version) continue;
      try {
        await mkdir(quarantine, { recursive: true });
        await rename(join(folder, name), join(quarantine, `${found}-${Date.now()}.manifest`));
      } catch (error) {
        throw fileError(error, join(folder, name), 'set aside');
      }
      newer.push(found);
    }
    if (newer.length > 0) await syncFolder(folder);
    return newer.sort((a, b) => a - b);
  }

  private async list(): Promise<string[]> {
    const entries = await readdir(this.folder, { withFileTypes: true, recursive: true });
    return (
      entries
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(this.folder.length + 1))
        // The hint of the newest version is a cache of LanceDB's that it replaces with every commit.
        .filter((file) => !file.endsWith('.json'))
    );
  }
}

async function syncFile(path: string): Promise<void> {
  try {
    const handle = await open(path, 'r+');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    // A compaction may have removed the file since it was listed.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw fileError(error, path, 'sync');
  }
}
