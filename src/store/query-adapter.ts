import type { Corrector } from '../correctors/corrector.ts';
import { loadCorrector } from '../correctors/corrector-folder.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import type { Store } from './store.ts';
import type { StoredBridge, StoreHead } from './store-head.ts';
import { loadEncoder } from './stored-encoder.ts';
import { bridgeFolder } from './vector-source.ts';

/** Queries that have been embedded. */
export interface EmbeddedQueries {
  /** f32[texts, D]. */
  readonly vectors: Float32Array;
  /** i32[texts]: number of tokens of each text. */
  readonly tokens: Int32Array;
}

/** Embeds texts as queries by a model, and counts their tokens. */
export async function embedQueries(
  retriever: Retriever,
  texts: readonly string[],
  compute: ComputeOptions,
): Promise<EmbeddedQueries> {
  const tokens = retriever.tokenize('query', texts.length, (row) => texts[row]!);
  return { vectors: await retriever.encodeTokens('query', tokens, compute), tokens: tokens.lengths };
}

/**
 * Finds the corrector by which queries are moved into a space during a migration of queries; undefined if queries are embedded by the
 * model of the space itself.
 */
export const queryBridge = ({ migration }: StoreHead, space: string): StoredBridge | undefined =>
  migration?.adapter === 'queries' && migration.from === space ? (migration.queries ?? undefined) : undefined;

/** Model of a new space with the corrector that moves its queries into the space of stored vectors. */
export class QueryAdapter {
  readonly bridge: StoredBridge;
  private readonly retriever: Retriever;
  private readonly corrector: Corrector;
  private readonly compute: ComputeOptions;

  private constructor(
    bridge: StoredBridge,
    parts: { retriever: Retriever; corrector: Corrector },
    compute: ComputeOptions,
  ) {
    this.bridge = bridge;
    this.retriever = parts.retriever;
    this.corrector = parts.corrector;
    this.compute = compute;
  }

  /** Loads the model and the corrector. */
  static async load(store: Store, bridge: StoredBridge, compute: ComputeOptions): Promise<QueryAdapter> {
    const wanted = { fromSpace: bridge.from, toSpace: bridge.to, compute };
    const { corrector } = await loadCorrector(await store.files.open(bridgeFolder(bridge)), wanted);
    try {
      return new QueryAdapter(
        bridge,
        { retriever: await loadEncoder(store, bridge.from, compute), corrector },
        compute,
      );
    } catch (error) {
      await corrector.dispose();
      throw error;
    }
  }

  /** Embeds texts as queries and moves them. */
  async embed(texts: readonly string[]): Promise<EmbeddedQueries> {
    const { vectors, tokens } = await embedQueries(this.retriever, texts, this.compute);
    if (texts.length === 0) return { vectors, tokens };
    const rows = hostTensor(
      'f32',
      [texts.length, this.retriever.dimension],
      vectors as Float32Array<ArrayBuffer>,
    );
    return { vectors: await this.corrector.correct(rows), tokens };
  }

  async dispose(): Promise<void> {
    await this.corrector.dispose();
    await this.retriever.dispose();
  }
}
