import { join } from 'node:path';
import type { Corrector } from '../correctors/corrector.ts';
import { loadCorrector } from '../correctors/corrector-folder.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import type { EmbeddingRows } from './columns.ts';
import type { EmbeddingTable } from './embedding-table.ts';
import { PassageSet } from './passage-set.ts';
import type { Store, StoreSnapshot } from './store.ts';
import type { StoredBridge } from './store-head.ts';

/** Vectors of passages in one embedding space, wherever they come from. */
export interface VectorSource {
  /** Id of the space. */
  readonly embeddingSpace: string;
  /** Embedding size D. */
  readonly dimension: number;
  /** Number of vectors, at most. */
  readonly size: number;
  /** Streams the vectors. A passage occurs once. */
  stream(): AsyncIterable<Pick<EmbeddingRows, 'pids' | 'vectors'>>;
  /** Frees what the source holds. */
  dispose(): Promise<void>;
}

/** Folder of the corrector between two spaces. */
export const bridgeFolder = (store: Store, { from, to }: Pick<StoredBridge, 'from' | 'to'>): string =>
  join(store.folder, 'correctors', `${from}-${to}`);

/** Correctors into a space, the latest first: its vectors are the nearest. */
export const bridgesTo = (bridges: readonly StoredBridge[], space: string): readonly StoredBridge[] =>
  bridges.filter(({ to }) => to === space).reverse();

/** Settings of {@link openVectors}. */
export interface VectorSourceOptions extends ComputeOptions {
  /** Numbers of the passages wanted. Default all. */
  readonly among?: ReadonlySet<number> | undefined;
  /** Move vectors of other spaces by the store's correctors, where a passage has none in this space. Default true. */
  readonly corrected?: boolean | undefined;
}

/**
 * Opens the vectors of a space: those that its model has made, and for other passages those of earlier spaces, moved by the store's
 * correctors into this space. Vectors of spaces without a corrector are left out.
 */
export async function openVectors(
  store: Store,
  snapshot: StoreSnapshot,
  space: string,
  { among, corrected = true, ...compute }: VectorSourceOptions = {},
): Promise<VectorSource> {
  const { bridges, nextPassage } = snapshot.head;
  const own = snapshot.embeddings(space);
  const moved: { table: EmbeddingTable; corrector: Corrector }[] = [];
  const size = await own.count();
  let more = 0;
  for (const bridge of corrected ? bridgesTo(bridges, space) : []) {
    const table = snapshot.embeddings(bridge.from);
    more = Math.max(more, await table.count());
    const wanted = { fromSpace: bridge.from, toSpace: space, compute };
    const { corrector } = await loadCorrector(bridgeFolder(store, bridge), wanted);
    moved.push({ table, corrector });
  }
  return {
    embeddingSpace: space,
    dimension: own.dimension,
    size: among?.size ?? Math.max(size, more),
    async *stream() {
      const seen = new PassageSet(nextPassage);
      const isWanted = (pid: number) => !seen.has(pid) && (among === undefined || among.has(pid));
      for await (const part of own.stream()) {
        const kept = among || moved.length > 0 ? keepRows(part, isWanted, own.dimension) : part;
        yield kept;
        for (const pid of kept.pids) seen.add(pid);
      }
      for (const { table, corrector } of moved) {
        for await (const part of table.stream()) {
          const kept = keepRows(part, isWanted, table.dimension);
          if (kept.pids.length === 0) continue;
          const rows = hostTensor(
            'f32',
            [kept.pids.length, table.dimension],
            kept.vectors as Float32Array<ArrayBuffer>,
          );
          yield { pids: kept.pids, vectors: await corrector.correct(rows) };
          for (const pid of kept.pids) seen.add(pid);
        }
      }
    },
    async dispose() {
      for (const { corrector } of moved) await corrector.dispose();
    },
  };
}

/** Keeps some rows, as copies unless all are kept. */
function keepRows(
  { pids, vectors }: Pick<EmbeddingRows, 'pids' | 'vectors'>,
  isWanted: (pid: number) => boolean,
  D: number,
): Pick<EmbeddingRows, 'pids' | 'vectors'> {
  const rows: number[] = [];
  for (const [row, pid] of pids.entries()) if (isWanted(pid)) rows.push(row);
  if (rows.length === pids.length) return { pids, vectors };
  const kept = new Float32Array(rows.length * D);
  for (const [to, row] of rows.entries()) kept.set(vectors.subarray(row * D, (row + 1) * D), to * D);
  return { pids: Int32Array.from(rows, (row) => pids[row]!), vectors: kept };
}
