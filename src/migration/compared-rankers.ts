import { loadCorrector } from '../correctors/corrector-folder.ts';
import { joinTitle } from '../data/corpus.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { ExactIndex } from '../search/exact-search.ts';
import type { SearchResult } from '../search/search-index.ts';
import { splitRows } from '../store/dense-search.ts';
import type { Store, StoreSnapshot } from '../store/store.ts';
import type { StoredMigration } from '../store/store-head.ts';
import type { StoreSearcher } from '../store/store-searcher.ts';
import { loadEncoder } from '../store/stored-encoder.ts';
import { openStoredIndex } from '../store/stored-index.ts';
import {
  bridgeFolder,
  joinParts,
  openVectors,
  storedPart,
  type VectorSource,
} from '../store/vector-source.ts';

/** Way of searching that a report compares. */
export type Compared = 'old' | 'new' | 'mixed' | 'unmoved' | 'movedQueries';
const COMPARED: readonly Compared[] = ['old', 'new', 'mixed', 'unmoved', 'movedQueries'];

/** Searcher of the report: ranks passages for texts. */
export type Ranker = Pick<StoreSearcher, 'rank'>;

/** Function that embeds texts as queries: f32[texts, D]. */
type EmbedQueries = (texts: readonly string[]) => Promise<Float32Array>;

/** Everything that searches before, during and after a migration need; freed by `dispose`. */
export class ComparedRankers {
  private readonly store: Store;
  private readonly snapshot: StoreSnapshot;
  private readonly migration: StoredMigration;
  private readonly compute: ComputeOptions;
  private readonly models = new Map<string, Promise<Retriever>>();
  /** Embeddings of queries by model and text. */
  private readonly embedded = new Map<string, Map<string, Float32Array>>();

  constructor(
    store: Store,
    snapshot: StoreSnapshot,
    { migration, compute }: { migration: StoredMigration; compute: ComputeOptions },
  ) {
    this.store = store;
    this.snapshot = snapshot;
    this.migration = migration;
    this.compute = compute;
  }

  /** Names the ways that this migration allows. Vectors of other dimensions cannot be compared without a corrector. */
  get possible(): readonly Compared[] {
    const { from, to, queries } = this.migration;
    const { embeddings } = this.snapshot;
    return COMPARED.filter((name) => {
      if (name === 'unmoved') return embeddings(from).dimension === embeddings(to).dimension;
      return name !== 'movedQueries' || queries !== null;
    });
  }

  /**
   * Works with a ranker over the whole store.
   *
   * @param among  passages to search among. Default all
   */
  async use<T>(
    name: Compared,
    work: (ranker: Ranker) => Promise<T>,
    among?: ReadonlySet<number>,
  ): Promise<T> {
    const source = await this.source(name);
    const index = await openStoredIndex(source, this.compute);
    try {
      const search = (queries: Float32Array, k: number) =>
        among ? index.searchAmong(queries, k, (pid) => among.has(pid)) : index.search(queries, k);
      return await work(this.ranker(name, search));
    } finally {
      await index.dispose();
      await source.dispose();
    }
  }

  /** Works with a ranker over some passages, all embedded by the new model now; nothing is stored. */
  async useEmbedded<T>(
    pids: readonly number[],
    work: (ranker: Ranker) => Promise<T>,
    onEmbedded: (done: number) => void,
  ): Promise<T> {
    const passages = await this.snapshot.passages.read(pids);
    const model = await this.model(this.migration.to);
    const texts = passages.map(({ title, text }) => joinTitle(title, text));
    const vectors = await model.encode('document', texts, {
      ...this.compute,
      onProgress: ({ done }) => onEmbedded(done),
    });
    const index = ExactIndex.create(vectors, model.dimension, this.compute);
    try {
      const search = async (queries: Float32Array, k: number) => {
        const found = await index.search(queries, Math.min(k, passages.length));
        return { ...found, rows: found.rows.map((row) => passages[row]!.pid) };
      };
      return await work(this.ranker('new', search));
    } finally {
      await index.dispose();
    }
  }

  async dispose(): Promise<void> {
    for (const model of this.models.values()) await (await model).dispose();
  }

  private ranker(
    name: Compared,
    search: (queries: Float32Array, k: number) => Promise<SearchResult>,
  ): Ranker {
    return {
      rank: async (texts, { topK = 10 } = {}) => {
        const queries = await this.queries(name)(texts);
        return splitRows(await search(queries, topK), texts.length).map(({ rows, scores }) => ({
          rows: Array.from(rows),
          scores: Array.from(scores),
        }));
      },
    };
  }

  private async source(name: Compared): Promise<VectorSource> {
    const { store, snapshot, compute } = this;
    const { from, to } = this.migration;
    if (name === 'old' || name === 'movedQueries')
      return await openVectors(store, snapshot, from, { corrected: false });
    if (name !== 'unmoved')
      return await openVectors(store, snapshot, to, { corrected: name === 'mixed', ...compute });
    const [own, other] = [snapshot.embeddings(to), snapshot.embeddings(from)];
    return joinParts([storedPart(own, to), storedPart(other, from)], {
      embeddingSpace: to,
      dimension: own.dimension,
      nextPassage: snapshot.head.nextPassage,
      size: (await own.count()) + (await other.count()),
      dispose: async () => {},
    });
  }

  private queries(name: Compared): EmbedQueries {
    const { from, to, queries: bridge } = this.migration;
    if (name !== 'movedQueries') return (texts) => this.embed(name === 'old' ? from : to, texts);
    return async (texts) => {
      const folder = await this.store.files.open(bridgeFolder(bridge!));
      const { corrector } = await loadCorrector(folder, {
        fromSpace: to,
        toSpace: from,
        compute: this.compute,
      });
      const vectors = (await this.embed(to, texts)) as Float32Array<ArrayBuffer>;
      const moved = await corrector.correct(
        hostTensor('f32', [texts.length, vectors.length / texts.length], vectors),
      );
      await corrector.dispose();
      return moved;
    };
  }

  /** Embeds queries by the model of a space, each text once. */
  private async embed(space: string, texts: readonly string[]): Promise<Float32Array> {
    const known = this.embedded.get(space) ?? new Map<string, Float32Array>();
    this.embedded.set(space, known);
    const model = await this.model(space);
    const D = model.dimension;
    const others = [...new Set(texts)].filter((text) => !known.has(text));
    if (others.length > 0) {
      const made = await model.encode('query', others, this.compute);
      for (const [i, text] of others.entries()) known.set(text, made.subarray(i * D, (i + 1) * D));
    }
    const vectors = new Float32Array(texts.length * D);
    for (const [i, text] of texts.entries()) vectors.set(known.get(text)!, i * D);
    return vectors;
  }

  private async model(space: string): Promise<Retriever> {
    const known = this.models.get(space) ?? loadEncoder(this.store, space, this.compute);
    this.models.set(space, known);
    return await known;
  }
}
