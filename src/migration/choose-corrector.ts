import { CORRECTOR_KINDS, type Corrector, type CorrectorKind } from '../correctors/corrector.ts';
import { correctorPlan } from '../correctors/corrector-options.ts';
import { fitCorrector } from '../correctors/fit-corrector.ts';
import { joinTitle } from '../data/corpus.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import type { StoredPassage } from '../store/passage-table.ts';
import type { StoreSnapshot } from '../store/store.ts';
import type { StoredSpace } from '../store/store-head.ts';
import { UsageError } from '../util/errors.ts';
import type { Progress } from '../util/progress.ts';
import { permutation, rngKey } from '../util/rng.ts';
import { pickRows } from '../util/vector-rows.ts';
import type { Direction } from './correction-options.ts';
import { type Matrix, type Neighbours, neighbourOverlap, neighbours } from './neighbours.ts';

/** Settings of {@link startMigration} and {@link planMigration}. */
export interface MigrationOptions extends ComputeOptions {
  /** Name of the new model, to be shown to users. Default `(memory)`. */
  readonly model?: string | undefined;
  /** Number of passages that both models embed, to fit the corrector to. Default 2,000. */
  readonly sample?: number | undefined;
  /** Kinds of corrector to choose from, by the error on held-out passages. Default procrustes, ridge and mlp. */
  readonly correctors?: readonly CorrectorKind[] | undefined;
  /** Seed of the sample. Default 0. */
  readonly seed?: number | undefined;
  /** Called with progress in passages. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** Corrector that was chosen, with its measurements. */
export interface ChosenCorrector {
  /** Vectors that it moves; see {@link Direction}. */
  readonly direction: Direction;
  readonly kind: CorrectorKind;
  /** Number of passages fitted to. */
  readonly sample: number;
  /** Mean squared distance between moved and true vectors of held-out passages, from 0 to 4. */
  readonly heldOutError: number;
  /** The same without correction; null if the dimensions differ. */
  readonly staleError: number | null;
  /**
   * Share of the 10 nearest held-out passages in the new space that are found with the corrector, the vectors of the held-out passages
   * being the queries: an estimate of the overlap of searches with those after full re-embedding.
   */
  readonly overlap: number;
  /** Passages embedded per second by the new model. */
  readonly passagesPerSecond: number;
}

const DEFAULT_SAMPLE = 2000;
const KINDS: readonly CorrectorKind[] = ['procrustes', 'ridge', 'mlp'];
/** Share of the sample that is held out of the fits that are compared. */
const HELD_OUT = 0.2;
/** Number of neighbours that are compared. */
const NEAREST = 10;

/** Passages of a sample with their vectors of both models. */
export interface Sample {
  readonly pids: Int32Array;
  /** f32[n, D]: stored vectors. */
  readonly stale: Float32Array<ArrayBuffer>;
  /** f32[n, D']: vectors of the new model. */
  readonly fresh: Float32Array<ArrayBuffer>;
  /** Time that the new model took for a passage. */
  readonly passagesPerSecond: number;
  /** Processor time that it took for a passage, over all cores. */
  readonly cpuSecondsPerPassage: number;
}

/** Sample with its passages, as they were when they were embedded. */
export interface PassageSample extends Sample {
  readonly passages: readonly StoredPassage[];
}

/** Embeds a sample of the passages of a space by another model. */
export async function embedSample(
  { passages, embeddings }: StoreSnapshot,
  from: StoredSpace,
  retriever: Retriever,
  { sample = DEFAULT_SAMPLE, seed = 0, ...options }: MigrationOptions,
): Promise<PassageSample> {
  const all: number[] = [];
  for await (const pids of embeddings(from.id).pids()) for (const pid of pids) all.push(pid);
  all.sort((a, b) => a - b);
  const order = permutation(rngKey(seed, 0, 'migration/sample'), all.length).subarray(0, sample);
  const wanted = Array.from(order, (row) => all[row]!).sort((a, b) => a - b);
  const found = await passages.read(wanted);
  const pids = Int32Array.from(found, ({ pid }) => pid);
  const place = new Map(Array.from(pids, (pid, i) => [pid, i]));
  const D = from.dimension;
  const stale = new Float32Array(pids.length * D);
  for await (const part of embeddings(from.id).read(wanted)) {
    for (const [row, pid] of part.pids.entries()) {
      const to = place.get(pid);
      if (to !== undefined) stale.set(part.vectors.subarray(row * D, (row + 1) * D), to * D);
    }
  }
  const texts = found.map(({ title, text }) => joinTitle(title, text));
  return { passages: found, pids, stale, ...(await embedTimed(retriever, texts, options)) };
}

/** Embeds the texts of a sample and measures the time. */
export async function embedTimed(
  retriever: Retriever,
  texts: readonly string[],
  { onProgress, device, threads }: Pick<MigrationOptions, 'onProgress' | 'device' | 'threads'>,
): Promise<Omit<Sample, 'pids' | 'stale'>> {
  const [startMs, cpu] = [performance.now(), process.cpuUsage()];
  const fresh = await retriever.encode('document', texts, {
    ...(device && { device }),
    ...(threads && { threads }),
    onProgress: ({ done, total }) => onProgress?.({ stage: 'embed sample', done, total, unit: 'passages' }),
  });
  const { user, system } = process.cpuUsage(cpu);
  return {
    fresh: fresh as Float32Array<ArrayBuffer>,
    passagesPerSecond: texts.length / ((performance.now() - startMs) / 1000),
    cpuSecondsPerPassage: (user + system) / 1e6 / Math.max(1, texts.length),
  };
}

/** Vectors of held-out passages. */
export interface HeldOut {
  /** Stored vectors. */
  readonly stale: Matrix;
  /** Vectors of the new model. */
  readonly fresh: Matrix;
  /** Vectors that the corrector has moved. */
  readonly moved: Matrix;
}

/**
 * Fits correctors to a part of the sample, and the one with the smallest error on the rest to all of it.
 *
 * @param direction  `documents`: from the vectors of the store to those of the new model; `queries`: the other way
 */
export async function chooseCorrector(
  { pids, stale, fresh, passagesPerSecond }: Sample,
  from: StoredSpace,
  to: StoredSpace,
  { correctors = KINDS, seed = 0, device, threads }: MigrationOptions,
  direction: Direction = 'documents',
): Promise<ChosenCorrector & { corrector: Corrector; heldOut: HeldOut }> {
  const compute = { ...(device && { device }), ...(threads && { threads }) };
  const old = { data: stale, dimension: from.dimension };
  const now = { data: fresh, dimension: to.dimension };
  const [source, target] = direction === 'documents' ? [old, now] : [now, old];
  const sizes = { dimension: source.dimension, toDimension: target.dimension };
  const order = permutation(rngKey(seed, 0, 'migration/held-out'), pids.length);
  const apart = Math.max(1, Math.floor(HELD_OUT * pids.length));
  const pick = ({ data, dimension }: Matrix, rows: Uint32Array) => pickRows(data, dimension, rows);
  const [rows, others] = [order.subarray(0, apart), order.subarray(apart)];
  const heldOut = { source: pick(source, rows), target: pick(target, rows) };
  const kinds = correctors.filter((kind) => CORRECTOR_KINDS.includes(kind) && serves(kind, sizes));
  if (kinds.length === 0 || others.length < 2) {
    throw new UsageError('no corrector can be fitted to this sample', {
      help: 'name other kinds of corrector, or index the documents anew with the new model',
    });
  }
  const fit = (kind: CorrectorKind, stale: Float32Array, fresh: Float32Array) =>
    fitCorrector(kind, { stale, fresh }, { ...sizes, seed, compute });
  let best: { kind: CorrectorKind; heldOutError: number; moved: Float32Array } | undefined;
  for (const kind of kinds) {
    const corrector = await fit(kind, pick(source, others), pick(target, others));
    const moved = await corrector.correct(hostTensor('f32', [apart, source.dimension], heldOut.source));
    await corrector.dispose();
    const heldOutError = meanSquaredDistance(moved, heldOut.target, target.dimension);
    if (best && best.heldOutError <= heldOutError) continue;
    best = { kind, heldOutError, moved };
  }
  const { kind, heldOutError, moved } = best!;
  const vectors: HeldOut = {
    stale: { ...old, data: pick(old, rows) },
    fresh: { ...now, data: pick(now, rows) },
    moved: { ...target, data: moved },
  };
  const staleError =
    from.dimension === to.dimension
      ? meanSquaredDistance(vectors.stale.data, vectors.fresh.data, to.dimension)
      : null;
  return {
    ...{ direction, kind, sample: pids.length, heldOutError, staleError },
    overlap: neighbourOverlap(neighboursMoved(vectors, direction), neighboursOf(vectors.fresh)),
    passagesPerSecond,
    corrector: await fit(kind, source.data, target.data),
    heldOut: vectors,
  };
}

/** Finds the nearest passages of each passage by the vectors of one model. */
export const neighboursOf = (vectors: Matrix): Neighbours[] => neighbours(vectors, vectors, NEAREST);

/** Finds the nearest passages of each passage as a search with the corrector does. */
export const neighboursMoved = ({ stale, fresh, moved }: HeldOut, direction: Direction): Neighbours[] =>
  direction === 'documents' ? neighbours(fresh, moved, NEAREST) : neighbours(moved, stale, NEAREST);

function serves(kind: CorrectorKind, sizes: { dimension: number; toDimension: number }): boolean {
  try {
    correctorPlan(kind, sizes);
    return true;
  } catch (error) {
    if (error instanceof UsageError) return false;
    throw error;
  }
}

function meanSquaredDistance(a: Float32Array, b: Float32Array, dimension: number): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2;
  return sum / (a.length / dimension);
}
