import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../../test/run-command.ts';
import { runUndrift } from '../../test/run-undrift.ts';
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

  it('takes several stop strings, with escapes', async () => {
    const flags = { model: MODEL, tokens: '12', stop: '\\n,\\,,pm', threads: '1' };
    const { json } = await runCommand(generateCommand, flags, ['helLo']);
    expect(json).toMatchObject({ text: 'helLooKKKKKKKK', continuation: 'oKKKKKKKK', finish: 'stop' });
  });

  it('reads the text from stdin', async () => {
    const run = await runUndrift(['lm', 'generate', '--model', MODEL, '--tokens', '3', '--json', '-'], {
      input: 'helLo',
    });
    expect(JSON.parse(run.stdout).text).toBe('helLooKK');
    const streamed = await runUndrift(['lm', 'generate', '--model', MODEL, '--tokens', '3', 'helLo']);
    expect(streamed.stdout).toBe('helLooKK\n');
  });
});
