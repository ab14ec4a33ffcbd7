import { bestFit } from '../../text/best-fit.ts';
import { lengthGroupedBatches } from '../../text/length-grouped-batches.ts';
import { permutation, rngKey } from '../../util/rng.ts';

/** Way in which windows are put into batches. */
export interface WindowBatcher {
  /** Batches of one pass over the windows, the same in every epoch. */
  readonly perEpoch: number;
  /**
   * Returns the windows of each batch of an epoch: each window is in at most one. They depend on the seed and the epoch alone.
   *
   * @param epoch  number of the pass over the windows, from 0
   */
  batches(epoch: number): readonly ArrayLike<number>[];
}

/** Size of the batches, and seed of the order. */
export interface BatcherOptions {
  /** Largest number of windows of a batch. */
  readonly batchSize: number;
  readonly seed: number;
}

/**
 * Batches of random windows. Windows of similar length are batched together.
 *
 * @param lengths  tokens of each window
 */
export function randomBatcher(
  lengths: ArrayLike<number>,
  { batchSize, seed }: BatcherOptions,
): WindowBatcher {
  return {
    perEpoch: Math.ceil(lengths.length / batchSize),
    batches: (epoch) =>
      lengthGroupedBatches(lengths, permutation(rngKey(seed, epoch, 'windows'), lengths.length), {
        batchSize,
      }),
  };
}

/**
 * Batches of consecutive windows. The windows of each document are cut into runs, from its beginning. A run is never divided between two
 * batches, and its windows stand in the order of the document. Short runs share batches. Runs meet others in each epoch, and the order of
 * the batches changes.
 *
 * @param documents  document of each window; the windows of a document follow one another
 * @param options.run  windows of a run, at most `batchSize`; the last run of a document may be shorter
 */
export function consecutiveBatcher(
  documents: ArrayLike<number>,
  { batchSize, seed, run }: BatcherOptions & { readonly run: number },
): WindowBatcher {
  const starts: number[] = [];
  const sizes: number[] = [];
  for (let i = 0; i < documents.length; i++) {
    if (i > 0 && documents[i] === documents[i - 1] && sizes.at(-1)! < run) sizes[sizes.length - 1]! += 1;
    else {
      starts.push(i);
      sizes.push(1);
    }
  }
  const pack = (order: Uint32Array) =>
    bestFit(
      Int32Array.from(order, (each) => sizes[each]!),
      batchSize,
    );
  const countOf = (batchOf: Int32Array) => batchOf.reduce((most, each) => Math.max(most, each + 1), 0);
  return {
    perEpoch: countOf(pack(Uint32Array.from(sizes.keys()))),
    batches(epoch) {
      const order = permutation(rngKey(seed, epoch, 'runs'), sizes.length);
      const batchOf = pack(order);
      const batches = Array.from({ length: countOf(batchOf) }, (): number[] => []);
      for (const [i, each] of order.entries()) {
        const batch = batches[batchOf[i]!]!;
        for (let k = 0; k < sizes[each]!; k++) batch.push(starts[each]! + k);
      }
      return shuffled(batches, seed, epoch);
    },
  };
}

/**
 * Cuts the windows of each document into groups of consecutive ones, as equal as possible. A window that is alone in its document is in no
 * group.
 *
 * @param documents  document of each window; the windows of a document follow one another
 * @param most  windows of a group at most, ≥ 2
 */
export function documentGroups(documents: ArrayLike<number>, most: number): number[][] {
  const groups: number[][] = [];
  for (let start = 0, end = 0; start < documents.length; start = end) {
    while (end < documents.length && documents[end] === documents[start]) end += 1;
    const parts = Math.ceil((end - start) / most);
    for (let part = 0; part < parts && end - start > 1; part++) {
      const at = (each: number) => start + Math.floor((each * (end - start)) / parts);
      groups.push(Array.from({ length: at(part + 1) - at(part) }, (_, i) => at(part) + i));
    }
  }
  return groups;
}

/**
 * Batches of given groups of windows, in another order in each epoch. Windows of no group are in no batch.
 *
 * @param options.share  groups that share a batch, other ones in each epoch. Default 1
 */
export const groupBatcher = (
  groups: readonly ArrayLike<number>[],
  { seed, share = 1 }: Pick<BatcherOptions, 'seed'> & { readonly share?: number },
): WindowBatcher => {
  const perEpoch = Math.ceil(groups.length / share);
  return {
    perEpoch,
    batches(epoch) {
      const order = shuffled(groups, seed, epoch);
      return Array.from({ length: perEpoch }, (_, i) =>
        order.slice(i * share, (i + 1) * share).flatMap((group) => Array.from(group)),
      );
    },
  };
};

/**
 * Batches of long sequences, each of which is cut into windows. A batch has whole sequences, with their windows in order. Sequences of
 * similarly many windows are batched together.
 *
 * @param sequences  sequence of each window; the windows of a sequence follow one another
 * @param options.batchSize  sequences of a batch, at most
 */
export function longBatcher(sequences: ArrayLike<number>, options: BatcherOptions): WindowBatcher {
  const starts = Array.from(sequences, (_, i) => i).filter(
    (i) => i === 0 || sequences[i] !== sequences[i - 1],
  );
  const sizes = starts.map((start, i) => (starts[i + 1] ?? sequences.length) - start);
  const { perEpoch, batches } = randomBatcher(sizes, options);
  const windowsOf = (sequence: number) =>
    Array.from({ length: sizes[sequence]! }, (_, i) => starts[sequence]! + i);
  return {
    perEpoch,
    batches: (epoch) => batches(epoch).map((batch) => Array.from(batch, windowsOf).flat()),
  };
}

/** Nearest other windows of each window, nearest first. */
export interface WindowNeighbours {
  /** i32[N, k]: numbers of windows; −1 where fewer were found. */
  readonly windows: Int32Array;
  readonly k: number;
}

/**
 * Batches of similar windows: a chain through all windows, cut into batches. The chain begins at a random window. Its next window is the
 * nearest neighbour of the last one that is not yet in the chain or, where none is left, a random one. The batches are shuffled, so that
 * similar batches do not follow each other.
 *
 * @param neighbours  nearest windows of each window
 * @paper Zhong, Lei, Chen 2022: "Training Language Models with Memory Augmentation", algorithm 1.
 */
export function chainBatcher(
  { windows, k }: WindowNeighbours,
  { batchSize, seed }: BatcherOptions,
): WindowBatcher {
  const count = windows.length / k;
  return {
    perEpoch: Math.ceil(count / batchSize),
    batches(epoch) {
      const jumps = permutation(rngKey(seed, epoch, 'chain'), count);
      const isUsed = new Uint8Array(count);
      const chain = new Uint32Array(count);
      for (let at = 0, last = -1, jump = 0; at < count; at++) {
        let next = -1;
        for (let i = 0; last !== -1 && i < k && next === -1; i++) {
          const near = windows[last * k + i]!;
          if (near >= 0 && isUsed[near] === 0) next = near;
        }
        while (next === -1) {
          const each = jumps[jump++]!;
          if (isUsed[each] === 0) next = each;
        }
        isUsed[next] = 1;
        chain[at] = next;
        last = next;
      }
      const cuts = Array.from({ length: Math.ceil(count / batchSize) }, (_, i) =>
        chain.subarray(i * batchSize, (i + 1) * batchSize),
      );
      return shuffled(cuts, seed, epoch);
    },
  };
}

const shuffled = <T>(batches: readonly T[], seed: number, epoch: number): T[] =>
  Array.from(permutation(rngKey(seed, epoch, 'batches'), batches.length), (i) => batches[i]!);
