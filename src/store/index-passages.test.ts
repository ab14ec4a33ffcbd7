import { join } from 'node:path';
import { expect, it, test } from 'vitest';
import { phraseText, smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { partOfId } from '../data/corpus-part.ts';
import { blockEnds } from '../models/retriever/encode-blocks.ts';
import { indexPassages } from './index-passages.ts';
import type { PassageInput } from './passage-input.ts';
import { Store } from './store.ts';

const compute = { threads: 1 };
const newStore = () =>
  Store.open(join(tempFiles(), 'store'), { create: { language: 'any', stem: false, stopWords: false } });

/** Passages of up to 12 tokens, and some of 300, so that a block of the first part ends by its tokens. */
const PASSAGES: PassageInput[] = Array.from({ length: 2500 }, (_, i) => {
  const phrases = i % 1024 < 950 && i < 1024 ? 210 + (i % 10) : 1 + (i % 9);
  return { id: `p${i}`, text: phraseText(Array.from({ length: phrases }, (_, n) => i + n * (1 + (i % 7)))) };
});

async function vectorsOf(store: Store): Promise<{ pids: number[]; vectors: Float32Array }> {
  const { head, embeddings } = await store.snapshot();
  const table = embeddings(head.current!);
  const rows = head.nextPassage;
  const vectors = new Float32Array(rows * table.dimension);
  const pids: number[] = [];
  for await (const part of table.stream()) {
    for (const [row, pid] of part.pids.entries()) {
      pids.push(pid);
      const D = table.dimension;
      vectors.set(part.vectors.subarray(row * D, (row + 1) * D), pid * D);
    }
  }
  return { pids: pids.sort((a, b) => a - b), vectors };
}

test('vectors have the bits of one call, whether the work was stopped or not', async () => {
  const retriever = smallRetriever({
    kind: 'transformer',
    hidden: 8,
    layers: 1,
    heads: 1,
    maxDocTokens: 230,
  });
  const tokens = retriever.tokenize('document', PASSAGES.length, (row) => PASSAGES[row]!.text);
  expect(blockEnds(tokens.lengths)).toHaveLength(4);
  const expected = await retriever.encodeTokens('document', tokens, compute);
  const stopped = await newStore();
  const controller = new AbortController();
  const first = await indexPassages(stopped, retriever, PASSAGES, {
    ...compute,
    signal: controller.signal,
    onProgress: ({ done }) => done > 0 && controller.abort(),
  });
  expect(first.added).toBe(1024);
  const rest = await indexPassages(stopped, retriever, PASSAGES, compute);
  expect(rest).toMatchObject({ read: 2500, added: 1476, embedded: 1476 });
  expect((await vectorsOf(stopped)).vectors).toEqual(expected);
  await retriever.dispose();
});

it('stores the part of a corpus that falls to it', async () => {
  const retriever = smallRetriever({ kind: 'static' });
  const passages = Array.from({ length: 40 }, (_, i) => ({ id: `p${i}`, text: phraseText([i, i + 1]) }));
  const stored: string[] = [];
  for (const part of ['1/3', '2/3', '3/3']) {
    const store = await newStore();
    const own = passages.filter(({ id }) => `${partOfId(id, 3)}/3` === part);
    const counts = await indexPassages(store, retriever, passages, { ...compute, part });
    expect(counts).toMatchObject({ read: own.length, added: own.length });
    const { passages: rows } = await store.snapshot();
    const ids = (await rows.read([...(await vectorsOf(store)).pids])).map(({ id }) => id);
    expect(ids).toEqual(own.map(({ id }) => id));
    stored.push(...ids);
  }
  expect(stored).toHaveLength(40);
  await expect(
    indexPassages(await newStore(), retriever, passages, { ...compute, part: '4/3' }),
  ).rejects.toThrow('names one of several parts');
});
