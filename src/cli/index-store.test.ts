import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { rotatedData, rotatedModels } from '../../test/rotated-models.ts';
import { runCommand } from '../../test/run-command.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { saveRetriever } from '../models/folder/model-folder.ts';
import { indexCommand } from './index-store.ts';

const folder = tempFiles(rotatedData());
const at = (name: string) => join(folder, name);
const index = (flags: Readonly<Record<string, string>>) =>
  runCommand(indexCommand, { threads: '1', store: at('store'), ...flags });

describe('index without --model', () => {
  beforeAll(async () => {
    await saveRetriever(at('model'), rotatedModels().from, { onnx: false });
    await index({ model: at('model'), data: at('set') });
  });

  it('embeds by the model that the store keeps, and says so', async () => {
    writeFileSync(at('more.jsonl'), '{"_id": "new", "text": "word1 word2"}\n');
    const { json, logged } = await index({ corpus: at('more.jsonl') });
    expect(json).toMatchObject({ added: 1, embedded: 1 });
    expect(logged).toContain(`note: the model of the store embeds: ${at('model')}`);
    const again = await index({ corpus: at('more.jsonl'), model: at('model') });
    expect(again.json).toMatchObject({ unchanged: 1, embedded: 0, space: (json as { space: string }).space });
  });

  it('is refused for a store that is not there, and with options that make another model', async () => {
    const corpus = at('more.jsonl');
    await expect(index({ corpus, store: at('none') })).rejects.toThrow(/none is not a store/);
    await expect(index({ corpus, docPrompt: 'passage: ' })).rejects.toThrow(
      /another model of that of the store/,
    );
  });
});
