import { CORRECTOR_KINDS, type Corrector, type CorrectorKind } from '../correctors/corrector.ts';
import { correctorPlan } from '../correctors/corrector-options.ts';
import { fitCorrector } from '../correctors/fit-corrector.ts';
import { joinTitle } from '../data/corpus.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import type { StoreSnapshot } from '../store/store.ts';
import type { StoredSpace } from '../store/store-head.ts';
import { UsageError } from '../util/errors.ts';
import type { Progress } from '../util/progress.ts';
import { permutation, rngKey } from '../util/rng.ts';
import { pickRows } from '../util/vector-rows.ts';

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
  readonly kind: CorrectorKind;
  /** Number of passages fitted to. */
  readonly sample: number;
  /** Mean ‖h(b) − g‖² over held-out passages, from 0 to 4. */
  readonly heldOutError: number;
  /** The same without correction; null if the dimensions differ. */
  readonly staleError: number | null;
  /**
   * Share of the 10 nearest held-out passages by true vectors that are among the 10 nearest by moved vectors, with the true vectors of
   * the held-out passages as queries: an estimate of the overlap that searches will have.
   */
  readonly overlap: number;
  /** Passages embedded per second by the new model. */
  readonly passagesPerSecond: number;
}

const DEFAULT_SAMPLE = 2000;
const KINDS: readonly CorrectorKind[] = ['procrustes', 'ridge', 'mlp'];
/** Share of the sample that is held out of the fits that are compared. */
const HELD_OUT = 0.2;
/** Most held-out passages of which the neighbours are compared. */
const NEIGHBOURS_OF = 500;

/** Passages of a sample with their vectors of both models. */
export interface Sample {
  readonly pids: Int32Array;
  /** f32[n, D]: stored vectors. */
  readonly stale: Float32Array<ArrayBuffer>;
  /** f32[n, D']: vectors of the new model. */
  readonly fresh: Float32Array<ArrayBuffer>;
  readonly passagesPerSecond: number;
}

/** Embeds a sample of the passages of a space by another model. */
export async function embedSample(
  { passages, embeddings }: StoreSnapshot,
  from: StoredSpace,
  retriever: Retriever,
  { sample = DEFAULT_SAMPLE, seed = 0, onProgress, device, threads }: MigrationOptions,
): Promise<Sample> {
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
  const startMs = performance.now();
  const fresh = await retriever.encode(
    'document',
    found.map(({ title, text }) => joinTitle(title, text)),
    {
      ...(device && { device }),
      ...(threads && { threads }),
      onProgress: ({ done, total }) => onProgress?.({ stage: 'embed sample', done, total, unit: 'passages' }),
    },
  );
  const passagesPerSecond = pids.length / ((performance.now() - startMs) / 1000);
  return { pids, stale, fresh: fresh as Float32Array<ArrayBuffer>, passagesPerSecond };
}

/** Fits correctors to a part of the sample, and the one with the smallest error on the rest to all of it. */
export async function chooseCorrector(
  { pids, stale, fresh, passagesPerSecond }: Sample,
  from: StoredSpace,
  to: StoredSpace,
  { correctors = KINDS, seed = 0, device, threads }: MigrationOptions,
): Promise<ChosenCorrector & { corrector: Corrector }> {
  const compute = { ...(device && { device }), ...(threads && { threads }) };
  const sizes = { dimension: from.dimension, toDimension: to.dimension };
  const order = permutation(rngKey(seed, 0, 'migration/held-out'), pids.length);
  const apart = Math.max(1, Math.floor(HELD_OUT * pids.length));
  const part = (rows: Uint32Array) => ({
    stale: pickRows(stale, from.dimension, rows),
    fresh: pickRows(fresh, to.dimension, rows),
  });
  const [heldOut, fitted] = [part(order.subarray(0, apart)), part(order.subarray(apart))];
  const kinds = correctors.filter((kind) => CORRECTOR_KINDS.includes(kind) && serves(kind, sizes));
  if (kinds.length === 0 || order.length - apart < 2) {
    throw new UsageError('no corrector can be fitted to this sample', {
      help: 'name other kinds of corrector, or index the documents anew with the new model',
    });
  }
  let best: { kind: CorrectorKind; heldOutError: number; overlap: number } | undefined;
  for (const kind of kinds) {
    const corrector = await fitCorrector(kind, fitted, { ...sizes, seed, compute });
    const moved = await corrector.correct(hostTensor('f32', [apart, from.dimension], heldOut.stale));
    await corrector.dispose();
    const heldOutError = meanSquaredDistance(moved, heldOut.fresh, to.dimension);
    if (best && best.heldOutError <= heldOutError) continue;
    best = { kind, heldOutError, overlap: neighbourOverlap(moved, heldOut.fresh, to.dimension) };
  }
  const corrector = await fitCorrector(best!.kind, { stale, fresh }, { ...sizes, seed, compute });
  const staleError =
    from.dimension === to.dimension ? meanSquaredDistance(heldOut.stale, heldOut.fresh, to.dimension) : null;
  return { ...best!, sample: pids.length, staleError, passagesPerSecond, corrector };
}

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

/** Computes the share of the 10 nearest rows of `fresh` that are among the 10 nearest rows of `moved`. */
function neighbourOverlap(moved: Float32Array, fresh: Float32Array, D: number): number {
  const rows = fresh.length / D;
  const k = Math.min(10, rows);
  const nearest = (vectors: Float32Array, query: Float32Array): Set<number> => {
    const scores = Float64Array.from({ length: rows }, (_, row) => {
      let sum = 0;
      for (let d = 0; d < D; d++) sum += query[d]! * vectors[row * D + d]!;
      return sum;
    });
    const order = Array.from(scores.keys()).sort((a, b) => scores[b]! - scores[a]! || a - b);
    return new Set(order.slice(0, k));
  };
  let common = 0;
  const queries = Math.min(NEIGHBOURS_OF, rows);
  for (let i = 0; i < queries; i++) {
    const query = fresh.subarray(i * D, (i + 1) * D);
    const found = nearest(moved, query);
    for (const row of nearest(fresh, query)) if (found.has(row)) common += 1;
  }
  return common / (queries * k);
}
