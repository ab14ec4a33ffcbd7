import type { Table } from '@lancedb/lancedb';
import { type PassageRow, passageColumns } from './columns.ts';
import type { Lance } from './lance.ts';
import { inParts, isOneOf, isOneOfTexts } from './sql.ts';
import { needsUpkeep } from './upkeep.ts';

/** Passage as it is shown: without its index terms. */
export interface StoredPassage {
  /** Number of the passage in the store. */
  readonly pid: number;
  /** Id that the user knows it by. */
  readonly id: string;
  /** Title, empty if there is none. */
  readonly title: string;
  /** Text without the title. */
  readonly text: string;
  /** Further fields; null if there are none. */
  readonly metadata: Readonly<Record<string, unknown>> | null;
}

/** Passage found by its index terms. */
export interface TermMatch {
  readonly pid: number;
  /** BM25 score with k1 1.2 and b 0.75. */
  readonly score: number;
}

/** Columns of a passage that are shown to users. `metadata` is JSON; null if there is none. */
export type ShownRow = Pick<PassageRow, 'pid' | 'id' | 'title' | 'text' | 'metadata'>;

const SHOWN = ['pid', 'id', 'title', 'text', 'metadata'];

/** Number of unindexed rows from which on finding ids by a scan is slower than by an index. */
const INDEX_FROM_ROWS = 10_000;

/** Passages of a store, in one version of their table. */
export class PassageTable {
  private readonly lance: Lance;
  private readonly table: Table;

  constructor(lance: Lance, table: Table) {
    this.lance = lance;
    this.table = table;
  }

  /** Number of passages, or of those that a condition holds for. */
  async count(condition?: string): Promise<number> {
    return await this.table.countRows(condition);
  }

  /** Finds number and digest of the passages that exist of some ids. */
  async known(ids: readonly string[]): Promise<Map<string, { pid: number; digest: string }>> {
    const found = new Map<string, { pid: number; digest: string }>();
    for (const part of inParts(ids)) {
      const query = this.table.query().where(isOneOfTexts('id', part)).select(['pid', 'id', 'digest']);
      for (const { pid, id, digest } of await query.toArray()) found.set(id, { pid, digest });
    }
    return found;
  }

  /** Finds the digests of passages by their numbers. */
  async digests(pids: readonly number[]): Promise<Map<number, string>> {
    const found = new Map<number, string>();
    for (const part of inParts(pids)) {
      for await (const batch of this.table.query().where(isOneOf('pid', part)).select(['pid', 'digest'])) {
        const digests = batch.getChild('digest')!;
        for (const [row, pid] of (batch.getChild('pid')!.toArray() as Int32Array).entries())
          found.set(pid, digests.get(row) as string);
      }
    }
    return found;
  }

  /** Reads passages by their numbers, in the order asked for; numbers that do not exist are left out. */
  async read(pids: readonly number[]): Promise<StoredPassage[]> {
    const found = new Map((await this.readRows(pids)).map((row) => [row.pid, row]));
    return pids.flatMap((pid) => {
      const row = found.get(pid);
      return row ? shownPassage(row) : [];
    });
  }

  /** Reads the rows of passages by their numbers, in any order. */
  async readRows(pids: readonly number[]): Promise<ShownRow[]> {
    const found: ShownRow[] = [];
    for (const part of inParts(pids)) {
      for await (const batch of this.table.query().where(isOneOf('pid', part)).select(SHOWN)) {
        // By columns: rows as objects of Arrow take twice the time.
        const [numbers, ids, titles, texts, fields] = SHOWN.map((name) => batch.getChild(name)!);
        for (let row = 0; row < batch.numRows; row++) {
          found.push({
            pid: numbers!.get(row),
            id: ids!.get(row),
            title: titles!.get(row),
            text: texts!.get(row),
            metadata: fields!.get(row),
          });
        }
      }
    }
    return found;
  }

  /** Streams all passages, or those that a condition holds for, in the order of the table. */
  async *stream(condition?: string): AsyncGenerator<StoredPassage> {
    const query = this.table.query().select(SHOWN);
    for await (const batch of condition === undefined ? query : query.where(condition)) {
      for (const row of batch.toArray()) yield shownPassage(row as unknown as ShownRow);
    }
  }

