import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { tempFiles } from '../../../test/temp-files.ts';
import { readSafetensors } from '../../io/safetensors.ts';
import { float32 } from '../../runtime/host-tensor.ts';
import { loadRetriever } from '../folder/load-retriever.ts';
import { generateText } from './generate.ts';
import { LanguageModel } from './language-model.ts';
import { saveLanguageModel } from './save-language-model.ts';

// Folders that transformers has saved; tools/reference/saved_language_models.py checks that it reads ours.
const FIXTURES = fileURLToPath(new URL('fixtures/causal', import.meta.url));
const json = (folder: string, name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8'));

describe('saveLanguageModel', () => {
  test.each(['gpt2', 'llama-untied', 'qwen3-tied'])(
    '%s: tensors and names are those of transformers',
    async (name) => {
      const folder = join(tempFiles(), 'saved');
      const model = await LanguageModel.load(join(FIXTURES, name));
      await saveLanguageModel(folder, model, { trainedSteps: 7 });
      const [ours, theirs] = await Promise.all(
        [folder, join(FIXTURES, name)].map((each) => readSafetensors(join(each, 'model.safetensors'))),
      );
      expect(Object.keys(ours!.tensors).sort()).toEqual(Object.keys(theirs!.tensors).sort());
      for (const [tensor, value] of Object.entries(theirs!.tensors))
        expect(ours!.tensors[tensor]).toEqual(value);
      const config = json(folder, 'config.json');
      const original = json(join(FIXTURES, name), 'config.json');
      for (const field of [
        'architectures',
        'model_type',
        'vocab_size',
        'bos_token_id',
        'eos_token_id',
        'tie_word_embeddings',
      ])
        expect(config[field], field).toEqual(original[field]);

      const again = await LanguageModel.load(folder);
      expect((await generateText(again, 'helLo', { tokens: 9, threads: 1 })).ids).toEqual(
        (await generateText(model, 'helLo', { tokens: 9, threads: 1 })).ids,
      );
      expect(json(folder, 'undrift.json')).toMatchObject({ kind: 'language-model', trainedSteps: 7 });
      // A model of Undrift may be replaced.
      await saveLanguageModel(folder, again);
      await model.dispose();
      await again.dispose();
    },
  );

  test('keeps special tokens, chat template, settings of generation and all end tokens', async () => {
    const [source, folder] = [tempFiles(), join(tempFiles(), 'saved')];
    cpSync(join(FIXTURES, 'gpt2'), source, { recursive: true });
    const generation = { eos_token_id: [1, 5], temperature: 0.7 };
    const tokens = { bos_token: '<s>', eos_token: 'b', pad_token: { content: '</s>', special: true } };
    writeFileSync(join(source, 'generation_config.json'), JSON.stringify(generation));
    writeFileSync(
      join(source, 'tokenizer_config.json'),
      JSON.stringify({
        tokenizer_class: 'PreTrainedTokenizerFast',
        ...tokens,
        model_max_length: 30,
        chat_template: 'old',
      }),
    );
    writeFileSync(join(source, 'chat_template.jinja'), '{{ messages }}');
    const model = await LanguageModel.load(source);
    expect(model.endIds).toEqual(new Set([1, 5]));
    await saveLanguageModel(folder, model);
    expect(json(folder, 'generation_config.json')).toEqual(generation);
    expect(json(folder, 'tokenizer_config.json')).toMatchObject({
      ...tokens,
      model_max_length: 30,
      chat_template: 'old',
    });
    expect(readFileSync(join(folder, 'chat_template.jinja'), 'utf8')).toBe('{{ messages }}');
    const again = await LanguageModel.load(folder);
    expect(again.settings.chatTemplate).toBe('{{ messages }}');
    expect(again.endIds).toEqual(model.endIds);
  });

  test('a retriever can be made of a saved language model', async () => {
    const folder = join(tempFiles(), 'saved');
    await saveLanguageModel(folder, await LanguageModel.load(join(FIXTURES, 'qwen3-tied')));
    const retriever = await loadRetriever(folder);
    expect(retriever.dimension).toBe(8);
    expect(await retriever.encode('query', ['abc'], { threads: 1 })).toHaveLength(8);
    await retriever.dispose();
  });

  test('damaged weights are noticed; foreign folders are left alone', async () => {
    const folder = join(tempFiles(), 'saved');
    const model = await LanguageModel.load(join(FIXTURES, 'gpt2'));
    float32(model.weights['wte.weight'])[0]! += 1;
    await saveLanguageModel(folder, model);
    const file = join(folder, 'model.safetensors');
    cpSync(join(FIXTURES, 'gpt2', 'model.safetensors'), file);
    await expect(LanguageModel.load(folder)).rejects.toThrow('the weights are not those that were saved');
    await expect(saveLanguageModel(FIXTURES, model)).rejects.toThrow('which is no part of a model folder');
  });
});
