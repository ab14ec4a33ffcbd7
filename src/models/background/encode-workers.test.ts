import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { expect, it, test } from 'vitest';
import { phraseText, smallRetriever } from '../../../test/small-models.ts';
import { Retriever } from '../retriever/retriever.ts';
import { shareEncoding } from './encode-workers.ts';

/** Texts of several lengths, more than two processes begin to share. */
const TEXTS = Array.from({ length: 1300 }, (_, i) =>
  phraseText(Array.from({ length: 1 + (i % 7) }, (_, n) => i * 3 + n)),
);
const folders = () => readdirSync(tmpdir()).filter((name) => name.startsWith('undrift-encode-'));

it.each(['f32', 'int8'] as const)(
  'two processes give the vectors of one, in the order of the texts: %s',
  async (encodeDtype) => {
    const { config, tokenizer, weights } = smallRetriever({ kind: 'transformer', towers: 'separate' });
    const make = () => new Retriever({ ...config, encodeDtype }, tokenizer, { weights });
    const [alone, shared] = [make(), make()];
    const before = folders();
    shareEncoding(shared, { workers: 2, threads: 2 });
    for (const side of ['query', 'document'] as const) {
      const seen: number[] = [];
      const expected = await alone.encode(side, TEXTS, { threads: 1 });
      const found = await shared.encode(side, TEXTS, { onProgress: ({ done }) => seen.push(done) });
      expect(seen.at(-1)).toBe(TEXTS.length);
      expect(found).toEqual(expected);
    }
    expect(folders().length).toBeGreaterThan(before.length);
    await shared.dispose();
    expect(folders()).toEqual(before);
    await alone.dispose();
  },
);

test('few texts and given weights are encoded in this process; other devices are refused', async () => {
  const retriever = smallRetriever({ kind: 'transformer' });
  const before = folders();
  shareEncoding(retriever, { workers: 2 });
  await retriever.encode('document', TEXTS.slice(0, 511), { threads: 1 });
  await retriever.encode('document', TEXTS, { weights: retriever.weights, threads: 1 });
  expect(folders()).toEqual(before);
  await expect(retriever.encode('document', TEXTS, { device: 'webgpu' })).rejects.toThrow(
    'several processes encode on the CPU, not on webgpu',
  );
  expect(() => shareEncoding(retriever, { workers: 1.5 })).toThrow(
    'must be a whole number from 1 on, found 1.5',
  );
  await retriever.dispose();
});