  /** Streams what the documents of a data set consist of, in the order of the table. */
  async *texts(): AsyncGenerator<Pick<PassageRow, 'pid' | 'id' | 'title' | 'text' | 'digest'>> {
    const names = ['id', 'title', 'text', 'digest'] as const;
    for await (const batch of this.table.query().select(['pid', ...names])) {
      const pids = batch.getChild('pid')!.toArray() as Int32Array;
      const [ids, titles, texts, digests] = names.map((name) => batch.getChild(name)!);
      for (const [row, pid] of pids.entries()) {
        yield {
          pid,
          id: ids!.get(row) as string,
          title: titles!.get(row) as string,
          text: texts!.get(row) as string,
          digest: digests!.get(row) as string,
        };
      }
    }
  }

  /** Streams numbers and ids of all passages. */
  async *ids(): AsyncGenerator<{ pid: number; id: string }> {
    for await (const batch of this.table.query().select(['pid', 'id'])) {
      const pids = batch.getChild('pid')!.toArray() as Int32Array;
      const ids = batch.getChild('id')!;
      for (const [row, pid] of pids.entries()) yield { pid, id: ids.get(row) as string };
    }
  }

  /** Streams the numbers of all passages, or of those that a condition holds for. */
  async *pids(condition?: string): AsyncGenerator<Int32Array> {
    const query = this.table.query().select(['pid']);
    for await (const batch of condition === undefined ? query : query.where(condition)) {
      yield batch.getChild('pid')!.toArray() as Int32Array;
    }
  }

  /**
   * Finds the passages of the largest BM25 score.
   *
   * @param terms  index terms of the query
   */
  async search(terms: readonly string[], k: number, condition?: string): Promise<TermMatch[]> {
    if (terms.length === 0 || (await this.count()) === 0) return [];
    const { MatchQuery } = this.lance.lancedb;
    const query = this.table
      .query()
      .fullTextSearch(new MatchQuery(terms.join(' '), 'terms'))
      .select(['pid', '_score'])
      .limit(k);
    const rows = await (condition === undefined ? query : query.where(condition)).toArray();
    const matches = rows.map(({ pid, _score }) => ({ pid: pid as number, score: _score as number }));
    return matches.sort((a, b) => b.score - a.score || a.pid - b.pid);
  }

  /** Appends new passages. */
  async add(rows: readonly PassageRow[]): Promise<void> {
    if (rows.length > 0) await this.table.add(passageColumns(this.lance, rows));
  }

  /** Replaces passages by their numbers. */
  async replace(rows: readonly PassageRow[]): Promise<void> {
    if (rows.length === 0) return;
    await this.table.mergeInsert('pid').whenMatchedUpdateAll().execute(passageColumns(this.lance, rows));
  }

  /** Removes passages by their numbers. */
  async remove(pids: readonly number[]): Promise<void> {
    for (const part of inParts(pids)) await this.table.delete(isOneOf('pid', part));
  }

  /**
   * Makes or extends the indices by number, id and term, and merges small files, if that is worth its cost.
   *
   * @param unneededBefore  versions older than this are deleted
   */
  async optimize(unneededBefore: Date): Promise<void> {
    const { Index } = this.lance.lancedb;
    const indexed = new Set((await this.table.listIndices()).flatMap(({ columns }) => columns));
    const rows = await this.table.countRows();
    const isNeeded = await needsUpkeep(this.table);
    for (const column of rows < INDEX_FROM_ROWS ? [] : ['pid', 'id']) {
      if (!indexed.has(column)) await this.table.createIndex(column, { config: Index.btree() });
    }
    if (!indexed.has('terms') && rows > 0) {
      const config = Index.fts({
        baseTokenizer: 'whitespace',
        withPosition: false,
        stem: false,
        removeStopWords: false,
        lowercase: false,
        asciiFolding: false,
        maxTokenLength: 2 ** 16,
      });
      await this.table.createIndex('terms', { config });
    }
    if (isNeeded) await this.table.optimize({ cleanupOlderThan: unneededBefore });
  }
}

/** Converts a row to a passage, with metadata of its own. */
export const shownPassage = ({ pid, id, title, text, metadata }: ShownRow): StoredPassage => ({
  pid,
  id,
  title,
  text,
  metadata: metadata === null ? null : (JSON.parse(metadata) as Record<string, unknown>),
});
