import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../../test/run-command.ts';
import { smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { statusCommand } from '../cli/status.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { checkCanaries, chooseCanaries, readCanaries } from './canaries.ts';
import { indexPassages } from './index-passages.ts';
import { Store } from './store.ts';
import { StoreSearcher } from './store-searcher.ts';
import { loadEncoder } from './stored-encoder.ts';

const compute = { threads: 1 };
const model = smallRetriever({ kind: 'static' });
const space = embeddingSpaceId(model);
const passages = Array.from({ length: 20 }, (_, i) => ({
  id: `p${i}`,
  text: `opens a file ${'whole '.repeat(i)}`,
}));

async function indexed(canaries?: readonly string[]): Promise<Store> {
  const create = { language: 'any', stem: false, stopWords: false };
  const store = await Store.open(join(tempFiles(), 'store'), { create });
  await indexPassages(store, model, passages, { canaries, ...compute });
  return store;
}
const fileOf = (store: Store) => join(store.folder, 'canaries', `${space}.json`);

/** Model whose vectors differ by a little, as those of another runtime do. */
function inexact(side: string, difference: number): Retriever {
  const other = {
    async encode(...given: Parameters<Retriever['encode']>) {
      const vectors = await model.encode(...given);
      if (given[0] === side) vectors[37]! += difference;
      return vectors;
    },
  };
  return Object.assign(Object.create(model), other);
}

describe('canary texts', () => {
  it('are passages, evenly spaced, whose vectors the stored model gives again', async () => {
    const store = await indexed();
    const { texts, vectors } = (await readCanaries(store, space))!;
    expect(texts).toEqual([0, 2, 5, 7, 10, 12, 15, 17].map((i) => passages[i]!.text));
    const right = await model.encode('document', texts, compute);
    expect(vectors.document).toEqual(right);
    const loaded = await loadEncoder(store, space, compute);
    const check = await checkCanaries(store, space, loaded, compute);
    expect(check!.texts).toBe(8);
    expect(check!.largestDifference).toBeLessThan(1e-6);
    expect(chooseCanaries(['', ' ', 'x'.repeat(500)])).toEqual(['x'.repeat(300)]);
  });

  it.each(['query', 'document'])('refuse a model that gives other vectors as %s', async (side) => {
    const store = await indexed();
    expect(await checkCanaries(store, space, inexact(side, 5e-5), compute)).toMatchObject({ texts: 8 });
    const message = new RegExp(`does not reproduce[\\s\\S]*embedded as ${side}[\\s\\S]*another runtime`);
    await expect(checkCanaries(store, space, inexact(side, 1e-3), compute)).rejects.toThrow(message);
    await expect(checkCanaries(store, space, inexact(side, Number.NaN), compute)).rejects.toThrow(message);
    const more = [{ id: 'new', text: 'reads bytes' }];
    await expect(indexPassages(store, inexact(side, 1e-3), more, compute)).rejects.toThrow(message);
    expect(await (await store.snapshot()).passages.count()).toBe(20);
  });

  it('are checked whenever the model is loaded, and by status', async () => {
    const store = await indexed();
    const status = () => runCommand(statusCommand, { store: store.folder });
    expect(await status()).toMatchObject({ json: { canaries: { texts: 8, problem: null } } });
    const file = fileOf(store);
    const json = JSON.parse(readFileSync(file, 'utf8'));
    json.texts[3] = 'another text';
    writeFileSync(file, JSON.stringify(json));
    const searcher = new StoreSearcher(store, compute);
    await expect(searcher.search('opens', { mode: 'dense' })).rejects.toThrow(/"another text"/);
    expect(await searcher.search('opens', { mode: 'bm25' })).toHaveLength(10);
    const found = await status();
    expect(found.exitCode).toBe(1);
    expect(found.text).toMatch(/model: .*does not reproduce/);
    expect(
      (await runCommand(statusCommand, { store: store.folder, check: 'false' })).exitCode,
    ).toBeUndefined();
  });

  it('are given, replaced, and made anew where they are missing', async () => {
    const store = await indexed(['one text', 'two texts']);
    expect((await readCanaries(store, space))!.texts).toEqual(['one text', 'two texts']);
    await indexPassages(store, model, passages, { canaries: ['x'], ...compute });
    expect((await readCanaries(store, space))!.texts).toEqual(['x']);
    const many = Array.from({ length: 9 }, (_, i) => `${i}`);
    await expect(indexPassages(store, model, passages, { canaries: many, ...compute })).rejects.toThrow(
      /9 canary texts; there must be 1 to 8/,
    );
    rmSync(fileOf(store));
    const other = await loadEncoder(store, space, compute);
    await indexPassages(store, other, [{ id: 'late', text: 'reads bytes' }], compute);
    expect((await readCanaries(store, space))!.texts).toEqual(['reads bytes']);
  });

  it('are refused where their file is damaged', async () => {
    const store = await indexed();
    const file = fileOf(store);
    expect(existsSync(file)).toBe(true);
    const json = JSON.parse(readFileSync(file, 'utf8'));
    for (const damaged of [
      '{}',
      JSON.stringify({ ...json, dimension: 31 }),
      JSON.stringify({ ...json, texts: [1] }),
    ]) {
      writeFileSync(file, damaged);
      await expect(loadEncoder(store, space, compute)).rejects.toThrow(/not canary texts with their vectors/);
    }
  });
});
