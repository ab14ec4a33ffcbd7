import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { runCommand } from '../../test/run-command.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { lmEvalCommand } from './lm-eval.ts';

const model = fileURLToPath(new URL('../models/language/fixtures/causal/llama-untied', import.meta.url));
const lines = (records: object[]) => records.map((record) => JSON.stringify(record)).join('\n');
const folder = tempFiles({
  'data/corpus.jsonl': lines(['abc', 'defg', 'hij'].map((text, i) => ({ _id: `d${i}`, text }))),
  'data/queries.jsonl': lines(['what', 'who', 'why'].map((text, i) => ({ _id: `q${i}`, text }))),
  'data/answers.jsonl': lines(['bc', 'f', 'i'].map((answer, i) => ({ _id: `q${i}`, answers: [answer] }))),
  'data/qrels/test.tsv': 'query-id\tcorpus-id\tscore\nq0\td0\t1\nq1\td1\t1\nq2\td2\t1\n',
  'text.jsonl': lines([{ _id: 't', text: 'abcdef' }]),
});
const data = join(folder, 'data');
const evaluate = (flags: Record<string, string>) =>
  runCommand(lmEvalCommand, {
    model,
    data,
    threads: '1',
    prompt: 'q{question}A',
    answerTokens: '2',
    ...flags,
  });

it('answers the questions of a data set, alone and with passages', async () => {
  const none = (await evaluate({})).json as Record<string, number>;
  expect(none).toMatchObject({ questions: 3, method: 'none', exactMatch: 0 });
  const file = join(folder, 'questions.jsonl');
  const { json, text } = await evaluate({ method: 'in-context', retriever: 'gold', documentFile: file });
  expect(json.natsPerAnswer).not.toBe(none.natsPerAnswer);
  expect(text).toMatch(
    /^nats per answer +\d+\.\d{4}\nnats per token .*\nexact match .*\nF1 .*\n3 questions over 3 documents/,
  );
  const each = readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(each.map(({ id, passages }) => [id, passages])).toEqual([
    ['q0', [0]],
    ['q1', [1]],
    ['q2', [2]],
  ]);
});

it('refuses options of running text for questions, and of questions for text', async () => {
  await expect(evaluate({ limitTokens: '5' })).rejects.toThrow(/limit-?[tT]okens belongs to running text/);
  const text = { model, data: join(folder, 'text.jsonl'), threads: '1' };
  await expect(runCommand(lmEvalCommand, { ...text, split: 'dev' })).rejects.toThrow(
    /split belongs to questions/,
  );
  await expect(runCommand(lmEvalCommand, { ...text, task: 'questions' })).rejects.toThrow();
});
