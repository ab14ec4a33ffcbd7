import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chatPrompt } from './chat-template.ts';
import { LanguageModel } from './language-model.ts';

const FIXTURE = fileURLToPath(new URL('fixtures/causal/gpt2', import.meta.url));

/** A template of the usual kind: roles around the messages, and the beginning of an answer. */
const TEMPLATE =
  "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}S{% elif message.role == 'user' %}U{% else %}A{% endif %}" +
  '{{ message.content | trim }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}A{% endif %}';

describe('chatPrompt', () => {
  let model: LanguageModel;
  beforeAll(async () => {
    model = await LanguageModel.load(FIXTURE);
  });
  afterAll(() => model.dispose());
  const withSettings = (settings: LanguageModel['settings']) => ({ tokenizer: model.tokenizer, settings });

  test('renders the messages, with special tokens as ids and none added', () => {
    const settings = {
      chatTemplate: TEMPLATE,
      tokenizerConfig: { bos_token: '<s>', eos_token: { content: '</s>' } },
    };
    const ids = chatPrompt(withSettings(settings), [
      { role: 'system', content: 'be' },
      { role: 'user', content: ' hi ' },
      { role: 'assistant', content: 'yo' },
      { role: 'user', content: 'x' },
    ]);
    const letters = (text: string) => [...model.tokenizer.encodeRaw(text)];
    expect([...ids]).toEqual([
      0,
      ...letters('Sbe'),
      1,
      ...letters('Uhi'),
      1,
      ...letters('Ayo'),
      1,
      ...letters('Ux'),
      1,
      ...letters('A'),
    ]);
  });

  test('a template given takes the place of the model’s', () => {
    const ids = chatPrompt(withSettings({ chatTemplate: TEMPLATE }), [{ role: 'user', content: 'ab' }], {
      template: '{{ messages[0].content }}c',
    });
    expect(model.tokenizer.decode(ids)).toBe('abc');
  });

  test('says that there is no template, and what to do', () => {
    expect(() => chatPrompt(withSettings({}), [])).toThrow(
      /the model has no chat template[\s\S]*chatTemplate/,
    );
  });

  test('gives the reason of a template that refuses, and of a damaged one', () => {
    const run = (template: string) => () =>
      chatPrompt(withSettings({}), [{ role: 'user', content: 'a' }], { template, source: 'my.jinja' });
    expect(run("{{ raise_exception('System role not supported') }}")).toThrow(
      /my\.jinja[\s\S]*the chat template fails: System role not supported/,
    );
    expect(run('{% for %}')).toThrow('the chat template fails: ');
  });
});
