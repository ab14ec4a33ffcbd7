import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { normal, rngKey } from '../util/rng.ts';
import { CORRECTOR_KINDS, type CorrectorKind } from './corrector.ts';
import { type CorrectorDescription, loadCorrector, saveCorrector } from './corrector-folder.ts';
import { fitCorrector } from './fit-corrector.ts';

const PAIRS = 200;
const compute = { threads: 1 };

function unitRows(columns: number, purpose: string): Float32Array<ArrayBuffer> {
  const rows = new Float32Array(PAIRS * columns);
  normal(rngKey(3, 0, purpose), rows);
  for (let start = 0; start < rows.length; start += columns) {
    const row = rows.subarray(start, start + columns);
    const norm = Math.hypot(...row);
    for (let i = 0; i < columns; i++) row[i]! /= norm;
  }
  return rows;
}

async function saved(kind: CorrectorKind, { dimension = 8, toDimension = 8 } = {}) {
  const folder = join(tempFiles({}), 'corrector');
  const stale = unitRows(dimension, 'stale');
  const pairs = { stale, fresh: unitRows(toDimension, 'fresh') };
  const corrector = await fitCorrector(kind, pairs, { dimension, toDimension, steps: 20, compute });
  const description: CorrectorDescription = {
    kind,
    dimension,
    toDimension,
    fromSpace: 'aaaa',
    toSpace: 'bbbb',
    sample: PAIRS,
    heldOutError: 0.5,
  };
  await saveCorrector(folder, corrector, description);
  const rows = hostTensor('f32', [PAIRS, dimension], stale);
  const moved = await corrector.correct(rows);
  await corrector.dispose();
  return { folder, description, rows, moved };
}

describe('saveCorrector and loadCorrector', () => {
  it.each(CORRECTOR_KINDS)('%s gives the same vectors after loading', async (kind) => {
    const { folder, description, rows, moved } = await saved(kind);
    const loaded = await loadCorrector(folder, { fromSpace: 'aaaa', toSpace: 'bbbb', compute });
    expect(loaded.description).toEqual(description);
    expect(await loaded.corrector.correct(rows)).toEqual(moved);
    await loaded.corrector.dispose();
  });

  it.each(['ridge', 'procrustes', 'mlp'] as const)('%s between dimensions', async (kind) => {
    const { folder, rows, moved } = await saved(kind, { toDimension: 12 });
    const { corrector } = await loadCorrector(folder, { compute });
    expect(await corrector.correct(rows)).toEqual(moved);
    await corrector.dispose();
  });

  it('stores none of the pairs it was fitted to', async () => {
    const { folder } = await saved('mean-shift');
    expect(readFileSync(join(folder, 'corrector.safetensors')).length).toBeLessThan(300);
  });

  it('is refused between other models', async () => {
    const { folder } = await saved('mean-shift');
    await expect(loadCorrector(folder, { fromSpace: 'cccc' })).rejects.toThrow(
      'takes vectors of the embedding space aaaa, not of cccc',
    );
    await expect(loadCorrector(folder, { fromSpace: 'aaaa', toSpace: 'aaaa' })).rejects.toThrow(
      'gives vectors of the embedding space bbbb, not of aaaa',
    );
  });

  it('names a damaged file', async () => {
    const { folder, description } = await saved('ridge');
    const json = join(folder, 'corrector.json');
    const change = (values: object) =>
      writeFileSync(json, JSON.stringify({ format: 1, ...description, ...values }));
    change({ dimension: 9, toDimension: 9 });
    await expect(loadCorrector(folder)).rejects.toThrow('holds no corrector ridge of the sizes');
    change({ kind: 'procrustes' });
    await expect(loadCorrector(folder)).rejects.toThrow('holds no corrector procrustes');
    change({ kind: 'mlp' });
    await expect(loadCorrector(folder)).rejects.toThrow('holds no corrector mlp');
    change({ kind: 'magic' });
    await expect(loadCorrector(folder)).rejects.toThrow('corrector.json: "kind" must be one of identity');
    change({ format: 2 });
    await expect(loadCorrector(folder)).rejects.toThrow('update Undrift');
    change({});
    truncateSync(join(folder, 'corrector.safetensors'), 200);
    await expect(loadCorrector(folder)).rejects.toThrow('corrector.safetensors');
  });

  it('replaces a corrector, and nothing else', async () => {
    const { folder, description } = await saved('mean-shift');
    const corrector = await fitCorrector(
      'identity',
      { stale: unitRows(8, 'stale'), fresh: unitRows(8, 'fresh') },
      { dimension: 8, compute },
    );
    await saveCorrector(folder, corrector, { ...description, kind: 'identity' });
    expect((await loadCorrector(folder)).corrector.kind).toBe('identity');
    writeFileSync(join(folder, 'notes.txt'), '');
    await expect(saveCorrector(folder, corrector, description)).rejects.toThrow('it holds notes.txt');
    expect(existsSync(join(folder, 'corrector.json'))).toBe(true);
    await corrector.dispose();
  });
});
