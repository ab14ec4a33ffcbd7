/** How the tokens of another program compare with ours. */
export interface TokenParity {
  /** Texts whose ids are ours, one by one. */
  readonly equal: number;
  /** Rows of texts that the other program cuts in another way; their vectors are not compared. */
  readonly cut: readonly number[];
  /** Rows that part by the sigma at the end of a word; likewise. */
  readonly sigma: readonly number[];
  /** Rows that part for no known reason. */
  readonly other: readonly number[];
}

/**
 * A capital sigma that ends a word: JavaScript makes it ς where it lowers a text, and so transformers.js; Hugging Face's own tokenizers,
 * and ours, make it σ.
 */
export const FINAL_SIGMA = /Σ(?!\p{L})/u;

/**
 * Compares token ids, and tells apart what is known: transformers.js cuts a long text behind its special tokens, and so loses the closing
 * ones; and it lowers a final sigma as JavaScript does.
 *
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
