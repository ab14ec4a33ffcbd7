import { UsageError } from '../util/errors.ts';
import { type RngKey, randomInts, rngKey } from '../util/rng.ts';
import { NONE } from '../util/vector-rows.ts';
import type { CellIndex } from './cell-index.ts';
import {
  CorrectedDistribution,
  type CorrectedDrawsReport,
  candidatesPerQuery,
  correctedScores,
  type RowCorrection,
  type SlotDistribution,
} from './corrected-distribution.ts';
import { IndexedDistribution, type SearchReport } from './indexed-distribution.ts';
import { type MaskedSlots, maskedSlotLists, maskedSlots, mergeMasks } from './masks.ts';
import { type SampledSlots, TableDistribution } from './table-distribution.ts';
import type { TableScores } from './table-scores.ts';

/**
 * Sampler of negatives from a score table, as plain data.
 *
 * Every sampler chooses among the slots that are filled and not masked for the query. No slot is chosen twice
 * for a query unless `replacement` is set.
 *
 * - `softmax`: draw with probability ∝ exp(score), so hard negatives are frequent. Draws are without
 *   replacement (Gumbel-top-k) unless `replacement`.
 * - `top`: take the k largest scores; of equal scores, the lowest slots.
 * - `rank-range`: draw k uniformly from ranks `from` … `to` − 1 by score (0 is the largest), among slots with
 *   s ≤ s⁺ − `absoluteMargin` and s ≤ s⁺ − `relativeMargin` · |s⁺|. Margins are in units of similarity (score
 *   times τ) and exclude near-duplicates of the positive, which are mostly unlabelled right answers.
 * - `uniform`: draw any slots with equal probability.
 * - `mixture`: combine several samplers in this order; a later part does not choose slots that an earlier
 *   part has chosen.
 */
export type Sampler =
  | { readonly kind: 'softmax'; readonly k: number; readonly replacement?: boolean }
  | { readonly kind: 'top'; readonly k: number }
  | {
      readonly kind: 'rank-range';
      readonly k: number;
      readonly from: number;
      readonly to: number;
      readonly absoluteMargin?: number;
      readonly relativeMargin?: number;
    }
  | { readonly kind: 'uniform'; readonly k: number }
  | { readonly kind: 'mixture'; readonly parts: readonly Exclude<Sampler, { kind: 'mixture' }>[] };

/** Queries for which negatives are sampled. */
export interface SampleRequest {
  /** Query embeddings, f32[B, D]. */
  readonly queries: Float32Array;
  /** Inverse temperature 1/τ: the factor from similarities to scores. */
  readonly inverseTemperature: number;
  /** Slots to leave out, by query. Default none. */
  readonly masked?: MaskedSlots;
  /** Scores (similarity / τ) of the positives, f32[B]. Required by samplers with a margin. */
  readonly positiveScores?: Float32Array;
  /**
   * Index of the table, up to date, by which `softmax` draws without scoring all rows; see
   * {@link IndexedDistribution}. Default: all rows are scored, as they are where so many draws are asked for that an index
   * saves nothing, and in a table too small to be indexed.
   */
  readonly index?: CellIndex | undefined;
  /**
   * Correction of the rows, for samplers of `softmax` and `uniform` parts. Draws and scores are then those of the corrected
   * rows; see {@link CorrectedDistribution}. Default: the rows as they are.
   */
  readonly correction?: RowCorrection | undefined;
}

/** Key of the random numbers: equal keys give equal draws. */
export interface SampleKey {
  /** Seed of the run. */
  readonly seed: number;
  /** Number of the batch in the run. */
  readonly draw: number;
  /** Name of the use, which separates draws of the same batch. */
  readonly purpose: string;
}

/** Negatives of B queries. */
export interface Sample extends SampledSlots {
  /**
   * f32[B]: log Z of the table without masked slots. Present if the sampler has a `softmax` part. An estimate if it draws by
   * an index, or from rows that are corrected as they are drawn.
   */
  readonly logPartition?: Float32Array;
  /** Cost and error of the draws, if they are by an index. */
  readonly search?: SearchReport;
  /** Cost and error of the correction, if rows were corrected as they were drawn. */
  readonly correction?: CorrectedDrawsReport;
}

/** Returns the number of negatives per query. */
export const sampleSize = (sampler: Sampler): number =>
  sampler.kind === 'mixture' ? sampler.parts.reduce((sum, part) => sum + part.k, 0) : sampler.k;

/**
 * Draws negatives for B queries from a table.
 *
 * @throws UsageError for an invalid sampler, for a margin without `positiveScores`, and for ranks of corrected rows
 */
