import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { damage } from '../../test/damage.ts';
import { DataError } from '../util/errors.ts';
import { parseJsonLine } from './jsonl.ts';
import { inflate, splitLines } from './lines.ts';
import { parseJudgements } from './qrels.ts';

/** Reads damaged copies of the bytes; every failure must be a DataError. Returns how many were refused. */
async function fuzz(
  bytes: Uint8Array,
  cases: number,
  read: (source: AsyncIterable<Buffer>) => Promise<void>,
) {
  let refused = 0;
  for (let i = 0; i < cases; i++) {
    const damaged = Buffer.from(damage(bytes, i));
    async function* source() {
      const cut = i % 97; // now and then the head of the file comes in two pieces
      if (cut > 0) yield damaged.subarray(0, cut);
      yield damaged.subarray(cut);
    }
    try {
      await read(source());
    } catch (error) {
      refused++;
      if (!(error instanceof DataError)) throw error;
      expect(error.message.startsWith('f:')).toBe(true);
    }
  }
  return refused;
}

describe('damaged bytes give a DataError or a clean load', () => {
  const jsonl = Buffer.from(
    Array.from(
      { length: 12 },
      (_, i) => `${JSON.stringify({ _id: `d${i}`, title: 'ü', text: '東京 "quoted" \\ text' })}\n`,
    ).join(''),
  );

  it('JSONL', async () => {
    const refused = await fuzz(jsonl, 2000, async (source) => {
      for await (const { text, line } of splitLines(inflate(source, 'f'), 'f', 4096)) {
        if (text.trim() !== '') parseJsonLine(text, 'f', line);
      }
    });
    expect(refused).toBeGreaterThan(500);
    expect(refused).toBeLessThan(2000); // damage inside a string may leave good JSON
  });

  it('gzip', async () => {
    const refused = await fuzz(gzipSync(jsonl), 1000, async (source) => {
      for await (const { text, line } of splitLines(inflate(source, 'f'), 'f', 2 ** 20)) {
        if (text.trim() !== '') parseJsonLine(text, 'f', line);
      }
    });
    expect(refused).toBeGreaterThan(900);
  });

  it.each([
    [
      'BEIR',
      `query-id\tcorpus-id\tscore\n${Array.from({ length: 12 }, (_, i) => `q${i}\td${i}\t${i % 3}\n`).join('')}`,
    ],
    ['TREC', Array.from({ length: 12 }, (_, i) => `q${i} 0 d${i} ${i % 3}\n`).join('')],
  ])('%s qrels', async (_, content) => {
    const refused = await fuzz(Buffer.from(content), 2000, async (source) => {
      for await (const { queryId, docId, grade } of parseJudgements(
        splitLines(inflate(source, 'f'), 'f'),
        'f',
      )) {
        if (queryId === '' || docId === '' || !Number.isFinite(grade))
          expect.fail('a judgement that is none');
      }
    });
    expect(refused).toBeGreaterThan(500);
    expect(refused).toBeLessThan(2000);
  });
});
