import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { runCommand } from '../../test/run-command.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { trainedParts } from '../../test/trained-parts.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import { RetroModel, saveRetro } from '../rlm/retro.ts';
import { lmDatastoreCommand } from './lm-datastore.ts';
import { lmEvalCommand } from './lm-eval.ts';

const MODEL = fileURLToPath(new URL('../models/language/fixtures/causal/gpt2', import.meta.url));
const lines = (records: object[]) => records.map((record) => `${JSON.stringify(record)}\n`).join('');
const texts = ['abcdefghijklmnop', 'abcdxyzwefghqrst', 'efghQRSTmnopUVWX'];
const folder = tempFiles({
  'texts.jsonl': lines(texts.map((text, i) => ({ id: `d${i}`, text }))),
  'data/corpus.jsonl': lines(texts.map((text, i) => ({ _id: `d${i}`, text: `word ${text}` }))),
  'data/queries.jsonl': lines(texts.map((_, i) => ({ _id: `q${i}`, text: 'word' }))),
  'data/answers.jsonl': lines(texts.map((_, i) => ({ _id: `q${i}`, answers: ['bc'] }))),
  'data/qrels/test.tsv': 'query-id\tcorpus-id\tscore\nq0\td0\t1\nq1\td1\t1\nq2\td2\t1\n',
  'some.txt': 'd0\nabsent\n',
});
const at = (name: string) => join(folder, name);
const evaluate = (flags: Record<string, string>) =>
  runCommand(lmEvalCommand, { model: MODEL, threads: '1', ...flags });

it('lm eval reads no passage of documents that are excluded', async () => {
  const documentFile = at('each.jsonl');
  const flags = {
    data: at('data'),
    method: 'in-context',
    prompt: 'q{question}A',
    answerTokens: '0',
    documentFile,
  };
  const rows = () =>
    readFileSync(documentFile, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).passages);
  await evaluate(flags);
  expect(rows()).toEqual([[0], [0], [0]]);
  const { logged } = await evaluate({ ...flags, excludeDocuments: at('some.txt') });
  expect(rows()).toEqual([[1], [1], [1]]);
  expect(logged.join('\n')).toMatch(
    /--exclude-documents \S*some\.txt: 1 of 2 documents is among the passages; 1 passage left out/,
  );
  await expect(evaluate({ data: at('texts.jsonl'), excludeDocuments: at('some.txt') })).rejects.toThrow(
    'the method none takes no excludeDocuments',
  );
});

it('lm eval of RETRO is its base where all documents are excluded', async () => {
  const base = await LanguageModel.load(MODEL);
  const shape = { chunkTokens: 4, crossLayers: [1, 2], encoderLayers: 1 };
  await saveRetro(at('retro'), trainedParts(RetroModel.create(base, shape)), { base: MODEL });
  await base.dispose();
  const data = at('texts.jsonl');
  const common = { data, model: at('retro'), window: '16' };
  const retro = { ...common, method: 'retro', passageData: data, retriever: 'states' };
  const plain = (await evaluate(common)).json.perplexity;
  expect((await evaluate(retro)).json.perplexity).not.toBe(plain);
  expect((await evaluate({ ...retro, excludeDocuments: data })).json.perplexity).toBe(plain);
});

it('lm datastore stores no token of documents that are excluded', async () => {
  const common = { model: MODEL, data: at('texts.jsonl'), window: '16', threads: '1' };
  const whole = await runCommand(lmDatastoreCommand, { ...common, out: at('whole') });
  const flags = { ...common, out: at('rest'), excludeDocuments: at('some.txt') };
  const rest = await runCommand(lmDatastoreCommand, flags);
  expect([whole.json.documents, rest.json.documents]).toEqual([3, 2]);
  expect(readFileSync(at('rest/documents.jsonl'), 'utf8')).not.toContain('"d0"');
  expect(rest.json.data).toMatch(/^texts without 2 documents \([0-9a-f]{16}\)$/);
  expect(rest.logged.join('\n')).toMatch(/1 of 2 documents left out of the text/);
});
