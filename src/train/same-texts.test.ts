import { expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import type { DataInMemory } from '../data/data-in-memory.ts';
import type { Method, MethodContext } from '../methods/contract/method.ts';
import { inBatch } from '../methods/in-batch.ts';
import { trainRetriever } from './train-retriever.ts';

/** Trains and returns the loss of the last step, and the right answers of each query by id. */
async function trained(method: Method, data: DataInMemory, batchSize: number, steps: number) {
  let context: MethodContext | undefined;
  let loss = Number.NaN;
  const spy: Method = {
    ...method,
    id: 'watched',
    aliases: [],
    async start(given) {
      context = given;
      const running = await method.start(given);
      const step = running.step.bind(running);
      running.step = async (batch, draw) => {
        const result = await step(batch, draw);
        loss = result.trainingLoss;
        return result;
      };
      return running;
    },
  };
  await trainRetriever({
    data,
    method: spy,
    out: tempFiles({}),
    overwrite: true,
    ...{ batchSize, steps, hidden: 32, vocabSize: 300, threads: 1, evalSplit: 'none', schedule: 'constant' },
    lr: 0.02,
  });
  return { loss, right: (row: number) => [...context!.positives(row)] };
}

const ASKED = ['how do i undo a commit', 'how do i list files', 'how do i copy a folder'];
const TOLD = ['git reset moves the branch', 'ls prints the names', 'cp with the flag r does'];

it('never takes the own text of a query as its negative: mirrored pairs', async () => {
  const pairs = ASKED.flatMap((query, i) => [
    { query, positive: TOLD[i]! },
    { query: TOLD[i]!.toUpperCase(), positive: query },
  ]);
  const { loss, right } = await trained(inBatch, { pairs, dev: pairs, test: pairs }, 6, 40);
  // Documents: answer 0, question 0, answer 1, …; queries: question 0, answer 0, ….
  expect([0, 1, 2, 3].map(right)).toEqual([
    [0, 1],
    [0, 1],
    [2, 3],
    [2, 3],
  ]);
  expect(loss).toBeLessThan(0.1);
});

it('shares the positives of a question under two ids', async () => {
  const judgements = [0, 1, 2, 3, 4, 5].map((i) => ({ queryId: `q${i}`, docId: `d${i}` }));
  const data: DataInMemory = {
    documents: [...TOLD, 'git revert adds one', 'find walks folders', 'rsync does'].map((text, i) => ({
      id: `d${i}`,
      text,
    })),
    queries: [...ASKED, ...ASKED.map((text) => `${text} `)].map((text, i) => ({ id: `q${i}`, text })),
    judgements: { train: judgements },
  };
  const { loss, right } = await trained(inBatch, data, 6, 40);
  expect([0, 1, 3, 4].map(right)).toEqual([
    [0, 3],
    [1, 4],
    [0, 3],
    [1, 4],
  ]);
  expect(loss).toBeLessThan(0.1);
});
