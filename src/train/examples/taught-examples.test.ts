import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { tempFiles } from '../../../test/temp-files.ts';
import { loadCrossEncoder } from '../../models/cross-encoder/load-cross-encoder.ts';
import { trainRetriever } from '../train-retriever.ts';

const TEACHER = fileURLToPath(new URL('../../models/cross-encoder/fixtures/bert', import.meta.url));
const WORDS = ['cat', 'dog', 'house', 'tree', 'mat', 'red', 'green', 'run'];
const words = (i: number, n: number) =>
  Array.from({ length: n }, (_, j) => WORDS[(i * (j + 2) + j) % 8]).join(' ');
const RECORDS = Array.from({ length: 12 }, (_, i) => ({
  query: words(i, 2),
  positive: `${words(i, 3)} ${i}`,
  negative: [`${words(i + 1, 4)} ${i}`, `${words(i + 3, 2)} the ${i}`],
}));

test('distillation from a cross-encoder is that from its logits in the data', async () => {
  const teacher = await loadCrossEncoder(TEACHER, { activation: 'identity' });
  const scored = [];
  for (const record of RECORDS) {
    const texts = [record.positive, ...record.negative];
    const scores = await teacher.score(
      texts.map((text) => [record.query, text] as const),
      { threads: 1 },
    );
    scored.push({ ...record, scores: [...scores] });
  }
  await teacher.dispose();
  const out = tempFiles();
  const options = {
    ...{ method: 'distill', model: 'static', hidden: 8, vocabSize: 64, steps: 3, batchSize: 4, negatives: 2 },
    ...{ evalSplit: 'none', threads: 1 },
  };
  const own = await trainRetriever({ ...options, data: { pairs: scored }, out: join(out, 'own') });
  const notes: string[] = [];
  const taught = await trainRetriever(
    { ...options, data: { pairs: RECORDS }, out: join(out, 'taught'), teacher: TEACHER },
    { onNote: (note) => notes.push(note) },
  );
  expect(notes.join('\n')).toMatch(/the teacher scores \d+ pairs/);
  expect(taught.ledger.teacherPairs).toBeGreaterThan(0);
  expect(taught.ledger.pairs).toBe(taught.ledger.teacherPairs);
  expect(own.ledger.pairs).toBeUndefined();
  const weights = [own, taught].map(({ model }) => readFileSync(join(model, 'model.safetensors')));
  expect(weights[0]!.equals(weights[1]!)).toBe(true);

  const alone = RECORDS.map(({ negative: _, ...record }) => record);
  await expect(
    trainRetriever({ ...options, data: { pairs: alone }, out: join(out, 'alone'), teacher: TEACHER }),
  ).rejects.toThrow(/there are no negatives to distil from\n.*undrift mine/);
  await expect(
    trainRetriever({
      ...options,
      method: 'in-batch',
      data: { pairs: alone },
      out: join(out, 'x'),
      teacher: TEACHER,
    }),
  ).rejects.toThrow(/takes no teacher/);
});
