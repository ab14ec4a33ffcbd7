import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { rotatedData, rotatedModels } from '../../test/rotated-models.ts';
import { runCommand } from '../../test/run-command.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { loadData } from '../data/load.ts';
import type { MetricValues, MigrationReport } from '../migration/migration-report.ts';
import type { MigrationPlan } from '../migration/plan-migration.ts';
import { saveRetriever } from '../models/folder/model-folder.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { evaluateRetriever } from '../retrieval/evaluate-retriever.ts';
import type { AnyCommand } from './command.ts';
import { indexCommand } from './index-store.ts';
import { cutoverCommand, planCommand, reportCommand, rollbackCommand, startCommand } from './migrate.ts';
import { statusCommand } from './status.ts';

const folder = tempFiles(rotatedData());
const at = (name: string) => join(folder, name);
const { from, to } = rotatedModels();
const [old, fresh] = [embeddingSpaceId(from), embeddingSpaceId(to)];

const commands = {
  ...{ plan: planCommand, start: startCommand, report: reportCommand },
  ...{ cutover: cutoverCommand, rollback: rollbackCommand },
};
const command = (name: keyof typeof commands): AnyCommand => commands[name];
const migrate = (name: keyof typeof commands, store: string, flags: Readonly<Record<string, string>> = {}) =>
  runCommand(command(name), {
    store: at(store),
    ...('threads' in command(name).options && { threads: '1' }),
    ...flags,
  });
const report = async (store: string, flags: Readonly<Record<string, string>> = {}) => {
  const { json, text } = await migrate('report', store, { data: at('set'), split: 'test', ...flags });
  return { ...(json as unknown as MigrationReport), text };
};
const sample = { sample: '200', corrector: 'procrustes' };
const index = (store: string) =>
  runCommand(indexCommand, { model: at('old'), data: at('set'), store: at(store), threads: '1' });

/** nDCG@10 of a model by itself on the test split. */
async function alone(model: typeof from): Promise<number> {
  const data = await loadData(at('set'));
  const { metrics } = await evaluateRetriever(model, data, 'test', { metrics: ['ndcg@10'], threads: 1 });
  return metrics['ndcg@10']!;
}
const ndcg = (values: MetricValues | null) => values!['ndcg@10']!;

