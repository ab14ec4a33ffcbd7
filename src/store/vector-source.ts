import type { Corrector } from '../correctors/corrector.ts';
import { loadCorrector } from '../correctors/corrector-folder.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { UndriftError } from '../util/errors.ts';
import type { EmbeddingRows } from './columns.ts';
import type { EmbeddingTable, RowVersions } from './embedding-table.ts';
import { PassageSet } from './passage-set.ts';
import type { Store, StoreSnapshot } from './store.ts';
import type { StoredBridge } from './store-head.ts';

/** Vectors by the numbers of their passages. */
export type NumberedVectors = Pick<EmbeddingRows, 'pids' | 'vectors'>;

/** Vectors of one table, in the space of their source: as they are stored, or moved by a corrector. */
export interface VectorPart {
  /** Names table and corrector: in parts of equal id, rows of equal number and version have equal vectors. */
  readonly id: string;
  /** Whether a corrector moves the vectors. */
  readonly isMoved: boolean;
  /** Streams numbers of passages and versions of rows. */
  rows(): AsyncIterable<RowVersions>;
  /** Streams the vectors of some passages, in any order. */
  read(pids: readonly number[]): AsyncIterable<NumberedVectors>;
  /** Streams the vectors, or those of the passages wanted. */
  stream(isWanted?: (pid: number) => boolean): AsyncIterable<NumberedVectors>;
}

/** Vectors of passages in one embedding space, wherever they come from. */
export interface VectorSource {
  /** Id of the space. */
  readonly embeddingSpace: string;
  /** Embedding size D. */
  readonly dimension: number;
  /** Number of the next new passage: all numbers are smaller. */
  readonly nextPassage: number;
  /** Tables, in the order in which a passage is looked for. */
  readonly parts: readonly VectorPart[];
  /** Number of vectors, at most. */
  readonly size: number;
  /** Streams the vectors, or those of the passages wanted. A passage occurs once. */
  stream(isWanted?: RowFilter): AsyncIterable<NumberedVectors>;
  /** Frees what the source holds. */
  dispose(): Promise<void>;
}

/** Tells whether a passage is wanted, by its number and whether its vector is a moved one. */
export type RowFilter = (pid: number, isMoved: boolean) => boolean;

/** Folder of the store with the corrector between two spaces. */
export const bridgeFolder = ({ from, to }: Pick<StoredBridge, 'from' | 'to'>): string =>
  `correctors/${from}-${to}`;

/** Correctors into a space, the latest first: its vectors are the nearest. */
export const bridgesTo = (bridges: readonly StoredBridge[], space: string): readonly StoredBridge[] =>
  bridges.filter(({ to }) => to === space).reverse();

/** Settings of {@link openVectors}. */
export interface VectorSourceOptions extends ComputeOptions {
  /** Move vectors of other spaces by the store's correctors, where a passage has none in this space. Default true. */
  readonly corrected?: boolean | undefined;
}

/**
 * Opens the vectors of a space: those that its model has made, and for other passages those of earlier spaces, moved by the store's
 * correctors into this space. Vectors of spaces without a corrector are left out. A corrector is loaded when it is first needed.
 */
export async function openVectors(
  store: Store,
  snapshot: StoreSnapshot,
  space: string,
  { corrected = true, ...compute }: VectorSourceOptions = {},
): Promise<VectorSource> {
  const { bridges, nextPassage, spaces } = snapshot.head;
  const own = snapshot.embeddings(space);
  // A space that was removed and added again has a table whose versions begin anew.
  const nameOf = (id: string) => `${id} of ${spaces.find((known) => known.id === id)!.added}`;
  const parts: VectorPart[] = [storedPart(own, nameOf(space))];
  const correctors: LazyCorrector[] = [];
  let size = await own.count();
  for (const bridge of corrected ? bridgesTo(bridges, space) : []) {
    const table = snapshot.embeddings(bridge.from);
    const corrector = new LazyCorrector(store, bridge, compute);
    correctors.push(corrector);
    parts.push(movedPart(table, `${nameOf(bridge.from)} by ${JSON.stringify(bridge)}`, corrector));
    size += await table.count();
  }
  return joinParts(parts, {
    ...{ embeddingSpace: space, dimension: own.dimension, nextPassage, size },
    async dispose() {
      for (const corrector of correctors) await corrector.dispose();
    },
  });
}

