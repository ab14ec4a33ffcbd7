import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { evaluate, f32, i64 } from '../../../test/evaluate.ts';
import { largestDifference } from '../../../test/small-models.ts';
import { backward } from '../../grad/backward.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { type MemorySoftmaxOptions, memorySoftmaxLoss } from '../../losses/memory-softmax.ts';
import { hiddenNextTokenLoss } from '../../losses/next-token.ts';
import { float32, hostTensor } from '../../runtime/host-tensor.ts';
import { PackedWindows, type WindowBatch } from '../../text/packed-windows.ts';
import { TokenStore } from '../../text/token-store.ts';
import { memoryMarks, TRIME_MEMORIES, type TrimeMemory } from './memory-marks.ts';

interface Golden {
  readonly shape: [number, number, number, number];
  readonly hidden: number[];
  readonly states: number[];
  readonly matrix: number[];
  readonly ids: number[];
  readonly mask: number[];
  readonly pieces: number[];
  readonly rows: number[];
  readonly positions: number[];
  readonly cases: {
    readonly memory: TrimeMemory | 'none';
    readonly local: boolean;
    readonly detached: boolean;
    readonly loss: number;
    readonly hidden: number[];
    readonly states: number[];
    readonly matrix: number[];
  }[];
}

const golden: Golden = JSON.parse(
  readFileSync(fileURLToPath(new URL('fixtures/memory_softmax.json', import.meta.url)), 'utf8'),
);
const [B, T, D, V] = golden.shape;
const batch: WindowBatch = {
  ids: Int32Array.from(golden.ids),
  mask: Float32Array.from(golden.mask),
  documents: Int32Array.from(golden.pieces),
  rows: Int32Array.from(golden.rows),
  positions: Int32Array.from(golden.positions),
  ...{ batch: B, tokens: T, predictions: 12 },
};
const marksOf = (memory: TrimeMemory | 'none', local = true) =>
  hostTensor('i64', [B, T, 3], memoryMarks(batch, memory, { local }));
const INPUTS = {
  h: f32([B, T, D], golden.hidden),
  g: f32([B, T, D], golden.states),
  e: f32([V, D], golden.matrix),
  ids: i64([B, T], golden.ids),
  documents: i64([B, T], golden.pieces),
  mask: f32([B, T], golden.mask),
};
const lossOf = (t: Record<string, Tensor>, options: MemorySoftmaxOptions) =>
  memorySoftmaxLoss(
    t.h!,
    t.e!,
    { states: t.g!, marks: t.marks! },
    { ids: t.ids!, mask: t.mask! },
    { documents: t.documents, ...options },
  );

describe('loss of TRIME', () => {
  it.each(
    golden.cases.flatMap((each) => [1, 50, 1 << 22].map((scoresPerPiece) => ({ ...each, scoresPerPiece }))),
  )(
    'equals a straight implementation: $memory, local $local, detached $detached, $scoresPerPiece scores a piece',
    async ({ memory, local, detached, scoresPerPiece, ...expected }) => {
      const options = { others: memory === 'external', detached, scoresPerPiece };
      const found = await evaluate({ ...INPUTS, marks: marksOf(memory, local) }, (t) => {
        const loss = lossOf(t, options);
        const [hidden, states, matrix] = backward(loss, [t.h!, t.g!, t.e!]);
        return { loss, hidden: hidden!, states: states!, matrix: matrix! };
      });
      expect(float32(found.loss)[0]).toBeCloseTo(expected.loss, 5);
      for (const part of ['hidden', 'states', 'matrix'] as const)
        expect(largestDifference(float32(found[part]), expected[part]), part).toBeLessThan(2e-6);
    },
  );

  it('is the loss of the next token to the bit where the memory is empty, with its gradients', async () => {
    const found = await evaluate({ ...INPUTS, marks: marksOf('none') }, (t) => {
      const loss = lossOf(t, { others: true });
      const plain = hiddenNextTokenLoss(t.h!, t.e!, t.ids!, t.mask!, { documents: t.documents });
      const [dh, de, dg] = backward(loss, [t.h!, t.e!, t.g!]);
      const [plainDh, plainDe] = backward(plain, [t.h!, t.e!]);
      return { loss, plain, dh: dh!, de: de!, dg: dg!, plainDh: plainDh!, plainDe: plainDe! };
    });
    expect(float32(found.loss)).toEqual(float32(found.plain));
    expect(largestDifference(float32(found.dh), float32(found.plainDh))).toBe(0);
    expect(largestDifference(float32(found.de), float32(found.plainDe))).toBe(0);
    expect(float32(found.dg).every((value) => value === 0)).toBe(true);
  });

  it.each(TRIME_MEMORIES)('is a distribution over the vocabulary: %s', async (memory) => {
    // The last token of the second window takes every value. Only it is weighed, and it is in no memory of its own.
    const place = 2 * T - 1;
    const only = f32(
      [B, T],
      golden.mask.map((_, i) => (i === place ? 1 : 0)),
    );
    const variants = Array.from({ length: V }, (_, word) =>
      golden.ids.map((id, i) => (i === place ? word : id)),
    );
    const inputs = Object.fromEntries(
      variants.flatMap((ids, word) => {
        const marks = memoryMarks({ ...batch, ids: Int32Array.from(ids) }, memory);
        return [
          [`ids${word}`, i64([B, T], ids)],
          [`marks${word}`, hostTensor('i64', [B, T, 3], marks)],
        ];
      }),
    );
    const found = await evaluate({ ...INPUTS, mask: only, ...inputs }, (t) =>
      Object.fromEntries(
        variants.map((_, word) => {
          const own = { ...t, ids: t[`ids${word}`]!, marks: t[`marks${word}`]! };
          return [`loss${word}`, lossOf(own, { others: memory === 'external' })];
        }),
      ),
    );
    const sum = variants.reduce((all, _, word) => all + Math.exp(-float32(found[`loss${word}`])[0]!), 0);
    expect(sum).toBeCloseTo(1, 5);
  });
});

