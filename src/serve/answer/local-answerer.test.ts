import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tempFiles } from '../../../test/temp-files.ts';
import { createLanguageModel } from '../../models/language/create-language-model.ts';
import { saveLanguageModel } from '../../models/language/save-language-model.ts';
import { Tokenizer } from '../../text/tokenizer.ts';
import { LocalAnswerer } from './local-answerer.ts';

const LETTERS = fileURLToPath(
  new URL('../../models/language/fixtures/causal/gpt2/tokenizer.json', import.meta.url),
);
const PASSAGES = [{ title: 'T', text: 'some text' }];

/** Folder of a tiny model with random weights, and a chat template if wanted. */
async function modelFolder(template?: string): Promise<string> {
  const folder = join(tempFiles(), 'model');
  const tokenizer = Tokenizer.fromFile(LETTERS);
  const model = createLanguageModel({
    kind: 'gpt2',
    tokenizer,
    hidden: 8,
    layers: 1,
    heads: 2,
    maxTokens: 2000,
  });
  await saveLanguageModel(folder, model);
  if (template !== undefined) writeFileSync(join(folder, 'chat_template.jinja'), template);
  return folder;
}

describe('LocalAnswerer', () => {
  let answerer: LocalAnswerer;
  beforeAll(async () => {
    const template = '{% for message in messages %}{{ message.content }}{% endfor %}';
    answerer = await LocalAnswerer.start(await modelFolder(template), { threads: 1 });
  });
  afterAll(() => answerer.close());

  async function answer(question: string, signal = new AbortController().signal) {
    let text = '';
    let isCut = false;
    for await (const part of answerer.answer(question, PASSAGES, signal)) {
      text += part.text;
      isCut ||= part.isCut ?? false;
    }
    return { text, isCut };
  }

  it('answers several questions at once, each by itself, while this thread goes on', async () => {
    let turns = 0;
    const timer = setInterval(() => {
      turns += 1;
    }, 1);
    const [a, b, again] = await Promise.all(['what', 'why', 'what'].map((question) => answer(question)));
    clearInterval(timer);
    expect(a!.text.length).toBeGreaterThan(0);
    expect(again).toEqual(a);
    expect(typeof b!.isCut).toBe('boolean');
    expect(turns).toBeGreaterThan(3);
  });

  it('stops when its reader leaves, and answers the next', async () => {
    const leaving = new AbortController();
    const parts = answerer.answer('what', PASSAGES, leaving.signal);
    await parts.next();
    leaving.abort();
    await expect(parts.next()).rejects.toThrow(/abort/);
    expect((await answer('why')).text.length).toBeGreaterThan(0);
    await expect(answer('why', leaving.signal)).rejects.toThrow(/abort/);
  });
});

describe('a model that cannot answer', () => {
  it('without a chat template is refused at the start, with the remedy', async () => {
    await expect(LocalAnswerer.start(await modelFolder())).rejects.toThrow(
      /has no chat template[\s\S]*chat_template\.jinja/,
    );
  });

  it('of a damaged template or folder is refused at the start', async () => {
    await expect(LocalAnswerer.start(await modelFolder('{% for %}'))).rejects.toThrow(
      'the chat template fails',
    );
    await expect(LocalAnswerer.start(tempFiles())).rejects.toThrow('answerModel');
  });
});
