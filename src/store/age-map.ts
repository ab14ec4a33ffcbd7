import type { EmbeddingTable } from './embedding-table.ts';
import { PassageSet } from './passage-set.ts';
import type { Store } from './store.ts';
import { bridgesTo } from './vector-source.ts';

/** Version of an encoder, or a range of training steps of one, as the maker of a part of a store's vectors. */
export interface AgeVersion {
  /** Id of the embedding space. */
  readonly space: string;
  /** Name of the model. */
  readonly model: string;
  /** Smallest and largest training step of the encoder among the vectors. */
  readonly steps: readonly [number, number];
  /** Whether queries are embedded in this space. Vectors of the others are moved there by correctors. */
  readonly current: boolean;
  /** Passages that are found by a vector of this version. */
  readonly passages: number;
}

/** Block of passages of consecutive numbers. */
export interface AgeCell {
  /** Passages that the block has. */
  readonly passages: number;
  /** Passages by version, in the order of {@link AgeMap.versions}. The others have no vector. */
  readonly versions: readonly number[];
  /** Mean time of the vectors, in milliseconds since 1970; null without vectors. */
  readonly time: number | null;
}

/** Ages of the vectors that a dense search uses, over all passages in the order in which they were added. */
export interface AgeMap {
  /** Number of passages. */
  readonly passages: number;
  /** Passages without a vector that a dense search can use. */
  readonly missing: number;
  /** Versions: those of the current space first, the latest steps first. */
  readonly versions: readonly AgeVersion[];
  /** Blocks of about equal numbers of passages; fewer than asked for in a small store. */
  readonly cells: readonly AgeCell[];
}

/** Ranges of training steps that are told apart in one space. */
const STEP_RANGES = 5;

/**
 * Counts the passages of a store by the version of the vector that a dense search finds them by. It reads numbers and stamps, not
 * vectors. Memory: one bit for each passage, and the cells.
 *
 * @param cells  most blocks to divide the passages into, ≥ 1
 */
export async function ageMap(store: Store, cells = 600): Promise<AgeMap> {
  const { head, passages, embeddings } = await store.snapshot();
  const { current, bridges, nextPassage } = head;
  const size = Math.max(1, Math.ceil(nextPassage / cells));
  const count = Math.ceil(nextPassage / size);
  const cellOf = (pid: number) => Math.floor(pid / size);
  const inCell = new Int32Array(count);
  for await (const pids of passages.pids()) for (const pid of pids) inCell[cellOf(pid)]! += 1;

  const found = new PassageSet(nextPassage);
  const times = new Float64Array(count);
  const versions: (AgeVersion & { readonly counts: Int32Array })[] = [];
  // The order in which a search prefers them.
  const order = current === null ? [] : [current, ...bridgesTo(bridges, current).map(({ from }) => from)];
  for (const id of order) {
    const { model, steps: trained } = head.spaces.find((space) => space.id === id)!;
    const measured = await stepRanges(embeddings(id));
    const ranges: typeof measured = measured.length > 0 ? measured : [[trained, trained]];
    const counts = ranges.map(() => new Int32Array(count));
    const totals = ranges.map(() => 0);
    for await (const { pids, steps, times: at } of embeddings(id).stamps()) {
      for (const [row, pid] of pids.entries()) {
        if (found.has(pid)) continue;
        found.add(pid);
        const range = ranges.findIndex(([from]) => steps[row]! >= from);
        counts[range]![cellOf(pid)]! += 1;
        totals[range]! += 1;
        times[cellOf(pid)]! += at[row]!;
      }
    }
    for (const [i, steps] of ranges.entries()) {
      if (totals[i] === 0 && id !== current) continue;
      versions.push({
        space: id,
        model,
        steps,
        current: id === current,
        passages: totals[i]!,
        counts: counts[i]!,
      });
    }
  }
  const total = inCell.reduce((sum, n) => sum + n, 0);
  return {
    passages: total,
    missing: total - versions.reduce((sum, version) => sum + version.passages, 0),
    versions: versions.map(({ counts: _, ...version }) => version),
    cells: Array.from(inCell, (passages, cell) => {
      const own = versions.map(({ counts }) => counts[cell]!);
      const vectors = own.reduce((sum, n) => sum + n, 0);
      return { passages, versions: own, time: vectors === 0 ? null : Math.round(times[cell]! / vectors) };
    }),
  };
}

/** Divides the training steps of a table's vectors into ranges, the latest first. */
async function stepRanges(table: EmbeddingTable): Promise<[number, number][]> {
  const distinct = new Set<number>();
  let [first, last] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for await (const { steps } of table.stamps()) {
    for (const step of steps) {
      if (step < first) first = step;
      if (step > last) last = step;
      if (distinct.size <= STEP_RANGES) distinct.add(step);
    }
  }
  if (distinct.size <= STEP_RANGES) {
    return [...distinct].sort((a, b) => b - a).map((step): [number, number] => [step, step]);
  }
  const width = (last - first + 1) / STEP_RANGES;
  const ranges = Array.from({ length: STEP_RANGES }, (_, i): [number, number] => [
    Math.ceil(first + i * width),
    Math.ceil(first + (i + 1) * width) - 1,
  ]);
  return ranges.reverse();
}
