import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { SharedResource } from '../util/shared-resource.ts';
import type { ApproximateKind } from './embedding-table.ts';
import { PassageCache } from './passage-cache.ts';
import { PassageSet } from './passage-set.ts';
import { type EmbeddedQueries, embedQueries, QueryAdapter, queryBridge } from './query-adapter.ts';
import type { Store, StoreSnapshot } from './store.ts';
import type { StoredBridge } from './store-head.ts';
import { loadEncoder } from './stored-encoder.ts';
import { openStoredIndex, type StoredIndex } from './stored-index.ts';
import { bridgesTo, openVectors, type VectorSource } from './vector-source.ts';

/** Settings of a {@link StoreView}. */
export interface ViewOptions {
  /** Device and threads. */
  readonly compute: ComputeOptions;
  /** Find passages without a vector in this space by those of other spaces, moved by correctors. */
  readonly corrected?: boolean | undefined;
  /** During a migration of queries, embed queries by the new model and move them into the space. Default true. */
  readonly adapted?: boolean | undefined;
  /** Most bytes of vectors to keep in memory. Default 40 % of the machine's. */
  readonly memoryBytes?: number | undefined;
}

/** Indices for approximate search of the tables that a space is searched in. */
export interface SpaceKinds {
  /** Kind of the index of the space; undefined if it has none. */
  readonly own: ApproximateKind | undefined;
  /** Whether passages without a vector of the space are found by moved vectors of others. */
  readonly hasMoved: boolean;
  /** Kind of the index of a space that vectors are moved from; undefined if none has one. */
  readonly moved: ApproximateKind | undefined;
}

/** Index with the vectors that it was opened from. */
interface OpenIndex {
  source: VectorSource;
  readonly index: StoredIndex;
}

/** Conditions whose passages are remembered. */
const CONDITIONS = 32;

/**
 * All that a search reads: the tables of one commit, and the model and the index of one space, which are loaded when they are first
 * needed. A view is moved to a later commit with little work; see {@link StoreView.next}.
 */
export class StoreView {
  /** Tables. */
  snapshot: StoreSnapshot;
  /** Passages of the snapshot, of which those that were read lately are in memory. */
  passages: PassageCache;
  /** Space to search in; null if the store has no vectors. */
  readonly space: string | null;
  private readonly store: Store;
  private readonly options: ViewOptions;
  private encoder: Promise<SharedResource<Retriever>> | undefined;
  private queries:
    | { readonly name: string; readonly adapter: Promise<SharedResource<QueryAdapter>> }
    | undefined;
  private vectors: Promise<OpenIndex> | undefined;
  private readonly matching = new Map<string, Promise<PassageSet>>();
  private kinds: Promise<SpaceKinds> | undefined;
  /** Whether a later view has taken the encoder over. */
  private hasPassedOn = false;

  constructor(store: Store, snapshot: StoreSnapshot, space: string | null, options: ViewOptions) {
    this.store = store;
    this.snapshot = snapshot;
    this.passages = new PassageCache(snapshot.passages);
    this.space = space;
    this.options = options;
  }

  /** Returns the model of the space. */
  async model(space: string): Promise<SharedResource<Retriever>> {
    this.encoder ??= once(
      async () =>
        new SharedResource(await loadEncoder(this.store, space, this.options.compute), async (retriever) =>
          retriever.dispose(),
        ),
      () => {
        this.encoder = undefined;
      },
    );
    return await this.encoder;
  }

  /**
   * Embeds texts as queries in the space: by its model, or during a migration of queries by the new model, whose vectors a corrector
   * moves into the space.
   */
  async embed(space: string, texts: readonly string[]): Promise<EmbeddedQueries> {
    const { compute } = this.options;
    const loaded = await this.queryModel(space);
    return 'adapter' in loaded
      ? await loaded.adapter.use((adapter) => adapter.embed(texts))
      : await loaded.model.use((retriever) => embedQueries(retriever, texts, compute));
  }

  /** Loads what queries are embedded with. */
  async loadQueryModel(space: string): Promise<void> {
    await this.queryModel(space);
  }

  private async queryModel(
    space: string,
  ): Promise<{ model: SharedResource<Retriever> } | { adapter: SharedResource<QueryAdapter> }> {
    const bridge = this.options.adapted === false ? undefined : queryBridge(this.snapshot.head, space);
    return bridge ? { adapter: await this.adapter(bridge) } : { model: await this.model(space) };
  }

  /** Returns the adapter of queries by a bridge, and frees the former one. */
  private async adapter(bridge: StoredBridge): Promise<SharedResource<QueryAdapter>> {
    const name = JSON.stringify(bridge);
    if (this.queries?.name !== name) {
      void this.queries?.adapter.then((former) => former.free()).catch(() => {});
      const load = async () =>
        new SharedResource(await QueryAdapter.load(this.store, bridge, this.options.compute), (adapter) =>
          adapter.dispose(),
        );
      this.queries = {
        name,
        adapter: once(load, () => {
          this.queries = undefined;
        }),
      };
    }
    return await this.queries.adapter;
  }

