import { loadCorrector } from '../correctors/corrector-folder.ts';
import { joinTitle } from '../data/corpus.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { stampNow } from '../store/columns.ts';
import { digestOf, haveSameText } from '../store/passage-input.ts';
import type { StoredPassage } from '../store/passage-table.ts';
import { type RefreshRecord, readRefresh, writeRefresh } from '../store/refresh-file.ts';
import { stalePassages } from '../store/staleness.ts';
import type { Store, StoreDraft } from '../store/store.ts';
import { bridgeFolder, bridgesTo } from '../store/vector-source.ts';
import { UndriftError } from '../util/errors.ts';
import { squaredDistance } from '../util/vector-rows.ts';

/** Rows that have been embedded and are not stored yet. */
export interface EmbeddedPart {
  /** Passages, as they were when they were embedded. */
  readonly passages: readonly StoredPassage[];
  /** f32[passages, D]. */
  readonly vectors: Float32Array;
}

/**
 * Keeper of vectors of which some are stale. {@link LazyRefresh} works on any keeper; {@link storeKeeper} makes the one of a store.
 *
 * Embedding and storing are apart, so that no lock is held while the model works.
 */
export interface RowKeeper {
  /** Space that rows are embedded in. */
  readonly space: string;
  /** Counts all rows. */
  count(): Promise<number>;
  /** Lists the stale rows by their numbers, ascending, as of the newest commit of any process. */
  stale(): Promise<readonly number[]>;
  /** Estimates the drift of rows: a squared distance from 0 to 4. */
  drift(rows: readonly number[]): Promise<readonly number[]>;
  /** Reads the passages of rows, without those that have been removed, or embedded by another process. */
  read(rows: readonly number[]): Promise<readonly StoredPassage[]>;
  /** Embeds passages by the current encoder: f32[passages, D]. */
  embed(passages: readonly StoredPassage[]): Promise<Float32Array>;
  /** Stores parts durably in one commit, without rows that have changed since they were embedded. Returns the number of rows stored. */
  put(parts: readonly EmbeddedPart[]): Promise<number>;
  /** Merges what many small commits have left. */
  tidy(): Promise<void>;
  /** Reads the queue that {@link RowKeeper.save} has written. */
  load(): Promise<RefreshRecord>;
  /** Saves the queue, so that it survives the end of the process. */
  save(record: RefreshRecord): Promise<void>;
}

/** Works with a model that belongs to someone else, who does not free it meanwhile. */
export type ModelUse = <T>(work: (retriever: Retriever) => Promise<T>) => Promise<T>;

/** Largest distance of two unit vectors, squared: the drift of a passage without a vector. */
const NO_VECTOR = 4;

/**
 * Makes the keeper of a store's vectors in the space of a model. Rows are stale if they have no vector in this space, or one of an
 * earlier training step.
 *
 * @param model  model of the space, or a function that works with it, called for every part of the rows
 * @throws UndriftError if the store does not have the space
 */
export function storeKeeper(
  store: Store,
  model: Retriever | ModelUse,
  space: string,
  compute: ComputeOptions = {},
): RowKeeper {
  // The store's own record of the steps: another copy of the same weights may name others, and its rows would stay stale.
  const steps = store.space(space)?.steps;
  if (steps === undefined) throw new UndriftError(`the store has no embedding space ${space}`);
  return {
    space,
    count: async () => (await store.snapshot()).passages.count(),
    async stale() {
      await store.reload();
      return await stalePassages(await store.snapshot(), space);
    },
    drift: (rows) => distancesMoved(store, space, rows, compute),
    async read(rows) {
      await store.reload();
      const snapshot = await store.snapshot();
      const fresh = await snapshot.embeddings(space).having(rows, steps);
      return await snapshot.passages.read(rows.filter((pid) => !fresh.has(pid)));
    },
    async embed(passages) {
      const texts = passages.map(({ title, text }) => joinTitle(title, text));
      const encode = (retriever: Retriever) => retriever.encode('document', texts, compute);
      return await (typeof model === 'function' ? model(encode) : encode(model));
    },
    put: (parts) => store.commit((draft) => putParts(draft, { space, steps }, parts)),
    tidy: () => store.optimize(),
    load: () => readRefresh(store, space),
    save: (record) => writeRefresh(store, record),
  };
}

/**
 * Adds embedded parts to a commit, without passages that have changed since they were embedded.
 *
 * @returns  number of rows stored
 */
export async function putParts(
  draft: StoreDraft,
  { space, steps }: { readonly space: string; readonly steps: number },
  parts: readonly EmbeddedPart[],
): Promise<number> {
  const known = await draft.passages.known(parts.flatMap(({ passages }) => passages.map(({ id }) => id)));
  let stored = 0;
  for (const { passages, vectors } of parts) {
    const D = vectors.length / passages.length;
    const kept = passages.flatMap((passage, row) => {
      const now = known.get(passage.id);
      return now?.pid === passage.pid && haveSameText(now.digest, digestOf(passage)) ? row : [];
    });
    const rows = new Float32Array(kept.length * D);
    for (const [to, row] of kept.entries()) rows.set(vectors.subarray(row * D, (row + 1) * D), to * D);
    const pids = Int32Array.from(kept, (row) => passages[row]!.pid);
    await draft.embeddings(space).put(stampNow(pids, rows, steps));
    stored += kept.length;
  }
  return stored;
}

/** Computes by how far the store's correctors move the vectors of passages into a space, squared. */
async function distancesMoved(
  store: Store,
  space: string,
  pids: readonly number[],
  compute: ComputeOptions,
): Promise<number[]> {
  const { head, embeddings } = await store.snapshot();
  const distances = new Map<number, number>();
  for (const bridge of bridgesTo(head.bridges, space)) {
    const table = embeddings(bridge.from);
    const left = pids.filter((pid) => !distances.has(pid));
    if (table.dimension !== store.space(space)?.dimension) {
      for (const pid of await table.having(left)) distances.set(pid, bridge.heldOutError);
      continue;
    }
    const { corrector } = await loadCorrector(await store.files.open(bridgeFolder(bridge)), { compute });
    const D = table.dimension;
    for await (const { pids: found, vectors } of table.read(left)) {
      const rows = hostTensor('f32', [found.length, D], vectors as Float32Array<ArrayBuffer>);
      const moved = await corrector.correct(rows);
      for (const [row, pid] of found.entries()) {
        const [start, end] = [row * D, (row + 1) * D];
        distances.set(pid, squaredDistance(vectors.subarray(start, end), moved.subarray(start, end)));
      }
    }
    await corrector.dispose();
  }
  return pids.map((pid) => distances.get(pid) ?? NO_VECTOR);
}
