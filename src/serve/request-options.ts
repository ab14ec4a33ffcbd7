import type { OptionSpec, OptionTable } from '../util/option-table.ts';

/** Body of a search. */
export const SEARCH_BODY = {
  query: { type: 'text', nonEmpty: true, required: true, help: 'text to search for' },
  space: {
    type: 'text',
    nonEmpty: true,
    help: 'id of the embedding space to search in, from /status (default: the current one)',
  },
  topK: { type: 'integer', min: 1, max: 1000, default: 10, help: 'passages to find' },
  mode: {
    type: 'choice',
    choices: ['dense', 'bm25', 'hybrid'],
    default: 'hybrid',
    help: 'by vectors, by words, or by both',
  },
  filter: { type: 'list', help: 'conditions on the fields of passages, such as "year>=2020"' },
  denseWeight: {
    type: 'number',
    min: 0,
    max: 1,
    help: 'hybrid: weight of the vectors (default: fusion by ranks)',
  },
  minScore: { type: 'number', help: 'dense and bm25: smallest score of a passage that is found' },
  approximate: { type: 'switch', default: false, help: 'search the vectors approximately' },
  rerank: {
    type: 'switch',
    default: false,
    help: 'rerank what was found by the cross-encoder of the server (undrift serve --rerank)',
  },
} as const satisfies OptionTable;

const { space: _space, rerank: _rerank, ...SHARD_SEARCH } = SEARCH_BODY;
/** Body of a search over the shards of a cluster, which have one space and no cross-encoder. */
export const CLUSTER_SEARCH_BODY = SHARD_SEARCH;

/** Body of a question. */
export const ANSWER_BODY = {
  ...SEARCH_BODY,
  query: { ...SEARCH_BODY.query, help: 'question to answer' },
  topK: { ...SEARCH_BODY.topK, max: 20, default: 5, help: 'passages to answer from' },
} as const satisfies OptionTable;

/** Body of an embedding. */
export const EMBED_BODY = {
  texts: { type: 'list', required: true, help: 'texts to embed' },
  space: { type: 'text', nonEmpty: true, help: 'id of the embedding space (default: the current one)' },
  side: {
    type: 'choice',
    choices: ['query', 'document'],
    default: 'document',
    help: 'embed as queries or as documents',
  },
} as const satisfies OptionTable;

/** Body of a removal. */
export const REMOVE_BODY = {
  ids: { type: 'list', required: true, help: 'ids of the passages to remove' },
} as const satisfies OptionTable;

/** Makes the JSON schema of a body. */
export function bodySchema(table: OptionTable): Record<string, unknown> {
  const required = Object.entries(table).filter(([, spec]) => spec.required);
  return {
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries(Object.entries(table).map(([name, spec]) => [name, schemaOf(spec)])),
    ...(required.length > 0 && { required: required.map(([name]) => name) }),
  };
}

function schemaOf(spec: OptionSpec): Record<string, unknown> {
  const { help: description, default: value } = spec;
  const common = { description, ...(value !== undefined && { default: value }) };
  switch (spec.type) {
    case 'integer':
    case 'number':
      return {
        ...common,
        type: spec.type,
        ...(spec.min !== undefined && { minimum: spec.min }),
        ...(spec.max !== undefined && { maximum: spec.max }),
      };
    case 'switch':
      return { ...common, type: 'boolean' };
    case 'choice':
      return { ...common, type: 'string', enum: spec.choices };
    case 'list':
      return { ...common, type: 'array', items: { type: 'string' } };
    case 'numbers':
      return { ...common, type: 'array', items: { type: 'number' } };
    case 'map':
      return { ...common, type: 'object', additionalProperties: { type: 'string' } };
    case 'text':
      return { ...common, type: 'string', ...(spec.nonEmpty && { minLength: 1 }) };
  }
}
