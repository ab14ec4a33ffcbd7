import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { f32, i64 } from '../../test/evaluate.ts';
import { lossAndGradients } from '../../test/loss-gradients.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { multiPositiveSoftmax } from './multi-positive-softmax.ts';
import { phraseLoss } from './phrase-loss.ts';
import { softmaxCrossEntropy } from './softmax-cross-entropy.ts';

interface Golden {
  sequences: number[][];
  spans: [number, number, number][];
  starts: number[];
  ends: number[];
  keys: number[];
  cases: { detached: boolean; loss: number; starts: number[]; ends: number[]; keys: number[] }[];
}
// Made by tools/reference/phrase_loss_golden.py.
const golden: Golden = JSON.parse(
  readFileSync(new URL('fixtures/phrase-loss.json', import.meta.url), 'utf8'),
);
const tokens = golden.sequences.flatMap((each, s) => each.map((_, i) => [s, i] as const));
const [S, K, D] = [golden.spans.length, tokens.length, 4];
const bools = (rows: number, columns: number, isTrue: (row: number, column: number) => boolean) =>
  hostTensor(
    'bool',
    [rows, columns],
    Uint8Array.from({ length: rows * columns }, (_, i) =>
      Number(isTrue(Math.floor(i / columns), i % columns)),
    ),
  );
const begins = (v: number, k: number): boolean => {
  const [s, first, length] = golden.spans[v]!;
  const [t, i] = tokens[k]!;
  const phrase = golden.sequences[s]!.slice(first, first + length);
  return phrase.join() === golden.sequences[t]!.slice(i, i + length).join();
};
const states = {
  starts: f32([S, D], golden.starts),
  ends: f32([S, D], golden.ends),
  keys: f32([K, D], golden.keys),
};
const targets = {
  allowed: bools(S, K, (v, k) => tokens[k]![0] !== golden.spans[v]![0]),
  startsHere: bools(S, K, begins),
  endsHere: bools(S, K, (v, k) => {
    const first = k - golden.spans[v]![2] + 1;
    return first >= 0 && tokens[first]![0] === tokens[k]![0] && begins(v, first);
  }),
};

describe('phraseLoss', () => {
  it.each(golden.cases)(
    'equals loops over spans and tokens in double precision, detached: $detached',
    async (wanted) => {
      const found = await lossAndGradients({ ...states, ...targets }, (t) => ({
        loss: phraseLoss(t as never, t as never, { detached: wanted.detached }).loss,
      }));
      expect(found.loss).toBeCloseTo(wanted.loss, 5);
      for (const name of ['starts', 'ends', 'keys'] as const)
        for (const [i, value] of wanted[name].entries())
          expect(found.gradients[name]![i], `${name} ${i}`).toBeCloseTo(value, 5);
    },
  );

  it('is 2 log 2 with one right and one wrong token of equal scores', async () => {
    const { loss } = await lossAndGradients(
      {
        ...{ starts: f32([1, 2], [1, 0]), ends: f32([1, 2], [0, 1]), keys: f32([2, 2], [3, 3, 3, 3]) },
        ...{ allowed: bools(1, 2, () => true), startsHere: bools(1, 2, (_, k) => k === 0) },
        endsHere: bools(1, 2, (_, k) => k === 1),
      },
      (t) => ({ loss: phraseLoss(t as never, t as never).loss }),
    );
    expect(loss).toBeCloseTo(2 * Math.log(2), 6);
  });

  it('divides the scores by the temperature', async () => {
    const lossOf = async (keys: readonly number[], temperature?: number) =>
      (
        await lossAndGradients({ ...states, ...targets, keys: f32([K, D], [...keys]) }, (t) => ({
          loss: phraseLoss(t as never, t as never, { temperature }).loss,
        }))
      ).loss;
    const shrunk = golden.keys.map((value) => value * 0.25);
    expect(await lossOf(shrunk, 0.25)).toBeCloseTo(golden.cases[0]!.loss, 5);
    expect(await lossOf(shrunk)).not.toBeCloseTo(golden.cases[0]!.loss, 1);
  });
});

describe('multiPositiveSoftmax', () => {
  const scores = [2, 2, 50, -1, 3, 0.5];
  const lossOf = (
    allowed: (row: number, column: number) => boolean,
    positive: (row: number, column: number) => boolean,
  ) =>
    lossAndGradients(
      {
        scores: f32([2, 3], scores),
        allowed: bools(2, 3, allowed),
        positive: bools(2, 3, positive),
      },
      ({ scores, allowed, positive }) => ({
        loss: multiPositiveSoftmax(scores!, { allowed: allowed!, positive: positive! }),
      }),
    );

  it('is log 2 with one right and one wrong candidate of equal scores; candidates that are not allowed have no gradient', async () => {
    const { loss, gradients } = await lossOf(
      (row, column) => row === 0 && column < 2,
      (row, column) => row === 0 && column !== 1,
    );
    expect(loss).toBeCloseTo(Math.log(2), 6);
    for (const [i, value] of [-0.5, 0.5, 0, 0, 0, 0].entries())
      expect(gradients.scores![i]).toBeCloseTo(value, 6);
  });

  it('skips queries without a right candidate, and is 0 without any', async () => {
    const one = await lossOf(
      () => true,
      (row, column) => row === 1 && column === 0,
    );
    const sum = Math.log(Math.exp(-1) + Math.exp(3) + Math.exp(0.5)) + 1;
    expect(one.loss).toBeCloseTo(sum, 5);
    expect(one.gradients.scores!.slice(0, 3)).toEqual([0, 0, 0]);
    const none = await lossOf(
      () => true,
      () => false,
    );
    expect(none.loss).toBe(0);
    expect(none.gradients.scores).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it('is 0 where all candidates are right, and the softmax cross-entropy where one is', async () => {
    expect(
      (
        await lossOf(
          () => true,
          () => true,
        )
      ).loss,
    ).toBeCloseTo(0, 6);
    const single = await lossOf(
      () => true,
      (_, column) => column === 1,
    );
    const usual = await lossAndGradients(
      { scores: f32([2, 3], scores), target: i64([2], [1, 1]) },
      ({ scores, target }) => ({ loss: softmaxCrossEntropy(scores!, target!) }),
    );
    expect(single.loss).toBeCloseTo(usual.loss, 5);
    for (const [i, value] of usual.gradients.scores!.entries())
      expect(single.gradients.scores![i]).toBeCloseTo(value, 6);
  });
});
