import { join } from 'node:path';
import { expect, test } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { readJsonl } from '../data/jsonl.ts';
import { readParquet } from '../data/parquet.ts';
import { readNpy } from '../io/npy.ts';
import { readSafetensors } from '../io/safetensors.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { readJson } from './files.ts';

const LFS = 'version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 90868376\n';
const PICKLE = Buffer.from('\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.', 'latin1');

const all = async (records: AsyncIterable<unknown>) => {
  for await (const _ of records);
};

const READERS: Readonly<Record<string, (path: string) => unknown>> = {
  'model.safetensors': readSafetensors,
  'vectors.npy': readNpy,
  'config.json': readJson,
  'tokenizer.json': async (path) => Tokenizer.fromFile(path),
  'train.jsonl': (path) => all(readJsonl(path)),
  'train.parquet': (path) => all(readParquet(path)),
};

test.each(Object.entries(READERS))('%s of another kind is called by its name', async (name, read) => {
  const folder = tempFiles({
    [`lfs/${name}`]: LFS,
    [`page/${name}`]: '<!DOCTYPE html>\n<html><body>Sign in</body></html>\n'.padEnd(200),
  });
  const reading = (kind: string) => expect((async () => read(join(folder, kind, name)))()).rejects;
  await reading('lfs').toThrow(/a pointer of Git LFS in place of the file\n {2}help: .*git lfs pull/);
  await reading('page').toThrow(/a web page in place of the file/);
});

test('weights that torch.save or llama.cpp wrote, under the name of safetensors', async () => {
  const folder = tempFiles({
    'zip.safetensors': Buffer.from('PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0', 'latin1'),
    'pickle.safetensors': PICKLE,
    'gguf.safetensors': 'GGUF\x03\0\0\0\0\0\0\0',
  });
  const reading = (name: string) => expect(readSafetensors(join(folder, name))).rejects;
  await reading('zip.safetensors').toThrow('a zip archive, such as torch.save writes');
  await reading('pickle.safetensors').toThrow('a pickle of Python');
  await reading('gguf.safetensors').toThrow('a GGUF model');
});