export async function sampleSlots(
  source: TableScores,
  sampler: Sampler,
  request: SampleRequest,
  key: SampleKey,
): Promise<Sample> {
  const parts = sampler.kind === 'mixture' ? sampler.parts : [sampler];
  for (const part of parts) checkSampler(part);
  const queries = scaled(request.queries, request.inverseTemperature);
  const B = queries.length / source.table.dimension;
  const { correction } = request;
  if (correction && parts.some(({ kind }) => kind === 'top' || kind === 'rank-range')) {
    throw new UsageError('ranks of corrected rows need all rows corrected', {
      help: 'correct them before, and draw from the corrected table',
    });
  }
  const softmax = parts.some(({ kind }) => kind === 'softmax')
    ? await softmaxOf(source, queries, { parts, request, key })
    : undefined;
  const drawn: SampledSlots[] = [];
  for (const [i, part] of parts.entries()) {
    const partKey = rngKey(key.seed, key.draw, `${key.purpose}/${i}`);
    const chosen = drawn.length > 0 ? alreadyChosen(B, drawn) : undefined;
    if (part.kind === 'softmax') {
      const { k, replacement = false } = part;
      drawn.push(
        await softmax!.distribution.draw(k, partKey, { replacement, ...(chosen && { exclude: chosen }) }),
      );
      continue;
    }
    const { masked: given } = request;
    const masked = chosen && given ? mergeMasks(given, chosen) : (chosen ?? given ?? noMasks(B));
    const slots =
      part.kind === 'uniform'
        ? uniformSlots(source.table.filled, masked, part.k, partKey)
        : await rankedSlots(source, { ...request, queries, masked }, part, partKey);
    const queryOf = slots.map((_, i) => Math.floor(i / part.k));
    const scores = correction
      ? (await correctedScores(source, correction, queries, { queryOf, slots })).scores
      : await source.pairScores(queries, { queryOf, slots });
    drawn.push({ k: part.k, slots, scores });
  }
  const { stale, distribution } = softmax ?? {};
  return {
    ...joinSamples(B, drawn),
    ...(distribution && { logPartition: distribution.logPartition }),
    ...(stale instanceof IndexedDistribution && { search: stale.report }),
    ...(distribution instanceof CorrectedDistribution && { correction: distribution.report }),
  };
}

/** Makes the softmax over a table, by its index where there is one, and over its corrected rows where there is a correction. */
async function softmaxOf(
  source: TableScores,
  queries: Float32Array,
  of: { parts: readonly Exclude<Sampler, { kind: 'mixture' }>[]; request: SampleRequest; key: SampleKey },
): Promise<{ stale: SlotDistribution; distribution: SlotDistribution }> {
  const { correction } = of.request;
  const own = of.parts.filter((part) => part.kind === 'softmax');
  const draws = own.reduce((sum, { k }) => sum + k, 0);
  const B = queries.length / source.table.dimension;
  const keyOf = (use: string) => rngKey(of.key.seed, of.key.draw, `${of.key.purpose}/${use}`);
  const stale = await softmaxAsIs(source, queries, {
    ...of.request,
    draws: correction ? candidatesPerQuery(draws, B, correction.mostRows) : draws,
    key: keyOf('uniform-rows'),
  });
  if (!correction) return { stale, distribution: stale };
  const distribution = await CorrectedDistribution.create(stale, source, queries, {
    correction,
    draws,
    replacement: own.every(({ replacement = false }) => replacement),
    key: keyOf('candidates'),
  });
  return { stale, distribution };
}

/** Makes the softmax over the rows of a table as they are, by its index where that saves scores. */
async function softmaxAsIs(
  source: TableScores,
  queries: Float32Array,
  of: Pick<SampleRequest, 'masked' | 'index'> & { draws: number; key: RngKey },
): Promise<SlotDistribution> {
  const { masked, index, draws, key } = of;
  const { filled, dimension } = source.table;
  if (!index?.cells || !IndexedDistribution.pays(filled, queries.length / dimension, draws))
    return await TableDistribution.create(source, queries, masked);
  return await IndexedDistribution.create(source, index, queries, { draws, key, masked });
}

function scaled(values: Float32Array, factor: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let i = 0; i < out.length; i++) out[i] = values[i]! * factor;
  return out;
}

function checkSampler(sampler: Exclude<Sampler, { kind: 'mixture' }>): void {
  const { kind, k } = sampler;
  if (!Number.isInteger(k) || k < 1) throw new UsageError(`${kind}: k must be a whole number ≥ 1, got ${k}`);
  if (kind !== 'rank-range') return;
  const { from, to } = sampler;
  if (!Number.isInteger(from) || !Number.isInteger(to) || from < 0 || to < from + k) {
    throw new UsageError(`rank-range: ranks ${from} … ${to} do not hold ${k}`, {
      help: 'give whole numbers with from + k ≤ to',
    });
  }
}

const noMasks = (B: number): MaskedSlots => maskedSlotLists(B, () => []);

