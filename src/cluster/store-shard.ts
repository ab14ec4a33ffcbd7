import { joinTitle } from '../data/corpus.ts';
import { BLOCK_SIZE, blockEnds } from '../models/retriever/encode-blocks.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { stampNow } from '../store/columns.ts';
import { buildSameIndex } from '../store/maintain.ts';
import { digestOf, textMark } from '../store/passage-input.ts';
import { PassageSet } from '../store/passage-set.ts';
import { staleness, stalePassages } from '../store/staleness.ts';
import type { Store, StoreDraft } from '../store/store.ts';
import type { StoredSpace, StoreHead } from '../store/store-head.ts';
import { encoderFolder, loadEncoder } from '../store/stored-encoder.ts';
import type { TokenArray, TokenStore } from '../text/token-store.ts';
import { UsageError } from '../util/errors.ts';
import { NAME_PATTERN } from './cluster-address.ts';
import type { EmbeddedRows, RowTokens, ShardCounts, ShardKeeper, WantedVersion } from './shard-keeper.ts';

/** Settings of {@link storeShard}. */
export interface StoreShardOptions {
  /** Name of the shard in the cluster. */
  readonly name: string;
  /** Space to embed in. Default: that of a migration of documents, else the current one. */
  readonly space?: string | undefined;
  /** Model of the space, if it is loaded; it is not freed. Default: loaded from the store when rows are asked for. */
  readonly model?: Retriever | undefined;
}

/** Numbers of passages from whose multiples on blocks begin anew, so that a change in one place does not move all blocks after it. */
const GROUP_ROWS = BLOCK_SIZE.rows;
/** Groups whose tokens are kept in memory. */
const KEPT_GROUPS = 128;
/** Commits between two compactions. */
const OPTIMIZE_EVERY = 64;

/** Tokens of the passages of a group, in the order of their numbers. */
interface Group {
  /** Version of the table of passages. */
  readonly table: number;
  /** Model whose tokens they are. */
  readonly model: Retriever;
  /** Numbers of the passages, ascending. */
  readonly rows: readonly number[];
  readonly places: ReadonlyMap<number, number>;
  readonly tokens: TokenStore;
  readonly marks: BigUint64Array;
}

/** Stale passages, as of one commit. */
interface StaleList {
  readonly version: string;
  /** State of the store that they were read from. */
  readonly state: string;
  /** Numbers, ascending. */
  readonly rows: readonly number[];
  /** Those that were stored since. A `Set` ends at 16,777,216 of them. */
  readonly stored: PassageSet;
}

/**
 * Makes the keeper of a store's passages. Rows are the numbers of passages. A passage is stale if it has no vector in the wanted space, or
 * one of an earlier training step.
 *
 * @throws UsageError for a name that no shard can have
 */
export function storeShard(store: Store, options: StoreShardOptions): StoreShard {
  if (!NAME_PATTERN.test(options.name)) {
    throw new UsageError(`the name of a shard has letters, digits, - and _, found '${options.name}'`, {
      help: 'give a name by --shards',
    });
  }
  return new StoreShard(store, options);
}

/** Keeper of a store's passages. */
export class StoreShard implements ShardKeeper {
  readonly name: string;
  private readonly store: Store;
  private readonly options: StoreShardOptions;
  private loaded: { readonly space: string; readonly model: Promise<Retriever> } | undefined;
  private readonly groups = new Map<number, Promise<Group>>();
  private list: StaleList | undefined;
  private puts = 0;

  constructor(store: Store, options: StoreShardOptions) {
    this.name = options.name;
    this.store = store;
    this.options = options;
  }

  async wanted(): Promise<WantedVersion | undefined> {
    await this.store.reload();
    const space = this.spaceOf(this.store.head);
    if (!space) return undefined;
    const { id, steps, dimension } = space;
    return { id, step: steps, dimension, folder: await this.store.files.open(encoderFolder(id)) };
  }

  async stale({ after, blocks }: { after: number; blocks: number }): Promise<readonly Uint32Array[]> {
    await this.store.reload();
    const space = this.spaceOf(this.store.head);
    if (!space) return [];
    const { rows, stored } = await this.staleList(space, after < 0);
    const found: Uint32Array[] = [];
    for (let place = firstAfter(rows, groupOf(Math.max(after, 0)) * GROUP_ROWS - 1); place < rows.length; ) {
      const group = groupOf(rows[place]!);
      const own: number[] = [];
      for (; place < rows.length && groupOf(rows[place]!) === group; place++)
        if (!stored.has(rows[place]!)) own.push(rows[place]!);
      for (const block of await this.blocksOf(group, own)) {
        if (block[0]! <= after) continue;
        found.push(block);
        if (found.length === blocks) return found;
      }
    }
    return found;
  }