  /** Returns the index for exact search in the space. */
  async index(space: string): Promise<StoredIndex> {
    this.vectors ??= once(
      () => this.open(space),
      () => {
        this.vectors = undefined;
      },
    );
    return (await this.vectors).index;
  }

  /** Whether vectors are in memory, or are read by every exact search: the next one need not open them. */
  get hasIndex(): boolean {
    return this.vectors !== undefined;
  }

  /** Tells which tables have an index for approximate search. */
  async approximateKinds(space: string): Promise<SpaceKinds> {
    this.kinds ??= once(
      () => findKinds(this.snapshot, space, this.options.corrected !== false),
      () => {
        this.kinds = undefined;
      },
    );
    return await this.kinds;
  }

  /** Finds the passages that fulfil a condition. */
  async passagesOf(condition: string): Promise<PassageSet> {
    const known = this.matching.get(condition);
    if (known) return await known;
    const found = once(
      () => findPassages(this.snapshot, condition),
      () => this.matching.delete(condition),
    );
    this.matching.set(condition, found);
    const [oldest] = this.matching.keys();
    if (this.matching.size > CONDITIONS) this.matching.delete(oldest!);
    return await found;
  }

  /**
   * Prepares the move to a later commit while the view is in use.
   *
   * @returns  `move`, which makes this view one of the later commit and must be called while nobody uses it; or `view`, to be used
   *   instead of this one, where it has other vectors
   */
  async next(snapshot: StoreSnapshot, space: string | null): Promise<NextView> {
    const { encoder, vectors } = this;
    if (vectors && space !== null && space === this.space) {
      const open = await vectors;
      const source = await this.source(snapshot, space);
      const change = await open.index.changes(source).catch(async (error) => {
        await source.dispose();
        throw error;
      });
      if (change) {
        return {
          move: async () => {
            open.index.apply(change);
            await open.source.dispose();
            open.source = source;
            this.hold(snapshot);
          },
        };
      }
      await source.dispose();
    }
    const view = new StoreView(this.store, snapshot, space, this.options);
    try {
      if (space !== null) {
        if (encoder && space !== this.space) await view.model(space);
        if (vectors) await view.index(space);
      }
    } catch (error) {
      await view.dispose();
      throw error;
    }
    if (encoder && space === this.space) {
      view.encoder = encoder;
      this.hasPassedOn = true;
    }
    return { view };
  }

  /** Takes over the tables of a later commit, and forgets what was read of those that it has changed. */
  private hold(snapshot: StoreSnapshot): void {
    const former = this.snapshot.head.versions;
    this.snapshot = snapshot;
    this.kinds = undefined;
    if (former.passages === snapshot.head.versions.passages) return;
    this.passages = new PassageCache(snapshot.passages);
    this.matching.clear();
  }

  /** Frees the model and the index. */
  async dispose(): Promise<void> {
    const vectors = await this.vectors?.catch(() => undefined);
    await vectors?.index.dispose();
    await vectors?.source.dispose();
    const adapter = await this.queries?.adapter.catch(() => undefined);
    await adapter?.free();
    const encoder = this.hasPassedOn ? undefined : await this.encoder?.catch(() => undefined);
    await encoder?.free();
  }

  private async open(space: string): Promise<OpenIndex> {
    const source = await this.source(this.snapshot, space);
    const { memoryBytes, compute } = this.options;
    try {
      return {
        source,
        index: await openStoredIndex(source, { memoryBytes, ...compute }),
      };
    } catch (error) {
      await source.dispose();
      throw error;
    }
  }

  private async source(snapshot: StoreSnapshot, space: string): Promise<VectorSource> {
    const { corrected, compute } = this.options;
    return await openVectors(this.store, snapshot, space, { corrected, ...compute });
  }
}

/** Way to a later commit. */
export type NextView = { readonly move: () => Promise<void> } | { readonly view: StoreView };

/** Begins work, and forgets it if it fails, so that the next call tries again. */
function once<T>(work: () => Promise<T>, forget: () => void): Promise<T> {
  const begun = work();
  begun.catch(forget);
  return begun;
}

async function findPassages({ head, passages }: StoreSnapshot, condition: string): Promise<PassageSet> {
  const found = new PassageSet(head.nextPassage);
  for await (const pids of passages.pids(condition)) for (const pid of pids) found.add(pid);
  return found;
}

async function findKinds(
  { head, embeddings }: StoreSnapshot,
  space: string,
  corrected: boolean,
): Promise<SpaceKinds> {
  const bridges = corrected ? bridgesTo(head.bridges, space) : [];
  let moved: ApproximateKind | undefined;
  for (const { from } of bridges) moved ??= await embeddings(from).approximate();
  return { own: await embeddings(space).approximate(), hasMoved: bridges.length > 0, moved };
}