const alreadyChosen = (B: number, drawn: readonly SampledSlots[]): MaskedSlots =>
  maskedSlotLists(B, (b) =>
    drawn.flatMap(({ k, slots }) => [...slots.subarray(b * k, (b + 1) * k)].filter((slot) => slot !== NONE)),
  );

/** Joins samples side by side: [B, k₁ + k₂ + …]. */
function joinSamples(B: number, drawn: readonly SampledSlots[]): SampledSlots {
  if (drawn.length === 1) return drawn[0]!;
  const k = drawn.reduce((sum, part) => sum + part.k, 0);
  const slots = new Int32Array(B * k);
  const scores = new Float32Array(B * k);
  for (let b = 0; b < B; b++) {
    let at = b * k;
    for (const part of drawn) {
      slots.set(part.slots.subarray(b * part.k, (b + 1) * part.k), at);
      scores.set(part.scores.subarray(b * part.k, (b + 1) * part.k), at);
      at += part.k;
    }
  }
  return { k, slots, scores };
}

/** Chooses slots by rank, for `top` and `rank-range`: i32[B, k]. */
async function rankedSlots(
  source: TableScores,
  request: SampleRequest & { readonly masked: MaskedSlots },
  sampler: Extract<Sampler, { kind: 'top' | 'rank-range' }>,
  key: RngKey,
): Promise<Int32Array> {
  const { queries, masked, positiveScores, inverseTemperature } = request;
  const B = masked.offsets.length - 1;
  const [from, to] = sampler.kind === 'top' ? [0, sampler.k] : [sampler.from, sampler.to];
  const limits = new Float64Array(B).fill(Number.POSITIVE_INFINITY);
  if (
    sampler.kind === 'rank-range' &&
    (sampler.absoluteMargin !== undefined || sampler.relativeMargin !== undefined)
  ) {
    if (!positiveScores) throw new UsageError('rank-range: a margin needs the scores of the positives');
    const { absoluteMargin = 0, relativeMargin = 0 } = sampler;
    for (const [b, s] of positiveScores.entries()) {
      limits[b] = s - Math.max(absoluteMargin * inverseTemperature, relativeMargin * Math.abs(s));
    }
  }
  // Fetches as many more ranks as any query has masks. The number is rounded up, because every k is a program
  // of its own.
  let most = 0;
  for (let b = 0; b < B; b++) most = Math.max(most, maskedSlots(masked, b).length);
  const k = Math.min(source.table.filled, Math.ceil((to + most) / 16) * 16);
  const best = await source.top(queries, Math.max(1, k));
  const result = new Int32Array(B * sampler.k).fill(NONE);
  for (let b = 0; b < B; b++) {
    const out = new Set(maskedSlots(masked, b));
    const candidates: number[] = [];
    let rank = 0;
    for (let i = b * best.k; i < (b + 1) * best.k && rank < to; i++) {
      const slot = best.slots[i]!;
      if (slot === NONE) break;
      if (out.has(slot)) continue;
      if (rank >= from && best.scores[i]! <= limits[b]!) candidates.push(slot);
      rank += 1;
    }
    const chosen = sampler.kind === 'top' ? candidates : shuffled(candidates, key, b);
    result.set(chosen.slice(0, sampler.k), b * sampler.k);
  }
  return result;
}

/** Random numbers reserved for each query. */
const WORDS_PER_QUERY = 2 ** 20;

/** Shuffles in place; every order is equally likely (Fisher-Yates). */
function shuffled(values: number[], key: RngKey, query: number): number[] {
  const words = new Uint32Array(values.length);
  randomInts(key, 2 ** 32, words, query * WORDS_PER_QUERY);
  for (let i = values.length - 1; i > 0; i--) {
    const j = Math.floor((words[i]! / 2 ** 32) * (i + 1));
    [values[i], values[j]] = [values[j]!, values[i]!];
  }
  return values;
}

/** Draws distinct unmasked slots of [0, filled) uniformly: i32[B, k]. */
function uniformSlots(filled: number, masked: MaskedSlots, k: number, key: RngKey): Int32Array {
  const B = masked.offsets.length - 1;
  const result = new Int32Array(B * k).fill(NONE);
  for (let b = 0; b < B; b++) {
    const out = new Set(maskedSlots(masked, b));
    if (2 * (out.size + k) >= filled) {
      const left = Array.from({ length: filled }, (_, slot) => slot).filter((slot) => !out.has(slot));
      result.set(shuffled(left, key, b).slice(0, k), b * k);
      continue;
    }
    // At least half of the slots can be chosen, so few tries fail.
    const tries = new Int32Array(k);
    let found = 0;
    for (let first = 0; found < k; first += k) {
      randomInts(key, filled, tries, b * WORDS_PER_QUERY + first);
      for (const slot of tries) {
        if (found === k || out.has(slot)) continue;
        out.add(slot);
        result[b * k + found++] = slot;
      }
    }
  }
  return result;
}
