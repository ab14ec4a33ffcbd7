import type { PassageInput } from '../store/passage-input.ts';
import { UsageError } from '../util/errors.ts';
import { isObject, type Json } from '../util/json-objects.ts';

/** Passages of one upsert at most. */
const MOST_PASSAGES = 10_000;

/** JSON schema of a body with passages. */
export const PASSAGES_SCHEMA = {
  type: 'object',
  additionalProperties: false,
  required: ['passages'],
  properties: {
    passages: {
      type: 'array',
      maxItems: MOST_PASSAGES,
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['id', 'text'],
        properties: {
          id: { type: 'string', minLength: 1 },
          title: { type: 'string' },
          text: { type: 'string' },
          metadata: { type: 'object', description: 'further fields, for filters' },
        },
      },
    },
  },
};

/**
 * Reads passages from a body.
 *
 * @throws UsageError that names the passage and the field
 */
export function passagesIn({ passages, ...others }: Json): PassageInput[] {
  const [other] = Object.keys(others);
  if (other !== undefined) throw new UsageError(`unknown field "${other}"`, { help: 'known: passages' });
  if (!Array.isArray(passages)) throw new UsageError('"passages" must be a list');
  if (passages.length > MOST_PASSAGES) {
    throw new UsageError(`"passages" has ${passages.length} items, more than ${MOST_PASSAGES}`, {
      help: 'send them in several requests, or use undrift index',
    });
  }
  return passages.map((found: unknown, i) => {
    const fail = (message: string): never => {
      throw new UsageError(`passages[${i}]: ${message}`);
    };
    if (!isObject(found)) return fail('should be an object');
    const { id, title, text, metadata, ...rest } = found;
    const [unknown] = Object.keys(rest);
    if (unknown !== undefined) fail(`unknown field "${unknown}"; known: id, title, text, metadata`);
    if (typeof id !== 'string' || id === '') return fail('"id" must be a text that is not empty');
    if (typeof text !== 'string') return fail('"text" must be a text');
    if (title !== undefined && typeof title !== 'string') return fail('"title" must be a text');
    if (metadata !== undefined && metadata !== null && !isObject(metadata))
      return fail('"metadata" must be an object');
    return { id, title: title as string | undefined, text, metadata: metadata as Json | undefined };
  });
}
