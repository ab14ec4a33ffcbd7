import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rotatedData, rotatedModels } from '../../test/rotated-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { loadData } from '../data/load.ts';
import type { RetrievalData } from '../data/retrieval-data.ts';
import { Retriever, type Weights } from '../models/retriever/retriever.ts';
import { evaluateRetriever } from '../retrieval/evaluate-retriever.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { normal, rngKey } from '../util/rng.ts';
import {
  type Correction,
  type CorrectionOptions,
  type CorrectionReport,
  measureCorrection,
} from './measure-correction.ts';

const moved = (weights: Weights, size: number): Weights =>
  Object.fromEntries(
    Object.entries(weights).map(([name, { dtype, dims, data }]) => {
      const noise = new Float32Array(data.length);
      normal(rngKey(5, 0, name), noise);
      return [
        name,
        hostTensor(
          dtype,
          dims,
          noise.map((z, i) => Number(data[i]) + size * z),
        ),
      ];
    }),
  );

let data: RetrievalData;
const reports: CorrectionReport[] = [];
beforeAll(async () => {
  data = await loadData(`${tempFiles(rotatedData())}/set`);
});
afterAll(async () => {
  for (const { corrections } of reports) for (const { corrector } of corrections) await corrector.dispose();
});

async function measure(
  models: Parameters<typeof measureCorrection>[0],
  options: Partial<CorrectionOptions> = {},
): Promise<CorrectionReport> {
  const report = await measureCorrection(models, data, {
    split: 'test',
    topK: [5, 10],
    sample: 500,
    threads: 1,
    correctors: ['identity', 'procrustes', 'ridge'],
    ...options,
  });
  reports.push(report);
  return report;
}
const of = ({ corrections }: CorrectionReport, kind: string, direction = 'documents'): Correction =>
  corrections.find((correction) => correction.kind === kind && correction.direction === direction)!;

describe('measureCorrection', () => {
  it('recovers everything of a rotation, in both directions', async () => {
    const report = await measure(rotatedModels(), { directions: ['documents', 'queries'] });
    expect(report.full['overlap@5']).toBe(1);
    expect(report.old['recall@5']).toBeCloseTo(report.full['recall@5']!, 6);
    expect(report.stale!['recall@5']).toBeLessThan(0.5 * report.full['recall@5']!);
    for (const direction of ['documents', 'queries']) {
      const procrustes = of(report, 'procrustes', direction);
      expect(procrustes.heldOutError).toBeLessThan(0.01);
      expect(procrustes.recovered['recall@5']).toBeGreaterThan(0.95);
      expect(procrustes.recovered['overlap@5']).toBeGreaterThan(0.9);
      expect(procrustes.rowsPerSecond).toBeGreaterThan(0);
      const identity = of(report, 'identity', direction);
      expect(identity.quality).toEqual(report.stale);
      expect(identity.recovered['recall@5']).toBe(0);
      expect(identity.heldOutError).toBeCloseTo(report.staleError!, 5);
    }
  });

  it('measures what evaluateRetriever measures', async () => {
    const { from, to } = rotatedModels();
    const report = await measure({ from, to });
    for (const [retriever, quality] of [
      [from, report.old],
      [to, report.full],
    ] as const) {
      const { metrics } = await evaluateRetriever(retriever, data, 'test', {
        metrics: ['recall@5'],
        threads: 1,
      });
      expect(quality['recall@5']).toBe(metrics['recall@5']);
    }
  });

  it('gives no recovered share for a gap that may be chance', async () => {
    const gapOf = ({ gap }: CorrectionReport) => gap!['recall@5']!;
    const { from, to } = rotatedModels();
    // Moved by a little: some order changes, recall hardly.
    const near = new Retriever(to.config, to.tokenizer, { weights: moved(from.weights, 0.02) });
    const report = await measure({ from, to: near });
    expect(gapOf(report).pValue).toBeGreaterThan(0.05);
    expect(report.stale!['overlap@5']).toBeLessThan(1);
    const { recovered } = of(report, 'ridge');
    expect(recovered['recall@5']).toBeNull();
    expect(recovered['overlap@5']).not.toBeNull();
    expect(gapOf(await measure({ from, to })).pValue).toBeLessThan(0.05);
    const single = await measure({ from, to }, { limitQueries: 1 });
    expect(gapOf(single).pValue).toBe(1);
  });

  it('works between dimensions, and leaves out kinds that cannot', async () => {
    const notes: string[] = [];
    const report = await measure(rotatedModels({ toDimension: 24 }), {
      correctors: undefined,
      onNote: (note) => notes.push(note),
    });
    expect(report.stale).toBeNull();
    expect(report.staleError).toBeNull();
    expect(notes).toEqual([
      'left out: identity, mean-shift, low-rank, which cannot turn 16 dimensions into 24',
    ]);
    expect(report.corrections.map(({ kind }) => kind)).toEqual(['procrustes', 'ridge', 'mlp']);
    const procrustes = of(report, 'procrustes');
    expect(procrustes.recovered['recall@5']).toBeNull();
    expect(procrustes.ratio['recall@5']).toBeGreaterThan(0.95);
  });

  it('fits to no answer of a query', async () => {
    const notes: string[] = [];
    const report = await measure(rotatedModels(), { sample: 1000, onNote: (note) => notes.push(note) });
    // 600 documents, of which 20 are answers and one has no text.
    expect(report.sample).toBe(579);
    expect(notes).toEqual(['fitted to 579 documents: there are no more that answer no query']);
  });

  it('gives the same for the same seed', async () => {
    const figures = async (seed: number) => {
      const { corrections } = await measure(rotatedModels(), { seed, sample: 30 });
      return corrections.map(({ quality, heldOutError }) => ({ quality, heldOutError }));
    };
    const first = await figures(1);
    expect(await figures(1)).toEqual(first);
    expect(await figures(2)).not.toEqual(first);
  });

  it('refuses what cannot be compared', async () => {
    const { from, to } = rotatedModels();
    await expect(measure({ from, to: from })).rejects.toThrow('one embedding space');
    await expect(measure(rotatedModels({ toDimension: 24 }), { correctors: ['identity'] })).rejects.toThrow(
      'embeddings of 16 numbers cannot become ones of 24',
    );
    await expect(measure({ from, to }, { split: 'none' })).rejects.toThrow('splits present: train, test');
  });
});
