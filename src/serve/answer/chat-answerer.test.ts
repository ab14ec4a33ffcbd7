import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type FakeChatService, fakeChatService } from '../../../test/fake-chat-service.ts';
import { answererOf } from './answer-options.ts';
import { citedIn, questionText } from './answerer.ts';
import { ChatAnswerer, type ChatAnswererOptions } from './chat-answerer.ts';

const PASSAGES = [
  { title: 'fs', text: 'opens a file' },
  { title: '', text: 'joins paths' },
];
let service: FakeChatService;
beforeAll(async () => {
  service = await fakeChatService();
});
afterAll(() => service?.close());

async function answer(
  model: string,
  options: Partial<ChatAnswererOptions> = {},
  signal = new AbortController().signal,
) {
  const answerer = new ChatAnswerer({ url: service.url, model, ...options });
  let text = '';
  let isCut = false;
  for await (const part of answerer.answer('what?', PASSAGES, signal)) {
    text += part.text;
    isCut ||= part.isCut === true;
  }
  return { text, isCut };
}

describe('the language model of a chat service', () => {
  it('gets numbered passages and the key, and its parts are passed on', async () => {
    expect(await answer('cites', { key: 'secret' })).toEqual({
      text: 'It opens a file [1] — and söme [7].',
      isCut: false,
    });
    const { path, authorization, body } = service.requests.at(-1)!;
    expect([path, authorization]).toEqual(['/v1/chat/completions', 'Bearer secret']);
    expect(body).toMatchObject({
      model: 'cites',
      stream: true,
      messages: [{ role: 'system' }, { role: 'user' }],
    });
    expect(body.messages[1]!.content).toBe(
      'Passages:\n\n[1] fs\nopens a file\n\n[2] joins paths\n\nQuestion: what?',
    );
  });

  it('may answer at once, and be cut', async () => {
    expect(await answer('whole', { url: `${service.url}/` })).toEqual({ text: 'At once [2].', isCut: true });
    expect(service.requests.at(-1)!.authorization).toBeUndefined();
    const { text, isCut } = await answer('endless');
    expect(isCut).toBe(true);
    expect(text.length).toBeLessThan(21_000);
  });

  it.each([
    ['silent', /silent has sent nothing for 0.05 s/, { firstMs: 50 }],
    ['stalls', /stalls has sent nothing for 0.05 s/, { nextMs: 50 }],
    ['breaks', /the language model breaks failed/, {}],
    ['fails', /failed: the GPU is on fire/, {}],
    ['garbage', /the language model garbage failed: /, {}],
    ['denied', /status 401: wrong key\n {2}help: .*UNDRIFT_ANSWER_KEY/, {}],
    ['unknown', /status 404: model unknown not found\n {2}help: .*--answer-url/, {}],
    [
      'cites',
      /failed: .*ECONNREFUSED[\s\S]*help: look whether the service/,
      { url: 'http://127.0.0.1:2/v1' },
    ],
  ])('that is %s gives an error that says so', async (model, message, options) => {
    await expect(answer(model, options)).rejects.toThrow(message);
  });

  it('is left when its reader leaves', async () => {
    const leaving = new AbortController();
    const answered = answer('stalls', {}, leaving.signal);
    setTimeout(() => leaving.abort(), 50);
    await expect(answered).rejects.toThrow(/abort/);
    await service.left;
  });
});

describe('options of answers', () => {
  it('name a service and a model, or neither', async () => {
    const of = (answerUrl?: string, answerModel?: string) =>
      answererOf({ answerUrl, answerModel }, undefined);
    expect(await of()).toBeUndefined();
    expect(await of('http://localhost:1/v1', 'm')).toMatchObject({ name: 'm' });
    await expect(of('http://localhost:1/v1')).rejects.toThrow(/answerUrl needs answerModel/);
    await expect(of(undefined, 'm')).rejects.toThrow(/answerModel m: no such folder/);
    await expect(of('localhost:1', 'm')).rejects.toThrow(/must be an address that begins with http/);
    await expect(of('https://me:secret@host/v1', 'm')).rejects.toThrow(/contains a password/);
  });
});

it('citations are numbers of passages, each once', () => {
  expect(citedIn('x [2][1], y [1, 3] and [9] or [0], [a] arr[2]', 3)).toEqual([2, 1, 3]);
});

it('a long passage is cut before it is shown to a model', () => {
  expect(questionText('q', [{ title: '', text: 'a'.repeat(9000) }]).length).toBeLessThan(2100);
});
