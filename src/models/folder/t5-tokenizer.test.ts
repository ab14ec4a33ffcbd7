import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../../test/temp-files.ts';
import type { Json } from '../../util/json-objects.ts';
import { readTokenizer } from './read-tokenizer.ts';
import { tokenizerFiles } from './tokenizer-files.ts';

/** Made by tools/reference/t5_tokenizer_golden.py, which says what it holds. */
const golden = JSON.parse(
  gunzipSync(readFileSync(new URL('../../text/fixtures/t5.json.gz', import.meta.url))).toString(),
) as { tokenizer: Json; texts: string[]; cases: { settings: Json; ids: number[][] }[] };

describe.each(golden.cases)('the tokenizer of a T5 as $settings.tokenizer_class', ({ settings, ids }) => {
  it('gives the ids of transformers, after saving too', async () => {
    const config = {
      model_type: 't5',
      vocab_size: (golden.tokenizer.model as { vocab: unknown[] }).vocab.length,
    };
    const read = async (files: Record<string, unknown>) =>
      await readTokenizer(
        tempFiles(
          Object.fromEntries(Object.entries(files).map(([name, json]) => [name, JSON.stringify(json)])),
        ),
        { config, isWhole: false },
      );
    const tokenizer = await read({ 'tokenizer.json': golden.tokenizer, 'tokenizer_config.json': settings });
    const saved = tokenizerFiles(tokenizer, { maxTokens: 512, tokenTypes: false });
    const again = await read({ ...saved.json, 'tokenizer.json': JSON.parse(saved.raw['tokenizer.json']) });
    for (const each of [tokenizer, again]) {
      const { before, after } = each.wrapper;
      for (const [i, text] of golden.texts.entries())
        expect([...before, ...each.encodeRaw(text), ...after], JSON.stringify(text)).toEqual(ids[i]);
    }
  });
});
