import { parseJsonText } from './json-text.ts';

/** Deepest nesting of arrays and objects that is read. Our formats and those of Hugging Face need about ten. */
const MOST_DEPTH = 200;

/** Message of the error for deeper nesting. */
export const TOO_DEEP = `nested more than ${MOST_DEPTH} levels deep`;

/**
 * Parses JSON that is not nested deeply, with numbers as Python writes them (see `parseJsonText`). Functions that walk a value recursively, such as `JSON.stringify`, would
 * overflow the stack on a value of some thousand levels.
 *
 * @throws SyntaxError if the text is not JSON, or nested more than 200 levels deep
 */
export function parseShallowJson(text: string): unknown {
  const value: unknown = parseJsonText(text);
  // Each level takes an opening and a closing bracket.
  if (text.length > 2 * MOST_DEPTH) checkDepth(value);
  return value;
}

/** @throws SyntaxError if the value is nested more than 200 levels deep */
function checkDepth(root: unknown): void {
  let level = [root];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MOST_DEPTH) throw new SyntaxError(TOO_DEEP);
    const next: unknown[] = [];
    for (const value of level) {
      if (typeof value !== 'object' || value === null) continue;
      if (!Array.isArray(value)) {
        const fields = value as Record<string, unknown>;
        for (const name in fields) {
          const field = fields[name];
          if (typeof field === 'object' && field !== null) next.push(field);
        }
      } else {
        for (const item of value) if (typeof item === 'object' && item !== null) next.push(item);
      }
    }
    level = next;
  }
}
