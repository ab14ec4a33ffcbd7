import { createHash, randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Connection, Table } from '@lancedb/lancedb';
import type { Table as ArrowTable } from 'apache-arrow';
import { cacheFolder } from '../util/cache-folder.ts';
import { DataError, UndriftError, UsageError } from '../util/errors.ts';
import { objectIn } from '../util/json-objects.ts';
import { BucketFiles } from './bucket-files.ts';
import type { Lance } from './lance.ts';
import { sqlText } from './sql.ts';
import { formatHead, type HeadFile, parseHead, type StoreHead } from './store-head.ts';
import { makeFirstHead, PASSAGES, type StorePlace, type WriterLock } from './store-place.ts';
import { LOCK_WAIT_MS, takenInTime } from './taken-in-time.ts';

/** Table of the head, with one row. */
const HEAD = 'head';
/** Table of the folders of files. */
const FILES = 'files';
/** Time after which a writer without a sign of life counts as ended, in milliseconds. Clocks may differ by less than this. */
const LEASE_MS = 60_000;
const SIGN_MS = 15_000;

/** Row of the head. */
interface HeadRow {
  /** Number of commits. */
  readonly generation: number;
  /** Head as JSON. */
  readonly json: string;
  /** Writer that has the lease; empty if there is none. */
  readonly owner: string;
  /** Time at which the lease ends, in milliseconds since 1970. */
  readonly expires: number;
}

/**
 * Store under an address of an object store, such as `s3://bucket/prefix`.
 *
 * An object store has no renaming and no locks. LanceDB commits a version of a table by a conditional write, of which one succeeds.
 * The head is therefore the row of a table, `head.lance`, and every change of it is an update under a condition:
 *
 *     take the lease      where owner and expires are as they were read      one of several processes gets it
 *     commit              where owner is this writer, and generation g       generation g + 1; a writer that lost the lease fails
 *
 * Objects are durable once they are written. Models and correctors are rows of a table, and kept in a cache on this machine.
 */
export class BucketPlace implements StorePlace {
  readonly address: string;
  readonly scratch: string;
  readonly connection: Connection;
  readonly headPath = undefined;
  readonly files: BucketFiles;
  private readonly lance: Lance;
  private table: Table | undefined;
  /** Generation of the head that was read or written last. */
  private generation = 0;
  /** Lease of this process; empty if it has none. */
  private owner = '';

  private constructor(lance: Lance, address: string, connection: Connection) {
    this.lance = lance;
    this.address = address;
    this.connection = connection;
    const key = createHash('sha256').update(address).digest('hex').slice(0, 16);
    this.scratch = join(cacheFolder(), 'stores', key);
    this.files = new BucketFiles({ lance, connection, table: FILES, cache: join(this.scratch, 'files') });
  }

  /**
   * Connects to an object store. Credentials, region and endpoint are those of the environment.
   *
   * @throws UndriftError if the address cannot be reached
   */
  static async open(lance: Lance, location: string): Promise<BucketPlace> {
    const address = location.replace(/\/+$/, '');
    try {
      const connection = await lance.lancedb.connect(address, { readConsistencyInterval: 0 });
      const place = new BucketPlace(lance, address, connection);
      await mkdir(place.scratch, { recursive: true });
      return place;
    } catch (cause) {
      throw unreachable(address, cause);
    }
  }

  readonly head: HeadFile = {
    read: async () => {
      const row = await this.row();
      // A store that is being made has a head without content.
      if (!row) return undefined;
      if (row.json === '') return (await this.recoverHead()) ? await this.head.read() : undefined;
      this.generation = row.generation;
      return parseHead(objectIn(parsed(row.json, this.address), this.address), this.address);
    },
    write: async (head) => {
      const next = this.generation + 1;
      const isWritten = await changed(this.table!, {
        where: `owner = ${sqlText(this.owner)} AND generation = ${this.generation}`,
        valuesSql: { generation: String(next), json: sqlText(formatHead(head)) },
      });
      if (!isWritten) {
        throw new LeaseLostError(
          `another process has taken the store ${this.address} over: this commit is not part of it`,
          { help: 'give the command again: it goes on after the last commit' },
        );
      }
      this.generation = next;
    },
  };

  async make(tables: () => Promise<StoreHead>): Promise<StoreHead> {
    const names = await this.reach(() => this.connection.tableNames());
    // A process that was killed while it made a store leaves these.
    if (names.some((name) => name !== HEAD && name !== PASSAGES)) {
      throw new UsageError(`${this.address} is not a store, and not empty`, {
        help: 'name an address under which nothing lies',
      });
    }
    return await takenInTime(LOCK_WAIT_MS, async (isLate) => {
      try {
        if (await this.row()) return await makeFirstHead(this, tables);
        this.table = await this.connection.createTable(HEAD, this.firstRow(), { mode: 'create' });
      } catch (error) {
        // Another process is quicker, and its table can be opened in a moment; or its late creation has ended the lease of this one.
        if (isLate || (this.table && !(error instanceof LeaseLostError))) throw error;
      }
      return undefined;
    });
  }