describe('undrift migrate', () => {
  beforeAll(async () => {
    await saveRetriever(at('old'), from, { onnx: false });
    await saveRetriever(at('new'), to, { onnx: false });
    await index('store');
  });

  it('plans rows, time, price, quality of both directions and thresholds', async () => {
    const { json, text } = await migrate('plan', 'store', {
      to: at('new'),
      ...sample,
      pricePerHour: '2',
      threshold: '0.7',
    });
    expect(json).toMatchObject({
      from: { id: old },
      to: { id: fresh },
      passages: 600,
      missing: 600,
      direction: 'documents',
      queries: { direction: 'queries' },
      thresholds: { full: { from: 0.7 } },
    });
    // The models differ by a rotation, so that nothing is lost, and scores are the same.
    const { overlap, queries, oldOverlap, thresholds } = json as unknown as MigrationPlan;
    for (const value of [overlap, queries.overlap, oldOverlap]) expect(value).toBeGreaterThan(0.95);
    for (const { to } of Object.values(thresholds!)) expect(to).toBeCloseTo(0.7, 1);
    expect(text).toMatch(/600 of 600 passages to embed.*CPU hours, price [\d.e-]+\n/);
    expect(text).toMatch(/score ≥ 0\.7, all re-embedded: 0\.\d{4} \(95 % from/);
  });

  it('reports the former model, moved documents and queries, and their mixture without corrector', async () => {
    await index('mixed');
    await migrate('start', 'mixed', { to: at('new'), ...sample, until: '0' });
    const { json, text } = await runCommand(statusCommand, { store: at('mixed') });
    expect(json).toMatchObject({
      staleness: {
        stale: 400,
        corrected: 400,
        missing: 0,
        versions: [
          { space: fresh, step: 5 },
          { space: old, step: 0 },
        ],
      },
      migration: { from: old, to: fresh, embedded: 200 },
      refresh: { stale: 400, queue: 0 },
      canaries: { texts: 8, problem: null },
    });
    expect(text).toMatch(/ step 5: 200 passages \(33\.3 %\)\n.* step 0: 400 passages \(66\.7 %\)\n/);
    expect(text).toMatch(
      /400 passages moved by a corrector\nage: median .*, p90 .*, oldest .*\nage in steps: median 5,/,
    );
    expect(text).toMatch(/to embed: 400 passages, 0 of them found by searches; no rate was measured yet/);
    const found = await report('mixed', { sample: '300', threshold: '0.7' });
    expect(found).toMatchObject({ queries: 20, passages: 600, isComplete: false });
    expect(found.share).toBeCloseTo(200 / 600);
    const full = await alone(to);
    expect(ndcg(found.old)).toBeCloseTo(await alone(from), 6);
    for (const searches of [found.mixed, found.movedQueries]) {
      expect(Math.abs(ndcg(searches) - full)).toBeLessThan(0.15 * full);
    }
    for (const searches of [found.unmoved, found.new]) expect(ndcg(searches)).toBeLessThan(0.85 * full);
    expect(found.old['overlapOld@10']).toBe(1);
    expect(found.mixed['overlapOld@10']).toBeGreaterThan(0.9);
    expect(found.unmoved!['overlapOld@10']).toBeLessThan(0.6);
    expect(found.mixed['overlapNew@10']).toBeUndefined();

    const part = found.part!;
    expect(part).toMatchObject({ passages: 300, relevant: 20 });
    expect(ndcg(part.new)).toBeGreaterThan(full - 0.05);
    expect(ndcg(part.mixed)).toBeCloseTo(ndcg(part.new), 1);
    expect(part.new['overlapNew@10']).toBe(1);
    expect(part.mixed['overlapNew@10']).toBeGreaterThan(0.9);

    const thresholds = found.thresholds!;
    expect(Object.keys(thresholds)).toEqual(['mixed', 'movedQueries']);
    expect(thresholds.mixed!.share!.to).toBeCloseTo(0.7, 1);
    expect(thresholds.mixed!.precision!.value).toBeGreaterThan(0);
    expect(found.text).toContain('new model, 33.3 % of the passages');
    expect(found.text).toContain('on 300 passages, 20 of them relevant');
  });

  it('reports full re-embedding when it is complete, and ends', async () => {
    await migrate('start', 'mixed');
    const found = await report('mixed', { sample: '300', threshold: '0.7' });
    expect(found).toMatchObject({ isComplete: true, share: 1, part: null });
    expect(ndcg(found.new)).toBeCloseTo(await alone(to), 6);
    expect(found.mixed).toEqual(found.new);
    expect(found.new['overlapNew@10']).toBe(1);
    expect(Object.keys(found.thresholds!)).toEqual(['mixed', 'movedQueries', 'new']);
    expect((await migrate('cutover', 'mixed')).json).toMatchObject({ from: old, to: fresh });
    const { json } = await runCommand(statusCommand, { store: at('mixed') });
    expect(json).toMatchObject({ migration: null, spaces: [{ id: fresh, rows: 600 }] });
    await expect(report('mixed')).rejects.toThrow(/no migration is under way/);
  });

  it('moves queries, and goes on with documents', async () => {
    await index('queries');
    const { json, text } = await migrate('start', 'queries', {
      to: at('new'),
      adapter: 'queries',
      ...sample,
    });
    expect(json).toMatchObject({ adapter: 'queries', direction: 'queries', embedded: 0 });
    expect(text).toContain('--adapter documents');
    expect((await migrate('start', 'queries')).text).toBe(text);
    const full = await alone(to);
    expect(Math.abs(ndcg((await report('queries')).movedQueries) - full)).toBeLessThan(0.15 * full);
    const { text: status } = await runCommand(statusCommand, { store: at('queries') });
    expect(status).toContain('queries are moved');
    const { json: done } = await migrate('start', 'queries', { adapter: 'documents', ...sample });
    expect(done).toMatchObject({ adapter: 'documents', missing: 0 });
  });
});
