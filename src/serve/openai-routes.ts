import type { StoredSpace } from '../store/store-head.ts';
import { nearest } from '../util/nearest.ts';
import type { Embed } from './embedder.ts';
import { HttpError } from './http-error.ts';
import { type Backend, MOST_TEXTS, type Route, type RouteRequest } from './route.ts';

const EMBEDDINGS_SCHEMA = {
  type: 'object',
  additionalProperties: false,
  required: ['input'],
  properties: {
    input: {
      oneOf: [
        { type: 'string', minLength: 1 },
        { type: 'array', items: { type: 'string', minLength: 1 }, minItems: 1, maxItems: MOST_TEXTS },
      ],
    },
    model: { type: 'string', description: 'a model of GET /v1/models (default: the current one)' },
    encoding_format: { type: 'string', enum: ['float', 'base64'], default: 'float' },
    dimensions: { type: 'integer', description: 'only the dimension of the model' },
    user: { type: 'string', description: 'accepted, and not used' },
    input_type: {
      type: 'string',
      enum: ['query', 'document'],
      default: 'document',
      description: 'side as which texts are embedded; not part of the OpenAI API',
    },
  },
};

/** Makes the routes in the format of the OpenAI API. */
export function openAiRoutes({ reader }: Backend, embed: Embed): readonly Route[] {
  return [
    {
      method: 'post',
      path: '/v1/embeddings',
      summary: 'Embed texts, in the format of the OpenAI API.',
      body: EMBEDDINGS_SCHEMA,
      run: (request) => embeddings(request, reader, embed),
    },
    {
      method: 'get',
      path: '/v1/models',
      summary: 'List the models of the store, in the format of the OpenAI API.',
      async run() {
        const names = new Map<string, StoredSpace>();
        for (const space of await spacesOf(reader))
          if (!names.has(space.model)) names.set(space.model, space);
        const data = [...names].map(([id, { added }]) => ({
          id,
          object: 'model',
          created: Math.floor(added / 1000),
          owned_by: 'undrift',
        }));
        return { object: 'list', data };
      },
    },
  ];
}

/** Returns the spaces: the current one first, then the latest. */
async function spacesOf(reader: Backend['reader']): Promise<StoredSpace[]> {
  const { current, spaces } = await reader.call('spaces', {});
  const others = spaces.filter(({ id }) => id !== current).reverse();
  return [...spaces.filter(({ id }) => id === current), ...others];
}

async function embeddings({ body, signal }: RouteRequest, reader: Backend['reader'], embed: Embed) {
  const known = EMBEDDINGS_SCHEMA.properties;
  for (const name of Object.keys(body)) {
    if (name in known) continue;
    const close = nearest(name, Object.keys(known));
    throw refused(name, 'is not a field of this route', close && `did you mean "${close}"?`);
  }
  const { encoding_format: format = 'float', dimensions, input_type: side = 'document' } = body;
  const texts = textsOf(body.input);
  if (format !== 'float' && format !== 'base64') {
    throw refused('encoding_format', 'must be "float" or "base64"');
  }
  if (side !== 'query' && side !== 'document') throw refused('input_type', 'must be "query" or "document"');
  const space = await spaceOf(body.model, reader);
  if (dimensions !== undefined && dimensions !== null && dimensions !== space.dimension) {
    throw refused(
      'dimensions',
      `is ${JSON.stringify(dimensions)}, vectors of ${space.model} have ${space.dimension}`,
      'leave it out',
    );
  }
  const { vectors, dimension, tokens } = await embed({ texts, side, space: space.id }, signal);
  const data = texts.map((_, index) => {
    const vector = vectors.subarray(index * dimension, (index + 1) * dimension);
    const bytes = Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength);
    return {
      object: 'embedding',
      index,
      embedding: format === 'base64' ? bytes.toString('base64') : Array.from(vector),
    };
  });
  const total = tokens.reduce((sum, count) => sum + count, 0);
  const usage = { prompt_tokens: total, total_tokens: total };
  return { object: 'list', data, model: space.model, usage };
}

function textsOf(input: unknown): readonly string[] {
  if (input === undefined || input === null) throw refused('input', 'is missing');
  const texts = Array.isArray(input) ? input : [input];
  if (texts.length === 0) throw refused('input', 'is empty');
  if (texts.length > MOST_TEXTS) throw refused('input', `has ${texts.length} texts, more than ${MOST_TEXTS}`);
  for (const [i, text] of texts.entries()) {
    const name = Array.isArray(input) ? `input[${i}]` : 'input';
    if (typeof text === 'number' || Array.isArray(text)) {
      throw refused('input', 'has token ids, which belong to the tokenizer of another model', 'send texts');
    }
    if (typeof text !== 'string') throw refused(name, 'must be a text');
    if (text === '') throw refused(name, 'is empty');
  }
  return texts as string[];
}

/** Finds the space of a model by its name or by the id of the space. */
async function spaceOf(model: unknown, reader: Backend['reader']): Promise<StoredSpace> {
  const spaces = await spacesOf(reader);
  if (spaces.length === 0) {
    throw new HttpError(404, 'the store has no vectors yet, and so no model', { code: 'model_not_found' });
  }
  if (model === undefined || model === null) return spaces[0]!;
  const found = spaces.find((space) => space.model === model || space.id === model);
  if (found) return found;
  throw new HttpError(404, `the model ${JSON.stringify(model)} is not served`, {
    param: 'model',
    code: 'model_not_found',
    help: `served: ${[...new Set(spaces.map((space) => space.model))].join(', ')}`,
  });
}

const refused = (param: string, message: string, help?: string) =>
  new HttpError(400, `"${param}" ${message}`, { param, help });
