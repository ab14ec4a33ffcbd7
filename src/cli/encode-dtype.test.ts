import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from '../../test/run-command.ts';
import { smallRetriever, TEXTS } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { saveRetriever } from '../models/folder/model-folder.ts';
import { describeError } from './describe-error.ts';
import { encodeCommand } from './encode.ts';
import { searchCommand } from './search.ts';

const corpus = TEXTS.filter((text) => text !== '')
  .map((text, i) => `${JSON.stringify({ _id: `d${i}`, text })}\n`)
  .join('');
const folder = tempFiles({ 'corpus.jsonl': corpus });
const at = (name: string) => join(folder, name);

const search = (flags: Readonly<Record<string, string>>) =>
  runCommand(
    searchCommand,
    { model: at('model'), corpus: at('corpus.jsonl'), threads: '1', topK: '2', ...flags },
    ['opens a file'],
  );

describe('--encode-dtype int8', () => {
  beforeAll(async () => {
    const retriever = smallRetriever({ kind: 'transformer' });
    await saveRetriever(at('model'), retriever, { onnx: false });
    await retriever.dispose();
    for (const encodeDtype of ['f32', 'int8']) {
      const flags = { model: at('model'), data: at('corpus.jsonl'), threads: '1' };
      await runCommand(encodeCommand, { ...flags, encodeDtype, out: at(`${encodeDtype}.npy`) });
    }
  });

  it('is written in the manifest of the vectors, which are of another embedding space', () => {
    const [f32, int8] = ['f32', 'int8'].map((name) =>
      JSON.parse(readFileSync(at(`${name}.npy.json`), 'utf8')),
    );
    expect(int8.settings.encodeDtype).toBe('int8');
    expect(f32.settings).not.toHaveProperty('encodeDtype');
    expect(int8.embeddingSpace).not.toBe(f32.embeddingSpace);
  });

  it('searches its vectors, and refuses those of the other dtype by its name', async () => {
    const { json } = await search({ encodeDtype: 'int8', embeddings: at('int8.npy') });
    expect(json.results).toHaveLength(2);
    const refusal = async (flags: Readonly<Record<string, string>>) =>
      describeError(await search(flags).catch((error: unknown) => error)).message;
    expect(await refusal({ embeddings: at('int8.npy') })).toContain(
      'they differ in encodeDtype "int8" there, absent here',
    );
    const other = await refusal({ encodeDtype: 'int8', embeddings: at('f32.npy') });
    expect(other).toContain('they differ in encodeDtype absent there, "int8" here');
    expect(other).toContain('--encode-dtype int8');
  });
});
