import { describe, expect, it } from 'vitest';
import { ToyRun } from '../../../test/toy-training.ts';
import { equal, max, mean, or, range, sub, unsqueeze, where } from '../../graph/ops.ts';
import { softmaxCrossEntropy } from '../../losses/softmax-cross-entropy.ts';
import { MASKED_SCORE } from '../../nn/masked-score.ts';
import { inBatch } from '../in-batch.ts';
import { methodOf, methods } from '../methods.ts';
import { batchMethod } from './batch-method.ts';

const settings = { options: {}, learningRate: 0.02 };

describe("a method of a loss of one's own", () => {
  it('equals in-batch training to the bit, given its loss', async () => {
    const own = batchMethod({
      id: 'own-softmax',
      summary: 'the loss of in-batch',
      loss({ scores, negatives }) {
        const rows = range(scores.graph, 'queries');
        const columns = range(scores.graph, scores.shape[1]!);
        const allowed = or(negatives, equal(unsqueeze(rows, 1), columns));
        return { trainingLoss: softmaxCrossEntropy(scores, rows, { allowed }) };
      },
    });
    const [expected, found] = [await ToyRun.begin(inBatch, settings), await ToyRun.begin(own, settings)];
    const [theirs, ours] = [await expected.train(6), await found.train(6)];
    expect(ours.map(({ trainingLoss }) => trainingLoss)).toEqual(
      theirs.map(({ trainingLoss }) => trainingLoss),
    );
    expect(found.spent().positiveEncodes).toBe(expected.spent().positiveEncodes);
  });

  it('gives the scores of the positives, and no right answer as a negative', async () => {
    const hinge = batchMethod({
      id: 'hardest',
      summary: 'distance of the positive to the best negative',
      loss({ scores, positives, negatives }) {
        const hardest = max(where(negatives, scores, MASKED_SCORE), { axes: 1 });
        const loss = mean(sub(hardest, positives));
        return { trainingLoss: loss, metrics: { margin: mean(sub(positives, hardest)) } };
      },
    });
    const run = await ToyRun.begin(hinge, settings);
    const reports = await run.train(20);
    expect(reports[0]!.metrics.margin).toBeCloseTo(-reports[0]!.trainingLoss, 5);
    expect(reports.at(-1)!.trainingLoss).toBeLessThan(reports[0]!.trainingLoss);
  });
});

describe('methodOf', () => {
  const own = batchMethod({
    id: 'own',
    summary: 'mine',
    loss: ({ positives }) => ({ trainingLoss: mean(positives) }),
  });

  it('takes ids, aliases and objects', () => {
    expect(methodOf('dpr')).toBe(inBatch);
    expect(methodOf(own)).toBe(own);
    for (const method of methods) expect(methodOf(method)).toBe(method);
  });

  it('refuses objects that are not methods, and a second method of a known id', () => {
    expect(() => methodOf({ id: 'own' } as never)).toThrow(
      /method is neither the id of a method nor a Method/,
    );
    expect(() => methodOf({ ...own, id: 'in-batch' })).toThrow(/"in-batch" is in the library already/);
  });
});
