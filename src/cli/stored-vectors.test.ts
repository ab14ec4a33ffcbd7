import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { rotatedData, rotatedModels } from '../../test/rotated-models.ts';
import { runCommand } from '../../test/run-command.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { saveRetriever } from '../models/folder/model-folder.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { UndriftError } from '../util/errors.ts';
import type { AnyCommand } from './command.ts';
import { describeError } from './describe-error.ts';
import { encodeCommand } from './encode.ts';
import { searchCommand } from './search.ts';

const files = rotatedData();
const corpusLines = files['set/corpus.jsonl']!.trim().split('\n');
const folder = tempFiles({
  ...files,
  'reversed.jsonl': `${[...corpusLines].reverse().join('\n')}\n`,
  'edited.jsonl': files['set/corpus.jsonl']!.replace('word', 'wort'),
  'notes.txt': 'word1 word2\nword3 word4\n',
});
const at = (name: string) => join(folder, name);
const { from, to } = rotatedModels();

const run = (command: AnyCommand, flags: Readonly<Record<string, string>>, words: string[] = []) =>
  runCommand(command, { threads: '1', ...flags }, words);

const search = (flags: Readonly<Record<string, string>>) =>
  run(searchCommand, { model: at('old'), topK: '3', ...flags }, ['word1', 'word2']);

/** Returns what the command line shows for a search that is refused. */
async function refusal(flags: Readonly<Record<string, string>>): Promise<string> {
  const error = await search({ embeddings: at('docs.npy'), ...flags }).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(UndriftError);
  return describeError(error).message;
}

describe('vectors that undrift encode stored', () => {
  beforeAll(async () => {
    await saveRetriever(at('old'), from, { onnx: false });
    await saveRetriever(at('new'), to, { onnx: false });
    await run(encodeCommand, { model: at('old'), data: at('set'), out: at('docs.npy') });
  });

  it('are searched as if they had just been made', async () => {
    const fresh = await search({ data: at('set') });
    const stored = await search({ data: at('set'), embeddings: at('docs.npy') });
    expect(stored.json).toEqual(fresh.json);
    expect(stored.logged).toEqual([]);
    const corpus = await search({ corpus: at('set/corpus.jsonl'), embeddings: at('docs.npy') });
    expect(corpus.json).toEqual(fresh.json);
  });

  it('have a manifest, which encode names', async () => {
    const { json } = await run(encodeCommand, {
      model: at('old'),
      input: at('notes.txt'),
      out: at('notes.npy'),
    });
    expect(json).toMatchObject({ out: at('notes.npy'), manifest: at('notes.npy.json') });
    expect(JSON.parse(readFileSync(at('notes.npy.json'), 'utf8'))).toMatchObject({
      embeddingSpace: embeddingSpaceId(from),
      rows: 2,
      ids: null,
    });
    const { json: found } = await search({ corpus: at('notes.txt'), embeddings: at('notes.npy') });
    expect((found.results as { id: string }[])[0]!.id).toBe('1');
  });

  it('are refused for another model, with both ids and the command that mends it', async () => {
    const message = await refusal({ model: at('new'), data: at('set') });
    expect(message).toContain(embeddingSpaceId(from));
    expect(message).toContain(`the model at hand has ${embeddingSpaceId(to)}`);
    expect(message).toContain(
      `undrift encode --model ${at('new')} --data ${at('set')} --out ${at('docs.npy')}`,
    );
  });

  it.each([
    [{ corpus: at('reversed.jsonl') }, 'other texts, or another order'],
    [{ corpus: at('edited.jsonl') }, 'some texts were changed'],
    [{ data: at('set'), dimensions: '8' }, 'dimension 16 there, 8 here'],
    [{ data: at('set'), docPrompt: 'a passage: ' }, 'docPrompt "" there, "a passage: " here'],
    [{ data: at('set'), queryPrompt: 'query: ' }, 'queryPrompt "" there, "query: " here'],
  ])('are refused for %j', async (flags, reason) => {
    expect(await refusal(flags)).toContain(reason);
  });

  it('the command that mends it repeats the settings of the search', async () => {
    expect(await refusal({ data: at('set'), docPrompt: 'a passage: ', dimensions: '8' })).toContain(
      `--out ${at('docs.npy')} --dimensions 8 --doc-prompt 'a passage: '`,
    );
  });

  it('are refused where they were encoded as queries', async () => {
    await run(encodeCommand, {
      model: at('old'),
      input: at('notes.txt'),
      side: 'query',
      out: at('q.npy'),
    });
    expect(await refusal({ corpus: at('notes.txt'), embeddings: at('q.npy') })).toContain(
      'encoded as queries, not as documents',
    );
  });

  it('without a manifest need --trust-vectors, and a note says so', async () => {
    writeFileSync(at('bare.npy'), readFileSync(at('docs.npy')));
    rmSync(at('bare.npy.json'), { force: true });
    const bare = { data: at('set'), embeddings: at('bare.npy') };
    expect(await refusal(bare)).toContain('if you know that they fit: --trust-vectors');
    const { json, logged } = await search({ ...bare, trustVectors: 'true' });
    expect(json).toEqual((await search({ data: at('set') })).json);
    expect(logged.join('\n')).toContain('has no manifest: only its shape was checked');
    expect(
      await refusal({ corpus: at('notes.txt'), embeddings: at('bare.npy'), trustVectors: 'true' }),
    ).toContain('holds f32[600, 16], but 2 documents of this model are f32[2, 16]');
  });

  it('--trust-vectors without --embeddings is refused', async () => {
    await expect(search({ data: at('set'), trustVectors: 'true' })).rejects.toThrow(
      /--trust-vectors is about the file of --embeddings/,
    );
  });

  it('bm25 takes none', async () => {
    expect(await refusal({ model: 'bm25', data: at('set') })).toContain('no meaning with --model bm25');
  });
});
