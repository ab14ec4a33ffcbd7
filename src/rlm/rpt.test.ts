import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { TEST_COMPUTE } from '../../test/test-device.ts';
import { trainedParts } from '../../test/trained-parts.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import { randomInts, rngKey } from '../util/rng.ts';
import type { Segment } from './language-system.ts';
import { plainSystem } from './plain-system.ts';
import { loadRpt, RptModel, saveRpt } from './rpt.ts';
import { type ChosenNeighbours, type RptReading, RptSystem } from './rpt-system.ts';
import { windowsOf } from './text-windows.ts';

const CAUSAL = fileURLToPath(new URL('../models/language/fixtures/causal', import.meta.url));
const [M, WINDOW, STRIDE] = [4, 16, 8];
const SHAPE = { chunkTokens: M, window: WINDOW, stride: STRIDE } as const;

/** Text of random letters. */
function letters(count: number, seed: number): Int32Array {
  const ids = new Int32Array(count);
  randomInts(rngKey(seed, 0, 'text'), 40, ids);
  return ids.map((id) => id + 4);
}
const segmentsOf = (ids: Int32Array, document = 'd', of = SHAPE): Segment[] => [
  ...windowsOf(ids, of, document),
];

describe.each(['gpt2', 'llama-untied'])('RPT over %s', (name) => {
  let base: LanguageModel;
  let rpt: RptModel;
  beforeAll(async () => {
    base = await LanguageModel.load(join(CAUSAL, name));
    rpt = trainedParts(RptModel.create(base, SHAPE));
  });
  afterAll(async () => {
    await base.dispose();
  });
  /** Reads segments, of one document or several, and tells which neighbours were chosen. */
  const reader = (reading: RptReading = {}, of = rpt) => {
    let chosen: ChosenNeighbours[] = [];
    const system = new RptSystem(of, { onChosen: (each) => chosen.push(each), ...reading });
    return {
      system,
      async read(segments: readonly Segment[]) {
        chosen = [];
        return { scores: await system.score(segments, TEST_COMPUTE), chosen };
      },
    };
  };
  const read = async (segments: readonly Segment[], reading: RptReading = {}, of = rpt) => {
    const { system, read } = reader(reading, of);
    const found = await read(segments);
    await system.dispose();
    return { ...found, ledger: system.ledger.totals };
  };

  it('computes what its base computes before it is trained, and with no neighbours', async () => {
    const segments = segmentsOf(letters(51, 1));
    const plain = plainSystem(base);
    const expected = await plain.score(segments, TEST_COMPUTE);
    for (const [reading, of] of [
      [{}, RptModel.create(base, SHAPE)],
      [{ retrieval: 'none' }, rpt],
    ] as const) {
      const { scores } = await read(segments, reading, of);
      for (const [i, each] of scores.entries())
        for (const [t, value] of each.entries()) expect(value).toBeCloseTo(expected[i]![t]!, 5);
    }
    const { scores } = await read(segments);
    expect(`${scores.at(-1)}`).not.toBe(`${expected.at(-1)}`);
  });

  it('has neighbours that lie with their successors before the window, and none later', async () => {
    const { chosen, ledger } = await read(segmentsOf(letters(51, 1)));
    expect(chosen.map(({ chunk }) => chunk)).toEqual([...Array(12).keys()]);
    for (const { chunk, neighbours, among } of chosen) {
      // The window in which chunk i ends: the first one covers 4 chunks, and each further one two more.
      const start = 2 * Math.max(0, Math.ceil((chunk + 1 - 4) / 2));
      expect(among).toBe(Math.max(0, start - 1));
      expect(neighbours).toHaveLength(Math.min(2, among));
      expect(new Set(neighbours).size).toBe(neighbours.length);
      for (const each of neighbours) expect(each + 2).toBeLessThanOrEqual(start);
    }
    expect(ledger).toMatchObject({ queriedChunks: 12, foundNeighbours: 14 });
  });

  it.each(['learned', 'bm25', 'random'] as const)(
    'sees no later token, to the bit: %s',
    async (retrieval) => {
      const { system, read } = reader({ retrieval });
      const ids = letters(51, 1);
      const before = await read(segmentsOf(ids));
      for (const place of [17, 26, 39]) {
        const changed = ids.slice();
        for (let t = place; t < changed.length; t++) changed[t] = 4 + ((changed[t]! + 7) % 40);
        const after = await read(segmentsOf(changed));
        let differs = false;
        for (const [i, { start, from, ids: tokens }] of segmentsOf(ids).entries()) {
          for (let t = from; t < tokens.length; t++) {
            const [one, other] = [before, after].map(({ scores }) => scores[i]![t - from]!);
            if (start! + t < place) expect(one).toBe(other);
            else differs ||= one !== other;
          }
        }
        expect(differs).toBe(true);
        const past = before.chosen.filter(({ chunk }) => (chunk + 1) * M <= place);
        expect(after.chosen.slice(0, past.length)).toEqual(past);
      }
      await system.dispose();
    },
  );

  it('reads the neighbours of a chunk from its last token on', async () => {
    const ids = letters(51, 1);
    const all = segmentsOf(ids);
    const kept: Record<string, Float32Array[]> = {};
    for (const variant of ['one', 'other'])
      kept[variant] = (
        await read(all, {
          retrieval: 'oracle',
          // The neighbours of chunk 8 differ, and no others.
          oracle: async (_, chunk, among) =>
            Int32Array.of(chunk === 8 && variant === 'other' ? 0 : Math.max(0, among - 1)).subarray(0, among),
        })
      ).scores;
    const places = all.flatMap(({ start, from, ids: tokens }, i) =>
      Array.from({ length: tokens.length - from }, (_, t) => ({ place: start! + from + t, i, t })),
    );
    const differ = places
      .filter(({ i, t }) => kept.one![i]![t] !== kept.other![i]![t])
      .map(({ place }) => place);
    // Token t predicts token t + 1: the last token of chunk 8 is 35.
    expect(Math.min(...differ)).toBe(36);
  });

  it('reads the neighbours of all chunks of a window, also of one that is longer than in training', async () => {
    // Without gates, which see the neighbours of earlier chunks. The second layer sees what earlier tokens have read in the first.
    const model = trainedParts(RptModel.create(base, { ...SHAPE, crossLayers: [1], gateFloor: null }));
    const all = segmentsOf(letters(75, 1), 'd', { ...SHAPE, window: 24, stride: 4 });
    const scoresOf = async (other: boolean) => {
      // The neighbour of chunk 8 differs.
      const oracle = async (_: unknown, chunk: number, among: number) =>
        Int32Array.of(chunk === 8 && other ? 0 : among - 1).subarray(0, among);
      return (await read(all, { retrieval: 'oracle', oracle }, model)).scores;
    };
    const [one, other] = [await scoresOf(false), await scoresOf(true)];
    const changed = all.filter((_, i) => one[i]!.some((score, t) => score !== other[i]![t]));
    // The first window that predicts a token behind chunk 8, and the last one that holds the chunk.
    expect(changed.map(({ start }) => start)).toEqual([16, 20, 24, 28, 32]);
  });

  it('is read in pieces as in one', async () => {
    const [ids, others] = [letters(51, 1), letters(40, 2)];
    const together = await read([...segmentsOf(ids, 'a'), ...segmentsOf(others, 'b')]);
    const system = new RptSystem(rpt);
    const pieces: Float32Array[] = [];
    for (const segment of [...segmentsOf(ids, 'a'), ...segmentsOf(others, 'b')])
      pieces.push(...(await system.score([segment], TEST_COMPUTE)));
    expect(pieces).toEqual(together.scores);
    await expect(
      system.score([{ ids: ids.subarray(6, 22), from: 1, document: 'b', start: 6 }], TEST_COMPUTE),
    ).rejects.toThrow(/windows every 6 tokens, where the model has chunks of 4/);
    await system.dispose();
  });

  it('comes back from its folder', async () => {
    const folder = join(tempFiles(), 'model');
    await saveRpt(folder, rpt);
    await saveRpt(folder, rpt);
    const again = await loadRpt(folder);
    expect(again.wing.config).toEqual(rpt.wing.config);
    const segments = segmentsOf(letters(51, 1));
    expect((await read(segments, {}, again)).scores).toEqual((await read(segments)).scores);
    const more = await read(segments, { k: 3 }, again);
    expect(Math.max(...more.chosen.map(({ neighbours }) => neighbours.length))).toBe(3);
    await again.base.dispose();
  });
});
