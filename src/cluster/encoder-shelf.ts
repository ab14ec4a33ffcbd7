import { loadRetriever } from '../models/folder/load-retriever.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { fetchModel } from './model-store.ts';
import type { ClusterStreams } from './streams.ts';
import { persist } from './waiting.ts';

/** Models that a worker keeps in memory: tasks of two versions may alternate while one replaces the other. */
const MOST = 2;

/** Settings of an {@link EncoderShelf}. */
export interface ShelfOptions {
  /** Aborting ends the fetching of a model. */
  readonly signal?: AbortSignal | undefined;
  /** Called before a model is fetched. */
  readonly onFetch?: ((digest: string) => void) | undefined;
}

/** Models of a worker by their digests. */
export class EncoderShelf {
  private readonly streams: ClusterStreams;
  private readonly options: ShelfOptions;
  private readonly loaded = new Map<string, Promise<Retriever>>();

  constructor(streams: ClusterStreams, options: ShelfOptions = {}) {
    this.streams = streams;
    this.options = options;
  }

  /** Returns a model, which is fetched and loaded if needed. It may be freed by the next call but one. */
  async get(digest: string): Promise<Retriever> {
    let model = this.loaded.get(digest);
    if (!model) {
      const { signal, onFetch } = this.options;
      onFetch?.(digest);
      const fetched = persist(() => fetchModel(this.streams, digest, signal), signal);
      model = fetched.then((folder) => loadRetriever(folder));
      // The next call tries again.
      model.catch(() => this.loaded.delete(digest));
    }
    this.loaded.delete(digest);
    this.loaded.set(digest, model);
    const [oldest] = this.loaded.keys();
    if (this.loaded.size > MOST) await this.free(oldest!);
    return await model;
  }

  /** Frees all models. */
  async dispose(): Promise<void> {
    for (const digest of [...this.loaded.keys()]) await this.free(digest);
  }

  private async free(digest: string): Promise<void> {
    const model = this.loaded.get(digest);
    this.loaded.delete(digest);
    await model?.then((retriever) => retriever.dispose()).catch(() => {});
  }
}