/** What a place finds, by the rule of `memoryLogSums`. */
function foundBy(marks: BigInt64Array, place: number, others: boolean): number[] {
  const at = (j: number, column: number) => Number(marks[3 * j + column]);
  return Array.from({ length: marks.length / 3 }, (_, j) => j).filter((j) =>
    at(j, 1) === at(place, 1) ? at(j, 2) < at(place, 2) : others && at(j, 1) >= 0,
  );
}

describe('marks of a memory', () => {
  // Token t of document d is 100 d + t; documents of up to four windows, and short ones that share windows.
  const lengths = [23, 2, 9, 30, 1, 4, 3, 16];
  const store = TokenStore.of(
    Int32Array.from(lengths),
    Int32Array.from(lengths.flatMap((length, d) => Array.from({ length }, (_, t) => 100 * (d + 1) + t))),
  );
  const windows = new PackedWindows(store, { window: 8 });
  const all = windows.batch(Int32Array.from({ length: windows.count }, (_, i) => i).reverse());
  const places = Array.from(all.ids.keys()).filter(
    (at) =>
      (at + 1) % all.tokens !== 0 && all.mask[at + 1] === 1 && all.documents[at] === all.documents[at + 1],
  );
  const pieceOf = (at: number) => `${Math.floor(at / all.tokens)} ${all.documents[at]}`;

  it.each([
    ['local', true],
    ['long', true],
    ['external', true],
    ['external', false],
    ['external', true, true],
    ['external', false, true],
  ] as const)('allow exactly the tokens of the definition: %s, local %s, other documents %s', (...given) => {
    const [memory, local, otherDocuments = false] = given;
    const marks = memoryMarks(all, memory, { local, otherDocuments });
    expect(places).toHaveLength(windows.predictions);
    for (const place of places) {
      const found = foundBy(marks, place, memory === 'external');
      const token = all.ids[place]!;
      const isBefore = (j: number) =>
        all.ids[j]! < token && Math.floor(all.ids[j]! / 100) === Math.floor(token / 100);
      const expected = places.filter((j) => {
        const same = pieceOf(j) === pieceOf(place);
        if (memory === 'local') return same && j < place;
        if (memory === 'long') return isBefore(j);
        if (otherDocuments && Math.floor(all.ids[j]! / 100) === Math.floor(token / 100))
          return local && isBefore(j);
        return same ? local && j < place : true;
      });
      expect(found).toEqual(expected);
      // The token under a key of the same document has been read, and none is found under its own key.
      if (memory !== 'external') for (const j of found) expect(all.ids[j + 1]).toBeLessThanOrEqual(token);
      expect(found).not.toContain(place);
    }
  });

  it('keep everything out of an empty memory', () => {
    const marks = memoryMarks(all, 'none');
    for (const place of all.ids.keys()) expect(foundBy(marks, place, true)).toEqual([]);
  });
});
