/** Comparison of another program's tokens with Undrift's. */
export interface TokenParity {
  /** Number of texts with equal ids. */
  readonly equal: number;
  /** Rows of texts that the other program truncates differently; their vectors are not compared. */
  readonly cut: readonly number[];
  /** Rows that differ by a sigma at the end of a word; their vectors are not compared. */
  readonly sigma: readonly number[];
  /** Rows that differ for no known reason. */
  readonly other: readonly number[];
}

/**
 * Matches a capital sigma at the end of a word. JavaScript, and so transformers.js, lower-cases it to ς;
 * Hugging Face's own tokenizers and Undrift make it σ.
 */
export const FINAL_SIGMA = /Σ(?!\p{L})/u;

/**
 * Compares token ids and separates known differences from unknown ones.
 *
 * Two differences of transformers.js are known: it truncates a long text after adding special tokens and so
 * loses the closing ones, and it lower-cases a final sigma as JavaScript does.
 *
 * @param texts  texts of all rows
 * @param theirs  ids of the other program, by row
 * @param ours  ids of Undrift for a row
 * @param closing  number of special tokens behind a text
 */
export function compareTokens(
  texts: readonly string[],
  theirs: readonly Int32Array[],
  ours: (row: number) => ArrayLike<number>,
  { maxTokens, closing }: { maxTokens: number; closing: number },
): TokenParity {
  const [cut, sigma, other]: [number[], number[], number[]] = [[], [], []];
  for (const [row, text] of texts.entries()) {
    const [a, b] = [theirs[row]!, ours(row)];
    if (a.length === b.length && a.every((id, i) => id === b[i])) continue;
    const isCut = closing > 0 && b.length === maxTokens && a.length === b.length;
    if (isCut && a.slice(0, -closing).every((id, i) => id === b[i])) cut.push(row);
    else if (FINAL_SIGMA.test(text)) sigma.push(row);
    else other.push(row);
  }
  return { equal: texts.length - cut.length - sigma.length - other.length, cut, sigma, other };
}