  async tokens(rows: Uint32Array): Promise<RowTokens> {
    await this.store.reload();
    const space = this.spaceOf(this.store.head);
    const fresh = space && (await this.freshOf(space, [...rows]));
    const found: { row: number; tokens: TokenArray; mark: bigint }[] = [];
    for (const row of space ? rows : []) {
      if (fresh?.has(row)) continue;
      const { places, tokens, marks } = await this.group(groupOf(row));
      const place = places.get(row);
      if (place !== undefined) found.push({ row, tokens: tokens.tokens(place), mark: marks[place]! });
    }
    const total = found.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const isWide = found[0]?.tokens instanceof Int32Array;
    const joined = isWide ? new Int32Array(total) : new Uint16Array(total);
    let at = 0;
    for (const { tokens } of found) {
      joined.set(tokens, at);
      at += tokens.length;
    }
    return {
      rows: Uint32Array.from(found, ({ row }) => row),
      lengths: Int32Array.from(found, ({ tokens }) => tokens.length),
      tokens: joined,
      marks: BigUint64Array.from(found, ({ mark }) => mark),
    };
  }

  async put(results: readonly EmbeddedRows[]): Promise<number> {
    if (results.length === 0) return 0;
    let stored = 0;
    // What the guard has not taken is still stale.
    const fresh = await this.store.commit(async (draft) => {
      const space = this.spaceOf(draft.head);
      const rows: number[] = [];
      for (const result of results) {
        if (result.version !== space?.id) continue;
        const put = await putRows(draft, space, result);
        stored += put.stored;
        rows.push(...put.fresh);
      }
      return rows;
    });
    for (const row of fresh) this.list?.stored.add(row);
    this.puts += 1;
    if (this.puts % OPTIMIZE_EVERY === 0) await this.store.optimize();
    return stored;
  }

  async counts(): Promise<ShardCounts> {
    await this.store.reload();
    const snapshot = await this.store.snapshot();
    const { head, passages, embeddings } = snapshot;
    const rows = await passages.count();
    const versions = (await staleness(snapshot))?.versions ?? [];
    const counted = versions.map(({ space, step, passages }) => ({ id: space, step, rows: passages }));
    const wanted = this.spaceOf(head);
    if (!wanted) return { rows, stale: rows, versions: counted };
    let fresh = 0;
    for await (const { steps } of embeddings(wanted.id).stamps())
      fresh += steps.reduce((sum, step) => sum + Number(step >= wanted.steps), 0);
    return { rows, stale: Math.max(0, rows - fresh), versions: counted };
  }

  async finish(): Promise<void> {
    await this.store.optimize();
    const { migration } = this.store.head;
    if (migration?.adapter === 'documents' && this.spaceOf(this.store.head)?.id === migration.to)
      await buildSameIndex(this.store, { from: migration.from, to: migration.to });
  }

  /** Frees the model, unless it was given. */
  async dispose(): Promise<void> {
    const { loaded } = this;
    this.loaded = undefined;
    await loaded?.model.then((retriever) => retriever.dispose()).catch(() => {});
  }

  private spaceOf({ spaces, current, migration }: StoreHead): StoredSpace | undefined {
    const wanted = this.options.space ?? (migration?.adapter === 'documents' ? migration.to : current);
    return spaces.find(({ id }) => id === wanted);
  }

  /** @param isSweep  whether to read the stamps again if the store has changed */
  private async staleList(space: StoredSpace, isSweep: boolean): Promise<StaleList> {
    const { list, store } = this;
    const state = JSON.stringify(store.head.versions);
    if (list?.version === space.id && (list.state === state || !isSweep)) return list;
    const rows = await stalePassages(await store.snapshot(), space.id);
    this.list = { version: space.id, state, rows, stored: new PassageSet((rows.at(-1) ?? -1) + 1) };
    return this.list;
  }

  private async freshOf({ id, steps }: StoredSpace, rows: readonly number[]): Promise<Set<number>> {
    return await (await this.store.snapshot()).embeddings(id).having(rows, steps);
  }

