import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { runCommand } from '../../test/run-command.ts';
import { smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { saveRetriever } from '../models/folder/model-folder.ts';
import { UsageError } from '../util/errors.ts';
import { optionValues } from '../util/option-table.ts';
import { doctorCommand } from './doctor.ts';
import { exportCommand } from './export.ts';
import type { Io } from './io.ts';

const io: Io = {
  signal: new AbortController().signal,
  async stream() {},
  log() {},
  progress() {},
  finishProgress() {},
};

let model: string;
beforeAll(async () => {
  model = join(tempFiles(), 'model');
  await saveRetriever(model, smallRetriever({ kind: 'transformer' }));
});

type Options = Parameters<typeof exportCommand.run>[0];
const options = (more: Partial<Options>): Options => ({
  model,
  out: join(tempFiles(), 'out'),
  format: ['onnx'],
  dtype: ['f32'],
  threads: 1,
  ...more,
});

test('reports the measured difference of every file', async () => {
  const given = options({ format: ['onnx-embedding', 'onnx'], dtype: ['f32', 'int8'] });
  const { json, text } = await exportCommand.run(given, io, []);
  expect(readdirSync(join(given.out, 'onnx')).sort()).toEqual([
    'embedding.onnx',
    'embedding_quantized.onnx',
    'model.onnx',
    'model_quantized.onnx',
  ]);
  const { files, texts } = json as unknown as {
    files: { path: string; largestDifference: number }[];
    texts: number;
  };
  expect(texts).toBe(200);
  expect(files).toHaveLength(6);
  for (const { path, largestDifference } of files) {
    expect(text).toMatch(new RegExp(`${path} .*${largestDifference.toExponential(1).replace('+', '\\+')}`));
  }
});

test.each([
  [{ format: ['onx'] }, /--format: unknown "onx".*onnx/s],
  [{ dtype: ['q4'] }, /--dtype: unknown "q4"/],
  [{ format: [] }, /--format: unknown ""/],
])('refuses %j', async (more, message) => {
  const given = options(more);
  await expect(exportCommand.run(given, io, [])).rejects.toThrow(message);
  expect(existsSync(given.out)).toBe(false);
});

test('does not write over the model that it reads, or into it', async () => {
  const before = readdirSync(model);
  for (const out of [model, `${model}/`, join(model, 'onnx'), join(model, '..')]) {
    await expect(exportCommand.run(options({ out }), io, [])).rejects.toThrow(UsageError);
  }
  expect(readdirSync(model)).toEqual(before);
});

test('doctor --parity: exit code 0 where all agree; texts of a file', async () => {
  const texts = join(tempFiles({ 'texts.txt': 'one text\nanother\n\n' }), 'texts.txt');
  const given = optionValues(doctorCommand.options, { threads: 1, parity: model, texts });
  const { exitCode, json, text } = await doctorCommand.run(given, io, []);
  expect(exitCode).toBe(0);
  expect(json).toMatchObject({ ok: true, texts: 2 });
  expect(text).toContain('all agree\n');
  await expect(doctorCommand.run({ ...given, parity: undefined }, io, [])).rejects.toThrow(
    /--texts is for --parity/,
  );
});

test('a language model is exported for text-generation, by itself', async () => {
  const causal = fileURLToPath(new URL('../models/language/fixtures/causal/gpt2', import.meta.url));
  const out = join(tempFiles(), 'exported');
  const { json, text } = await runCommand(exportCommand, { model: causal, out, threads: '1' });
  expect(json.formats).toEqual(['huggingface', 'onnx']);
  expect(text).toMatch(/onnx\/model\.onnx +\S+ \S+ +logits /);
  await expect(
    runCommand(exportCommand, { model: causal, out, format: 'sentence-transformers' }),
  ).rejects.toThrow('--format: unknown "sentence-transformers"');
});
