import { describe, expect, it } from 'vitest';
import { normal, rngKey } from '../util/rng.ts';
import { diagnoseTable, staleness } from './diagnostics.ts';
import { softmaxDivergence } from './divergence.ts';
import { type MaskedSlots, maskedSlotLists, maskedSlots } from './masks.ts';

describe('staleness', () => {
  it('agrees with the reference implementation', () => {
    // google-research/negative_cache: losses_test.py. Cache {1, −1}, fresh {2, −3}, samples 0, 1, 0.
    const single = [
      [1, 2],
      [-1, -3],
      [1, 2],
    ].map(([cached, fresh]) => staleness(Float32Array.of(cached!), Float32Array.of(fresh!), 1));
    for (const [i, expected] of [1 / 4, 4 / 9, 1 / 4].entries()) expect(single[i]).toBeCloseTo(expected, 12);
    const together = staleness(Float32Array.of(1, -1, 1), Float32Array.of(2, -3, 2), 1);
    expect(together).toBeCloseTo((1 / 4 + 4 / 9 + 1 / 4) / 3, 12);
  });

  it('is relative to each fresh embedding', () => {
    expect(staleness(Float32Array.of(1, 0, 30, 40), Float32Array.of(0, 1, 30, 0), 2)).toBeCloseTo(
      (2 + 1600 / 900) / 2,
      12,
    );
    expect(() => staleness(Float32Array.of(1), Float32Array.of(1, 2), 1)).toThrow('1 cached and 2 fresh');
  });
});

/** Embeddings of unit norm. */
function units(rows: number, D: number, purpose: string): Float32Array {
  const values = new Float32Array(rows * D);
  normal(rngKey(1, 0, purpose), values);
  for (let row = 0; row < rows; row++) {
    const norm = Math.hypot(...values.subarray(row * D, (row + 1) * D));
    for (let d = 0; d < D; d++) values[row * D + d]! /= norm;
  }
  return values;
}

/** Computes the diagnosis by definition, in double precision. */
function reference(setting: {
  queries: Float32Array;
  positives: Float32Array;
  fresh: Float32Array;
  stale: Float32Array;
  dimension: number;
  inverseTemperature: number;
  masked: MaskedSlots;
}) {
  const { queries, positives, fresh, stale, dimension: D, inverseTemperature, masked } = setting;
  const [B, N] = [queries.length / D, fresh.length / D];
  const dot = (a: Float32Array, i: number, b: Float32Array, j: number) => {
    let total = 0;
    for (let d = 0; d < D; d++) total += a[i * D + d]! * b[j * D + d]!;
    return total;
  };
  const divergences = [];
  const queryGradients: [Float64Array, Float64Array] = [new Float64Array(B * D), new Float64Array(B * D)];
  const documentGradients: [Float64Array, Float64Array] = [
    new Float64Array((N + B) * D),
    new Float64Array((N + B) * D),
  ];
  const rates = { agreement: 0, overlap: 0, vacuous: 0, dead: 0 };
  const p = [0, 0];
  for (let i = 0; i < B; i++) {
    const out = new Set(maskedSlots(masked, i));
    const kept = Array.from({ length: N }, (_, n) => n).filter((n) => !out.has(n));
    const scores = [fresh, stale].map((rows) =>
      kept.map((n) => inverseTemperature * dot(queries, i, rows, n)),
    );
    divergences.push(softmaxDivergence(scores[0]!, scores[1]!));
    const [best, staleBest] = scores.map((list) =>
      [...list.keys()].sort((a, b) => list[b]! - list[a]! || a - b).slice(0, 10),
    ) as [number[], number[]];
    if (best[0] === staleBest[0]) rates.agreement += 1 / B;
    rates.overlap += best.filter((n) => staleBest.includes(n)).length / best.length / B;
    if (divergences.at(-1)!.maxScoreError > 2) rates.vacuous += 1 / B;
    const positive = inverseTemperature * dot(queries, i, positives, i);
    for (const [which, list] of scores.entries()) {
      const total = Math.exp(positive) + list.reduce((sum, s) => sum + Math.exp(s), 0);
      const share = Math.exp(positive) / total;
      p[which]! += share / B;
      if (which === 0 && 1 - share < 1e-3) rates.dead += 1 / B;
      // ∇q = Σ p d − (1 − p⁺) d⁺, ∇d = p q, ∇d⁺ = −(1 − p⁺) q
      for (let d = 0; d < D; d++) {
        queryGradients[which]![i * D + d]! -= (1 - share) * positives[i * D + d]!;
        documentGradients[which]![(N + i) * D + d]! -= (1 - share) * queries[i * D + d]!;
      }
      for (const [at, n] of kept.entries()) {
        const weight = Math.exp(list[at]!) / total;
        for (let d = 0; d < D; d++) {
          queryGradients[which]![i * D + d]! += weight * fresh[n * D + d]!;
          documentGradients[which]![n * D + d]! += weight * queries[i * D + d]!;
        }
      }
    }
  }
  const compare = ([exact, other]: [Float64Array, Float64Array]) => {
    const norm = (x: Float64Array) => Math.sqrt(x.reduce((sum, value) => sum + value ** 2, 0));
    return {
      relativeError: norm(exact.map((x, i) => other[i]! - x)) / norm(exact),
      cosine: exact.reduce((sum, x, i) => sum + x * other[i]!, 0) / norm(exact) / norm(other),
    };
  };
  const mean = (values: number[]) => values.reduce((a, b) => a + b) / B;
  return {
    kl: mean(divergences.map(({ kl }) => kl)),
    totalVariation: mean(divergences.map((d) => d.totalVariation)),
    maxScoreError: Math.max(...divergences.map((d) => d.maxScoreError)),
    scoreErrorRange: Math.max(...divergences.map((d) => d.scoreErrorRange)),
    ...rates,
    p,
    query: compare(queryGradients),
    document: compare(documentGradients),
  };
}

