import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../../test/run-command.ts';
import { runUndrift, spawnUndrift } from '../../test/run-undrift.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { generateCommand } from './lm-generate.ts';

const MODEL = fileURLToPath(new URL('../models/language/fixtures/causal/gpt2', import.meta.url));

describe('undrift lm generate', () => {
  it('prints the text with its continuation, and the same with --json', async () => {
    const flags = { model: MODEL, tokens: '4', threads: '1' };
    const { json, text, streamed } = await runCommand(generateCommand, flags, ['hel', 'Lo']);
    expect(json).toMatchObject({ tokens: 4, finish: 'tokens' });
    expect(streamed).toBe(json.text);
    expect(json.text).toBe(`hel Lo${json.continuation}`);
    expect(text).toBe('\n');
  });

  it('reads special tokens in the text as such only with --special-tokens', async () => {
    const continuation = async (text: string, flags: Record<string, string> = {}) =>
      (await runCommand(generateCommand, { model: MODEL, tokens: '8', threads: '1', ...flags }, [text])).json
        .continuation;
    // The fixture has no token for the signs, so that the ordinary text is one letter.
    const ordinary = await continuation('k</s>mm');
    expect(ordinary).toBe(await continuation('ksmm'));
    expect(await continuation('k</s>mm', { specialTokens: 'true' })).not.toBe(ordinary);
    await expect(
      runCommand(generateCommand, { model: MODEL, chat: 'true', specialTokens: 'true' }, ['x']),
    ).rejects.toThrow('--special-tokens has no meaning with --chat');
  });

  it('takes several stop strings, with escapes', async () => {
    const flags = { model: MODEL, tokens: '12', stop: '\\n,\\,,pm', threads: '1' };
    const { json } = await runCommand(generateCommand, flags, ['helLo']);
    expect(json).toMatchObject({ text: 'helLooKKKKKKKK', continuation: 'oKKKKKKKK', finish: 'stop' });
  });

  it('reads the text from stdin', async () => {
    const run = await spawnUndrift(['lm', 'generate', '--model', MODEL, '--tokens', '3', '--json', '-'], {
      input: 'helLo',
    });
    expect(JSON.parse(run.stdout).text).toBe('helLooKK');
    const streamed = await runUndrift(['lm', 'generate', '--model', MODEL, '--tokens', '3', 'helLo']);
    expect(streamed.stdout).toBe('helLooKK\n');
  });
});

describe('undrift lm generate --chat', () => {
  const flags = { model: MODEL, tokens: '4', threads: '1', chat: 'true' };

  it('prints the answer alone, by the template given', async () => {
    const folder = tempFiles();
    const chatTemplate = join(folder, 'template.jinja');
    writeFileSync(chatTemplate, '{{ messages[0].content }}L{{ messages[-1].content }}');
    const { json, streamed } = await runCommand(generateCommand, { ...flags, chatTemplate, system: 'he' }, [
      'lLo',
    ]);
    const plain = await runCommand(generateCommand, { model: MODEL, tokens: '4', threads: '1' }, ['heLlLo']);
    // The beginning of the fixture's texts, <s>, is left to the template.
    expect(json.promptTokens).toBe((plain.json.promptTokens as number) - 1);
    expect(json.text).toBe(json.continuation);
    expect(streamed).toBe(json.text);
  });

  it('a model without a template is refused, with the remedy', async () => {
    await expect(runCommand(generateCommand, flags, ['x'])).rejects.toThrow(
      /no chat template[\s\S]*chatTemplate/,
    );
    await expect(runCommand(generateCommand, { model: MODEL, system: 'be kind' }, ['x'])).rejects.toThrow(
      '--system has no meaning without --chat',
    );
  });
});

describe('undrift lm generate with passages', () => {
  const documents = (texts: readonly string[]) => {
    const file = join(tempFiles(), 'documents.jsonl');
    writeFileSync(file, texts.map((text, i) => `${JSON.stringify({ _id: `d${i + 1}`, text })}\n`).join(''));
    return file;
  };
  const flags = { model: MODEL, tokens: '4', threads: '1', passages: '2' };

  it('reads the passages that BM25 finds, and says which', async () => {
    const data = documents(['fox den', 'hen', 'red fox']);
    const { json, logged, streamed } = await runCommand(generateCommand, { ...flags, data }, ['fox']);
    const passages = json.passages as { id: string; score: number; read: boolean }[];
    expect(passages.map(({ id, read }) => [id, read]).sort()).toEqual([
      ['d1', true],
      ['d3', true],
    ]);
    expect(logged.filter((line) => /^passage \d {2}\d+\.\d{4} {2}d[13]$/.test(line))).toHaveLength(2);
    // What was found is not printed with the text.
    expect(streamed.startsWith('fox')).toBe(true);
    expect(json.text).toBe(`fox${json.continuation}`);
    const alone = await runCommand(generateCommand, { model: MODEL, tokens: '4', threads: '1' }, ['fox']);
    expect(json.promptTokens).toBe((alone.json.promptTokens as number) + 'foxdenredfox'.length);
  });

  it('goes on where no passage is found, with a note', async () => {
    const { json, logged } = await runCommand(generateCommand, { ...flags, data: documents(['hen']) }, [
      'fox',
    ]);
    expect(json.passages).toEqual([]);
    expect(logged).toContain('note: no passage was found; the text is read alone');
  });

  it.each<[string, Record<string, string>, string | RegExp]>([
    ['passages without a source', {}, '--passages has no meaning for a text without --data or --store'],
    ['two sources', { data: 'a', store: 'b' }, '--data and --store exclude each other'],
    [
      'another model in a store',
      { store: 'b', retriever: 'runs/x' },
      'its vectors are those of its own model',
    ],
  ])('refuses %s', async (_, more, message) => {
    await expect(runCommand(generateCommand, { ...flags, ...more }, ['fox'])).rejects.toThrow(message);
  });

  it('refuses a passage that alone exceeds what the model reads', async () => {
    const data = documents([`fox ${'x'.repeat(60)}`]);
    await expect(runCommand(generateCommand, { ...flags, data }, ['fox'])).rejects.toThrow(
      /passage "d1" of 63 tokens does not fit: the model reads 32 tokens/,
    );
  });
});
