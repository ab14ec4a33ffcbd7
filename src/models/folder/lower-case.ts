import { Tokenizer } from '../../text/tokenizer.ts';
import { isObject } from '../../util/json-objects.ts';

/**
 * Makes a tokenizer that puts texts in lower case first, as sentence-transformers does for `do_lower_case`. Tokens
 * that are looked up before the normaliser, such as [CLS], keep their case.
 */
export function lowerCased(tokenizer: Tokenizer): Tokenizer {
  const json = tokenizer.toJson();
  const { normalizer } = json as { normalizer?: unknown };
  const steps = stepsOf(normalizer);
  if (steps.some((step) => isObject(step) && step.type === 'Lowercase')) return tokenizer;
  return Tokenizer.fromJson({
    ...json,
    normalizer: { type: 'Sequence', normalizers: [{ type: 'Lowercase' }, ...steps] },
  });
}

/** Steps of a normaliser: the members of a sequence, itself, or none. */
function stepsOf(normalizer: unknown): readonly unknown[] {
  if (normalizer === null || normalizer === undefined) return [];
  const isSequence = isObject(normalizer) && normalizer.type === 'Sequence';
  return isSequence && Array.isArray(normalizer.normalizers) ? normalizer.normalizers : [normalizer];
}