  async lock(): Promise<WriterLock> {
    const table = this.table;
    if (!table) throw new UndriftError(`the store ${this.address} has been removed`);
    const own = `${hostname()}:${process.pid}:${randomUUID()}`;
    let expires = 0;
    const take = async (from: Pick<HeadRow, 'owner' | 'expires'>): Promise<boolean> => {
      const until = Date.now() + LEASE_MS;
      const isTaken = await changed(table, {
        where: `owner = ${sqlText(from.owner)} AND expires = ${from.expires}`,
        valuesSql: { owner: sqlText(own), expires: String(until) },
      });
      if (isTaken) expires = until;
      return isTaken;
    };
    await takenInTime(LOCK_WAIT_MS, async (isLate) => {
      const row = await this.row();
      if (!row) throw new UndriftError(`the store ${this.address} has been removed`);
      const isFree = row.owner === '' || row.expires < Date.now();
      if (isFree && (await take(row))) return true;
      if (!isLate) return undefined;
      const [machine, pid] = row.owner.split(':');
      throw new UndriftError(`another process is changing the store ${this.address}`, {
        help: `wait until it has ended: process ${pid} on ${machine}`,
      });
    });
    this.owner = own;
    const signs = setInterval(() => {
      // A sign that fails is repeated; without any, the lease ends.
      take({ owner: own, expires }).catch(() => {});
    }, SIGN_MS).unref();
    return {
      check: () => {
        if (Date.now() < expires) return;
        throw new UndriftError(
          `this process was silent for so long that others may change the store ${this.address}`,
          {
            help: 'give the command again: it goes on after the last commit',
          },
        );
      },
      release: async () => {
        clearInterval(signs);
        this.owner = '';
        await changed(table, { where: `owner = ${sqlText(own)}`, valuesSql: { owner: "''", expires: '0' } });
      },
    };
  }

  async sync(): Promise<void> {}

  async rollBack(name: string, committed: number): Promise<number[]> {
    const table = await this.connection.openTable(name);
    try {
      const newest = await table.version();
      if (newest === committed) return [];
      // The versions stay readable for their writer until a compaction, and become no part of the store.
      await table.checkout(committed);
      await table.restore();
      return Array.from({ length: newest - committed }, (_, i) => committed + 1 + i);
    } finally {
      table.close();
    }
  }

  forget(): void {}

  async tidy(unneededBefore: Date): Promise<void> {
    await this.table?.optimize({ cleanupOlderThan: unneededBefore });
    await this.files.tidy(unneededBefore);
  }

  async bytes(): Promise<number> {
    let bytes = 0;
    for (const name of await this.connection.tableNames()) {
      const table = await this.connection.openTable(name);
      bytes += (await table.stats()).totalBytes;
      table.close();
    }
    return bytes;
  }

  close(): void {
    this.table?.close();
    this.files.close();
    this.connection.close();
  }

  private async row(): Promise<HeadRow | undefined> {
    return await this.reach(async () => {
      if (!this.table && !(await this.connection.tableNames()).includes(HEAD)) return undefined;
      this.table ??= await this.connection.openTable(HEAD).catch((error) => {
        // Its folder is there before its first version.
        if (/was not found/.test(String(error))) return undefined;
        throw error;
      });
      if (!this.table) return undefined;
      const [row] = await this.table.query().toArray();
      return row as HeadRow | undefined;
    });
  }

  /**
   * Writes the newest head with content again after a row without content.
   *
   * Two processes that create a table at once can both succeed: the later creation replaces the table of the first one, and the head
   * that it may hold by then. Earlier versions of the table keep that head.
   *
   * @returns whether there is such a head
   */
  private async recoverHead(): Promise<boolean> {
    const earlier = await this.connection.openTable(HEAD);
    try {
      for (let version = (await earlier.version()) - 1; version > 0; version--) {
        await earlier.checkout(version);
        const [row] = (await earlier.query().toArray()) as HeadRow[];
        if (!row || row.json === '') continue;
        await changed(this.table!, {
          where: "json = ''",
          valuesSql: { generation: String(row.generation), json: sqlText(row.json) },
        });
        return true;
      }
      return false;
    } finally {
      earlier.close();
    }
  }

  /** Row of a store that is being made. */
  private firstRow(): ArrowTable {
    const { Field, Float64, Int32, Schema, Table, Utf8, vectorFromArray } = this.lance.arrow;
    const schema = new Schema([
      new Field('generation', new Int32(), false),
      new Field('json', new Utf8(), false),
      new Field('owner', new Utf8(), false),
      new Field('expires', new Float64(), false),
    ]);
    return new Table(schema, {
      generation: vectorFromArray(Int32Array.of(0)),
      json: vectorFromArray([''], new Utf8()),
      owner: vectorFromArray([''], new Utf8()),
      expires: vectorFromArray(Float64Array.of(0)),
    });
  }

  /** Explains errors of the connection. */
  private async reach<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      throw unreachable(this.address, cause);
    }
  }
}

/** The lease ended before the commit was written. */
class LeaseLostError extends UndriftError {}

/** Changes the row that meets a condition. Returns false if there is none, or another process has changed the table meanwhile. */
async function changed(
  table: Table,
  change: { where: string; valuesSql: Record<string, string> },
): Promise<boolean> {
  try {
    return (await table.update(change)).rowsUpdated === 1;
  } catch (error) {
    if (/Incompatible transaction|commit conflict|concurrent commit/i.test(String(error))) return false;
    throw error;
  }
}

function parsed(json: string, address: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    throw new DataError('the head of the store is no JSON', { file: address });
  }
}

const unreachable = (address: string, cause: unknown): UndriftError =>
  new UndriftError(`the store ${address} cannot be reached: ${reasonOf(cause)}`, {
    help:
      'check address and credentials, which LanceDB reads from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, ' +
      'AWS_ENDPOINT; GOOGLE_SERVICE_ACCOUNT; AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY',
    cause,
  });

/** First part of a message of LanceDB, which goes on with places in its source and with causes in other words. */
const reasonOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split(/\n|, \/| {2}Caused by/)[0]!.slice(0, 300);