const D = 6;

function makeSetting(N: number, drift: number) {
  const fresh = units(N, D, 'documents');
  const noise = units(N, D, 'noise');
  const queries = units(5, D, 'queries');
  const other = units(5, D, 'other');
  return {
    queries,
    positives: queries.map((x, i) => 0.6 * x + 0.5 * other[i]!),
    fresh,
    stale: fresh.map((x, i) => x + drift * noise[i]!),
    dimension: D,
    inverseTemperature: 8,
    masked: maskedSlotLists(5, (i) => (i === 1 ? [0, 7, N - 1] : i === 3 ? [N - 2] : [])),
  };
}

describe('diagnoseTable', () => {
  it.each([
    [40, 0.3],
    [40, 0.02],
    [8192 + 37, 0.3], // two chunks
  ])('equals the definitions: %i documents, drift %f', async (N, drift) => {
    const setting = makeSetting(N, drift);
    const found = await diagnoseTable(setting, { threads: 1 });
    const expected = reference(setting);
    const close = (actual: number, value: number, name: string) =>
      expect(Math.abs(actual - value), `${name}: ${actual} for ${value}`).toBeLessThan(2e-6 + 2e-4 * value);
    close(found.divergence.kl, expected.kl, 'kl');
    close(found.divergence.totalVariation, expected.totalVariation, 'totalVariation');
    close(found.divergence.maxScoreError, expected.maxScoreError, 'maxScoreError');
    close(found.divergence.scoreErrorRange, expected.scoreErrorRange, 'scoreErrorRange');
    close(found.topAgreement, expected.agreement, 'topAgreement');
    close(found.topOverlap, expected.overlap, 'topOverlap');
    close(found.vacuousRatio, expected.vacuous, 'vacuousRatio');
    close(found.deadQueryRatio, expected.dead, 'deadQueryRatio');
    close(found.positiveProbability.fresh, expected.p[0]!, 'p fresh');
    close(found.positiveProbability.stale, expected.p[1]!, 'p stale');
    for (const [name, gradient, value] of [
      ['query', found.queryGradient, expected.query],
      ['document', found.documentGradient, expected.document],
    ] as const) {
      close(gradient.relativeError, value.relativeError, `${name} error`);
      close(gradient.cosine, value.cosine, `${name} cosine`);
      expect(gradient.relativeError).toBeGreaterThan(1e-4);
      expect(gradient.relativeErrorBound).toBeGreaterThanOrEqual(gradient.relativeError);
    }
    expect(found.bounds.kl).toBeGreaterThanOrEqual(found.bounds.klByRange);
    expect(found.bounds.klByRange).toBeGreaterThanOrEqual(found.divergence.kl);
    expect(found.bounds.totalVariation).toBeGreaterThanOrEqual(found.divergence.totalVariation);
  });

  it('reports queries that learn nothing, and queries with vacuous bounds', async () => {
    const setting = makeSetting(8192 + 37, 0.3);
    const found = await diagnoseTable({ ...setting, inverseTemperature: 60 }, { threads: 1 });
    const expected = reference({ ...setting, inverseTemperature: 60 });
    expect(found.vacuousRatio).toBe(1);
    expect(expected.vacuous).toBeCloseTo(1, 9);
    expect(found.bounds.totalVariation).toBeGreaterThan(0.999);
    expect(found.topOverlap).toBeCloseTo(expected.overlap, 9);
    expect(found.topOverlap).toBeLessThan(0.9);
    expect(found.deadQueryRatio).toBe(0);
    const alone = makeSetting(1, 0.3);
    const dead = await diagnoseTable(
      { ...alone, positives: alone.queries, inverseTemperature: 60 },
      { threads: 1 },
    );
    expect(dead.deadQueryRatio).toBe(1);
    expect(dead.topOverlap).toBe(1);
  });

  it('weights each document of a sample by the number it represents', async () => {
    const setting = makeSetting(30, 0.2);
    const masked = maskedSlotLists(5, (i) => (i === 1 ? [3] : []));
    const times = <T extends Float32Array>(rows: T) =>
      Float32Array.from({ length: 3 * rows.length }, (_, i) => rows[i % rows.length]!);
    const whole = await diagnoseTable(
      {
        ...setting,
        fresh: times(setting.fresh),
        stale: times(setting.stale),
        masked: maskedSlotLists(5, (i) => (i === 1 ? [3, 33, 63] : [])),
      },
      { threads: 1 },
    );
    const sample = await diagnoseTable({ ...setting, masked, documentsPerRow: 3 }, { threads: 1 });
    const close = (actual: number, value: number, name: string) =>
      expect(Math.abs(actual - value), `${name}: ${actual} for ${value}`).toBeLessThan(1e-5);
    close(sample.divergence.kl, whole.divergence.kl, 'kl');
    close(sample.divergence.totalVariation, whole.divergence.totalVariation, 'totalVariation');
    for (const which of ['fresh', 'stale'] as const)
      close(sample.positiveProbability[which], whole.positiveProbability[which], which);
    for (const side of ['queryGradient', 'documentGradient'] as const)
      for (const figure of ['relativeError', 'cosine', 'relativeErrorBound'] as const)
        close(sample[side][figure], whole[side][figure], `${side} ${figure}`);
    const unweighted = await diagnoseTable({ ...setting, masked }, { threads: 1 });
    expect(unweighted.positiveProbability.fresh - whole.positiveProbability.fresh).toBeGreaterThan(0.05);
  });

  it('a fresh table has no bias', async () => {
    const setting = makeSetting(50, 0);
    const found = await diagnoseTable(setting, { threads: 1 });
    expect(found.divergence).toEqual({ kl: 0, totalVariation: 0, maxScoreError: 0, scoreErrorRange: 0 });
    expect(found.topAgreement).toBe(1);
    for (const gradient of [found.queryGradient, found.documentGradient]) {
      expect(gradient).toEqual({ relativeError: 0, cosine: 1, relativeErrorBound: 0 });
    }
  });

  it('the bias is linear in small drifts, the divergence quadratic', async () => {
    const small = await diagnoseTable(makeSetting(300, 0.02), { threads: 1 });
    const large = await diagnoseTable(makeSetting(300, 0.08), { threads: 1 });
    const ratio = large.queryGradient.relativeError / small.queryGradient.relativeError;
    expect(ratio).toBeGreaterThan(3);
    expect(ratio).toBeLessThan(5);
    expect(large.divergence.kl / small.divergence.kl).toBeGreaterThan(10);
    expect(large.divergence.kl / small.divergence.kl).toBeLessThan(22);
    expect(large.queryGradient.cosine).toBeLessThan(small.queryGradient.cosine);
  });

  it('with all documents masked, all errors are 0', async () => {
    const setting = { ...makeSetting(3, 0.3), masked: maskedSlotLists(5, () => [0, 1, 2]) };
    const found = await diagnoseTable(setting, { threads: 1 });
    expect(found.divergence).toEqual({ kl: 0, totalVariation: 0, maxScoreError: 0, scoreErrorRange: 0 });
    expect(found.positiveProbability).toEqual({ fresh: 1, stale: 1 });
    expect(found.queryGradient).toEqual({ relativeError: 0, cosine: 1, relativeErrorBound: 0 });
  });

  it('refuses shapes that do not fit', async () => {
    const setting = makeSetting(3, 0.3);
    await expect(diagnoseTable({ ...setting, positives: new Float32Array(3) })).rejects.toThrow('D = 6');
    await expect(diagnoseTable({ ...setting, stale: new Float32Array(12) })).rejects.toThrow(
      '18 fresh and 12 stale',
    );
  });
});
