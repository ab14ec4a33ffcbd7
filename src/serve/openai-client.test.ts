import { join } from 'node:path';
import OpenAI, { APIError, AuthenticationError, BadRequestError, NotFoundError } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { loadRetriever } from '../models/folder/model-folder.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { indexPassages } from '../store/index-passages.ts';
import { Store } from '../store/store.ts';
import { type RunningServer, serveStore } from './server.ts';

const TEXTS = ['opens a file', 'reads an array of bytes'];
let server: RunningServer;
let stored: Retriever;
let client: OpenAI;

beforeAll(async () => {
  const folder = join(tempFiles(), 'store');
  const retriever = smallRetriever({ kind: 'static' });
  const store = await Store.open(folder, { create: { language: 'any', stem: false, stopWords: false } });
  await indexPassages(store, retriever, [{ id: 'a', text: 'opens a file' }], { model: 'small', threads: 1 });
  await store.close();
  stored = await loadRetriever(join(folder, 'encoders', embeddingSpaceId(retriever)));
  server = await serveStore(folder, { port: 0, threads: 1, token: 'secret', readOnly: true });
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'secret', maxRetries: 0 });
}, 60_000);
afterAll(() => server?.close());

const model = 'small';
const vectorsOf = async (texts: readonly string[]) => {
  const vectors = await stored.encode('document', texts, { threads: 1 });
  return texts.map((_, i) => Array.from(vectors.subarray(i * 32, (i + 1) * 32)));
};

describe('the official client of the OpenAI API', () => {
  it('gets embeddings as numbers and, as it does by default, in base64', async () => {
    const expected = await vectorsOf(TEXTS);
    for (const format of [undefined, 'float', 'base64'] as const) {
      const { object, data, usage, ...answer } = await client.embeddings.create({
        input: TEXTS,
        model,
        ...(format && { encoding_format: format }),
      });
      expect([object, answer.model]).toEqual(['list', model]);
      expect(data.map(({ index }) => index)).toEqual([0, 1]);
      // The client decodes base64 unless it was asked for.
      const found = data.map(({ embedding }) =>
        typeof embedding === 'string'
          ? Array.from(new Float32Array(new Uint8Array(Buffer.from(embedding, 'base64')).buffer))
          : embedding,
      );
      expect(found).toEqual(expected);
      const tokens = stored.tokenize('document', 2, (row) => TEXTS[row]!).totalTokens;
      expect(usage).toEqual({ prompt_tokens: tokens, total_tokens: tokens });
    }
    const one = await client.embeddings.create({ input: TEXTS[1]!, model, dimensions: 32, user: 'me' });
    expect(one.data.map(({ embedding }) => embedding)).toEqual(await vectorsOf([TEXTS[1]!]));
  });

  it('lists the models', async () => {
    const models = [];
    for await (const each of client.models.list()) models.push(each);
    expect(models).toEqual([
      { id: model, object: 'model', created: expect.any(Number), owned_by: 'undrift' },
    ]);
    expect(models[0]!.created).toBeGreaterThan(1.7e9);
  });

  it.each([
    [
      'token ids',
      { input: [1, 2, 3] },
      'input',
      /has token ids, which belong to the tokenizer of another model/,
    ],
    ['lists of token ids', { input: [[1, 2], [3]] }, 'input', /has token ids/],
    ['an empty list', { input: [] }, 'input', /"input" is empty/],
    ['an empty text', { input: ['x', ''] }, 'input[1]', /"input\[1\]" is empty/],
    ['too many texts', { input: Array(2049).fill('x') }, 'input', /has 2049 texts, more than 2048/],
    ['other dimensions', { input: 'x', dimensions: 16 }, 'dimensions', /is 16, vectors of small have 32/],
    [
      'a wrong format',
      { input: 'x', encoding_format: 'int8' },
      'encoding_format',
      /must be "float" or "base64"/,
    ],
    ['an unknown field', { input: 'x', dimension: 32 }, 'dimension', /is not a field of this route/],
  ])('gets an error of its own for %s', async (_, given, param, message) => {
    const body = { model, ...given } as OpenAI.EmbeddingCreateParams;
    const error = await client.embeddings.create(body).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(BadRequestError);
    expect(error).toMatchObject({ status: 400, param, type: 'invalid_request_error' });
    expect(error.message).toMatch(message);
  });

  it('gets errors of their own for an unknown model, a wrong key, and an unknown route', async () => {
    const unknown = await client.embeddings.create({ input: 'x', model: 'gpt' }).catch((thrown) => thrown);
    expect(unknown).toBeInstanceOf(NotFoundError);
    expect(unknown).toMatchObject({ code: 'model_not_found', param: 'model' });
    expect(unknown.message).toMatch(/"gpt" is not served/);
    const other = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'wrong', maxRetries: 0 });
    const denied = await other.embeddings.create({ input: 'x', model }).catch((thrown) => thrown);
    expect(denied).toBeInstanceOf(AuthenticationError);
    expect(denied).toMatchObject({ code: 'invalid_api_key', type: 'authentication_error' });
    const chat = await client.chat.completions.create({ model, messages: [] }).catch((thrown) => thrown);
    expect(chat).toBeInstanceOf(APIError);
    expect(chat.status).toBe(404);
    expect(chat.message).toMatch(/no route POST \/v1\/chat\/completions/);
  });
});