  /**
   * Divides stale rows of a group into blocks, at the places where the whole group would be divided. Where all fit one block, they are one:
   * blocks are stored as a whole, so that what is left of a divided group is more, or exactly one of them.
   */
  private async blocksOf(group: number, stale: readonly number[]): Promise<Uint32Array[]> {
    if (stale.length === 0) return [];
    const model = await this.model();
    if (stale.length * model.config.maxTokens.document <= BLOCK_SIZE.tokens) return [Uint32Array.from(stale)];
    const { rows, tokens } = await this.group(group);
    const isStale = new Set(stale);
    const blocks: Uint32Array[] = [];
    let start = 0;
    for (const end of blockEnds(tokens.lengths)) {
      const own = rows.slice(start, end).filter((row) => isStale.has(row));
      if (own.length > 0) blocks.push(Uint32Array.from(own));
      start = end;
    }
    return blocks;
  }

  /** Returns the tokens of a group, as of the last commit. */
  private async group(group: number): Promise<Group> {
    const model = await this.model();
    const table = this.store.head.versions.passages!;
    let known = this.groups.get(group);
    const former = await known;
    if (former && (former.table !== table || former.model !== model)) known = undefined;
    known ??= this.readGroup(group, table, model);
    known.catch(() => this.groups.delete(group));
    this.groups.delete(group);
    this.groups.set(group, known);
    const [oldest] = this.groups.keys();
    if (this.groups.size > KEPT_GROUPS) this.groups.delete(oldest!);
    return await known;
  }

  private async readGroup(group: number, table: number, model: Retriever): Promise<Group> {
    const { passages } = await this.store.snapshot();
    const numbers = Array.from({ length: GROUP_ROWS }, (_, i) => group * GROUP_ROWS + i);
    const found = await passages.read(numbers);
    const texts = found.map(({ title, text }) => joinTitle(title, text));
    return {
      table,
      model,
      rows: found.map(({ pid }) => pid),
      places: new Map(found.map(({ pid }, place) => [pid, place])),
      tokens: model.tokenize('document', texts.length, (row) => texts[row]!),
      marks: BigUint64Array.from(found, (passage) => textMark(digestOf(passage))),
    };
  }

  /** Returns the model of the wanted space, of which only the tokenizer is used. */
  private async model(): Promise<Retriever> {
    if (this.options.model) return this.options.model;
    const { id } = this.spaceOf(this.store.head)!;
    if (this.loaded?.space === id) return await this.loaded.model;
    const freed = this.dispose();
    this.groups.clear();
    const loaded = { space: id, model: freed.then(() => loadEncoder(this.store, id)) };
    this.loaded = loaded;
    loaded.model.catch(() => {
      if (this.loaded === loaded) this.loaded = undefined;
    });
    return await loaded.model;
  }
}

/**
 * Stores the rows of a result that are stale and whose texts are still the same.
 *
 * @returns  number of rows stored, and the rows that are not stale any more
 */
async function putRows(
  draft: StoreDraft,
  space: StoredSpace,
  result: EmbeddedRows,
): Promise<{ readonly stored: number; readonly fresh: readonly number[] }> {
  const { rows, marks, vectors } = result;
  const D = space.dimension;
  const table = draft.embeddings(space.id);
  const numbers = [...rows];
  const digests = await draft.passages.digests(numbers);
  const present = await table.having(numbers);
  const fresh = present.size === 0 ? present : await table.having(numbers, space.steps);
  const isWanted = (place: number) => {
    const digest = digests.get(numbers[place]!);
    return digest !== undefined && textMark(digest) === marks[place] && !fresh.has(numbers[place]!);
  };
  const places = numbers.flatMap((_, place) => (isWanted(place) ? place : []));
  const some = (chosen: readonly number[]) => {
    const own = new Float32Array(chosen.length * D);
    for (const [to, place] of chosen.entries()) own.set(vectors.subarray(place * D, (place + 1) * D), to * D);
    return stampNow(
      Int32Array.from(chosen, (place) => numbers[place]!),
      own,
      space.steps,
    );
  };
  // Appending takes less time than replacing.
  await table.add(some(places.filter((place) => !present.has(numbers[place]!))));
  await table.put(some(places.filter((place) => present.has(numbers[place]!))));
  return { stored: places.length, fresh: [...fresh, ...places.map((place) => numbers[place]!)] };
}

const groupOf = (row: number): number => Math.floor(row / GROUP_ROWS);

/** Place of the first of some ascending numbers that is larger than another. */
function firstAfter(rows: readonly number[], row: number): number {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle]! <= row) low = middle + 1;
    else high = middle;
  }
  return low;
}
