import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { COMMIT, fakeHub } from '../../test/fake-hub.ts';
import { runUndrift } from '../../test/run-undrift.ts';
import { tempFiles } from '../../test/temp-files.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const fixture = (name: string) => readFileSync(join(root, 'src/models/architectures/fixtures/bert', name));

const MODEL = {
  'config.json': fixture('config.json'),
  'tokenizer.json': fixture('tokenizer.json'),
  'model.safetensors': fixture('model.safetensors'),
  'onnx/model.onnx': 'not for us',
  'pytorch_model.bin': 'not for us',
  'README.md': '# A model',
};
const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
const rows = Array.from({ length: 6 }, (_, i) => i);
const DATA = {
  'corpus.jsonl': lines(rows.map((i) => ({ _id: `d${i}`, text: `text number ${i}` }))),
  'queries.jsonl': lines(rows.map((i) => ({ _id: `q${i}`, text: `number ${i}` }))),
  'qrels/train.tsv': `query-id\tcorpus-id\tscore\n${rows.map((i) => `q${i}\td${i}\t1\n`).join('')}`,
};

test('a model and a data set by name: encoded with, trained on, resumed', async () => {
  const hub = await fakeHub({
    'models/org/bert': { files: MODEL },
    'models/org/pickled': { files: { 'config.json': '{}', 'pytorch_model.bin': 'x', 'modules.json': '[]' } },
    'models/org/slow': { files: { 'config.json': '{}', 'model.safetensors': 'x', 'vocab.txt': 'a' } },
    'datasets/org/data': { files: DATA },
  });
  const folder = tempFiles({ 'texts.txt': 'a text\nanother\n', 'runs/here': '' });
  const env = { HF_ENDPOINT: hub.url, HF_HUB_CACHE: join(folder, 'cache'), HF_TOKEN: '' };
  const undrift = (argv: string, more: Record<string, string> = {}) =>
    runUndrift(argv.split(' '), { cwd: folder, env: { ...env, ...more } });

  const encode = 'encode --model org/bert --input texts.txt --out';
  expect(await undrift(`${encode} a.npy`)).toMatchObject({
    code: 0,
    stderr: expect.stringContaining(`note: org/bert at ${COMMIT}`),
  });
  expect(readdirSync(join(folder, 'cache/models--org--bert/snapshots', COMMIT)).sort()).toEqual([
    'README.md',
    'config.json',
    'model.safetensors',
    'tokenizer.json',
  ]);
  expect((await undrift(`${encode} b.npy`, { HF_HUB_OFFLINE: '1' })).code).toBe(0);
  expect(readFileSync(join(folder, 'b.npy'))).toEqual(readFileSync(join(folder, 'a.npy')));

  const train = 'train --model org/bert --data hf:org/data --steps 2 --batch-size 2 --out run';
  expect((await undrift(train)).stderr).not.toContain('error');
  const { settings } = JSON.parse(readFileSync(join(folder, 'run/settings.json'), 'utf8'));
  expect(settings).toMatchObject({ model: `org/bert@${COMMIT}`, data: 'hf:org/data' });
  const card = readFileSync(join(folder, 'run/model/README.md'), 'utf8');
  expect(card).toContain('base_model: "org/bert"\n');
  expect(card).toMatch(new RegExp(`from .*org/bert.* at commit .*${COMMIT}`));

  // The branch moves on: a resumed run stays with its commit, and refuses the new one.
  hub.repos['models/org/bert']!.refs = { main: 'ab'.repeat(20), [COMMIT]: COMMIT };
  expect((await undrift('train --out run --resume')).code).toBe(0);
  const moved = await undrift(`${train} --resume`);
  expect(moved).toMatchObject({ code: 1, stderr: expect.stringContaining('started with other settings') });
  expect(moved.stderr).toContain(`"org/bert@${COMMIT}" then, "org/bert@abab`);

  const fails = async (model: string, code: number, ...parts: string[]) => {
    const found = await undrift(`encode --model ${model} --input texts.txt --out c.npy`);
    expect({ model, code: found.code }).toEqual({ model, code });
    for (const part of parts) expect(found.stderr).toContain(part);
    expect(existsSync(join(folder, 'c.npy'))).toBe(false);
  };
  await fails('org/none', 1, 'the hub has no model org/none', 'no folder of that name');
  await fails(
    'org/pickled',
    1,
    'no model.safetensors',
    'pytorch_model.bin',
    "SentenceTransformer as S; S('org/pickled')",
  );
  await fails('org/slow', 1, 'no tokenizer.json', "n = 'org/slow'");
  expect(existsSync(join(folder, 'cache/models--org--slow'))).toBe(false);
  const { length } = hub.requests;
  // A folder of that first name is here: the rest is misspelt, and no server is told.
  await fails('runs/frist', 2, '--model runs/frist: no such folder');
  expect(hub.requests).toHaveLength(length);
  await hub.close();
  await fails('org/none', 1, 'ECONNREFUSED', 'give its folder (--model path/to/folder)');
}, 120_000);
