/** Literals that Python's `json` writes for numbers that are not finite, though JSON has none. */
const LITERALS: Readonly<Record<string, number>> = {
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  '-Infinity': Number.NEGATIVE_INFINITY,
};

/** Matches a string of JSON, or one of the literals outside strings. */
const STRING_OR_LITERAL = /"(?:[^"\\]|\\.)*"|(?:-?\bInfinity|\bNaN)\b(?!\s*:)/gs;

/**
 * Parses JSON in which numbers may also be `NaN`, `Infinity` and `-Infinity`, as Python writes and reads it.
 *
 * Whoever uses a number has to check that it is finite, as for `1e999`, which JSON allows.
 *
 * @throws SyntaxError of JSON.parse if the text is not JSON for another reason
 */
export function parseJsonText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    return parseWithLiterals(text) ?? rethrow(error);
  }
}

function rethrow(error: unknown): never {
  throw error;
}

/** Parses a text with literals; undefined if there are none, or the text is not JSON for another reason. */
function parseWithLiterals(text: string): unknown {
  if (!/NaN|Infinity/.test(text)) return undefined;
  // Each literal becomes a string that no string of the text equals, and afterwards the number it means.
  let mark = '\uE000';
  const unescaped = text.replace(/\\u([0-9a-f]{4})/gi, (_, hex) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  while (unescaped.includes(mark)) mark += '\uE000';
  const marked = text.replace(STRING_OR_LITERAL, (found) =>
    found.startsWith('"') ? found : JSON.stringify(mark + found),
  );
  let value: unknown;
  try {
    value = JSON.parse(marked);
  } catch {
    return undefined;
  }
  const root = { value };
  const open: object[] = [root];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const items = at as Record<string, unknown>;
    for (const key of Object.keys(items)) {
      const item = items[key];
      if (typeof item === 'string' && item.startsWith(mark)) items[key] = LITERALS[item.slice(mark.length)];
      else if (typeof item === 'object' && item !== null) open.push(item);
    }
  }
  return root.value;
}