/** Makes a source of parts: a passage is taken from the first part that has it. */
export function joinParts(
  parts: readonly VectorPart[],
  facts: Omit<VectorSource, 'parts' | 'stream'>,
): VectorSource {
  return {
    ...facts,
    size: Math.min(facts.size, facts.nextPassage),
    parts,
    async *stream(isWanted = () => true) {
      const seen = parts.length > 1 ? new PassageSet(facts.nextPassage) : undefined;
      for (const part of parts) {
        const isNew = (pid: number) => !seen?.has(pid) && isWanted(pid, part.isMoved);
        for await (const rows of part.stream(isNew)) {
          if (rows.pids.length > 0) yield rows;
          if (seen) for (const pid of rows.pids) seen.add(pid);
        }
      }
    },
  };
}

/** Makes a part of the vectors of a table as they are. */
export const storedPart = (table: EmbeddingTable, id: string): VectorPart => ({
  id,
  isMoved: false,
  rows: () => table.versions(),
  read: (pids) => table.read(pids),
  async *stream(isWanted) {
    for await (const rows of table.stream())
      yield isWanted ? keepRows(rows, isWanted, table.dimension) : rows;
  },
});

const movedPart = (table: EmbeddingTable, id: string, corrector: LazyCorrector): VectorPart => {
  const move = async ({ pids, vectors }: NumberedVectors): Promise<NumberedVectors> => ({
    pids,
    vectors: await corrector.correct(vectors, table.dimension),
  });
  return {
    id,
    isMoved: true,
    rows: () => table.versions(),
    async *read(pids) {
      for await (const rows of table.read(pids)) yield await move(rows);
    },
    async *stream(isWanted = () => true) {
      for await (const rows of table.stream()) yield await move(keepRows(rows, isWanted, table.dimension));
    },
  };
};

/** Corrector between two spaces that is loaded by its first use. */
class LazyCorrector {
  private readonly load: () => Promise<Corrector>;
  private loaded: Promise<Corrector> | undefined;

  constructor(store: Store, bridge: StoredBridge, compute: ComputeOptions) {
    const { from, to, heldOutError } = bridge;
    const wanted = { fromSpace: from, toSpace: to, compute };
    this.load = async () => {
      const folder = await store.files.open(bridgeFolder(bridge));
      const { corrector, description } = await loadCorrector(folder, wanted);
      if (description.heldOutError === heldOutError) return corrector;
      await corrector.dispose();
      throw new UndriftError('the corrector has been fitted again since the store was read', {
        help: 'search again',
      });
    };
  }

  /** Moves vectors f32[rows, D]. */
  async correct(vectors: Float32Array, D: number): Promise<Float32Array> {
    const count = vectors.length / D;
    if (count === 0) return new Float32Array(0);
    this.loaded ??= this.load();
    const rows = hostTensor('f32', [count, D], vectors as Float32Array<ArrayBuffer>);
    return await (await this.loaded).correct(rows);
  }

  async dispose(): Promise<void> {
    // A corrector that could not be loaded has been reported by its use.
    const corrector = await this.loaded?.catch(() => undefined);
    await corrector?.dispose();
  }
}

/** Keeps some rows, as copies unless all are kept. */
function keepRows(
  { pids, vectors }: NumberedVectors,
  isWanted: (pid: number) => boolean,
  D: number,
): NumberedVectors {
  const rows: number[] = [];
  for (const [row, pid] of pids.entries()) if (isWanted(pid)) rows.push(row);
  if (rows.length === pids.length) return { pids, vectors };
  const kept = new Float32Array(rows.length * D);
  for (const [to, row] of rows.entries()) kept.set(vectors.subarray(row * D, (row + 1) * D), to * D);
  return { pids: Int32Array.from(rows, (row) => pids[row]!), vectors: kept };
}
