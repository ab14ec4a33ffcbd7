import { expect, it } from 'vitest';
import { curvesOf } from './curves.ts';

const event = (step: number, kind: string, values: Record<string, number>) => ({
  step,
  epoch: 0,
  wallMs: step * 7,
  kind,
  values,
});

it('makes a curve of each value of each kind of event', () => {
  const events = [
    event(1, 'train', { loss: 3, learningRate: 0.1 }),
    event(2, 'eval', { 'ndcg@10': 0.123456789 }),
    event(2, 'train', { loss: Number.NaN, learningRate: 0.2 }),
  ];
  expect(curvesOf(events)).toEqual([
    { kind: 'train', name: 'loss', steps: [1], wallMs: [7], values: [3] },
    { kind: 'train', name: 'learningRate', steps: [1, 2], wallMs: [7, 14], values: [0.1, 0.2] },
    { kind: 'eval', name: 'ndcg@10', steps: [2], wallMs: [14], values: [0.123457] },
  ]);
});

it('thins long ones by the mean of each stretch, at its last step', () => {
  const events = Array.from({ length: 10 }, (_, i) => event(i + 1, 'train', { loss: i }));
  const [curve] = curvesOf(events, { maxPoints: 4 });
  expect(curve).toMatchObject({ steps: [3, 6, 9, 10], values: [1, 4, 7, 9], wallMs: [21, 42, 63, 70] });
});

it('keeps of the ledger what was embedded so far, without averaging it', () => {
  const events = Array.from({ length: 10 }, (_, i) =>
    event(i + 1, 'ledger', { documentEncodes: 100 + 8 * i, stepMs: 3 * i }),
  );
  expect(curvesOf(events, { maxPoints: 4 })).toEqual([
    {
      kind: 'ledger',
      name: 'documentEncodes',
      steps: [3, 6, 9, 10],
      wallMs: [21, 42, 63, 70],
      values: [116, 140, 164, 172],
    },
  ]);
});
