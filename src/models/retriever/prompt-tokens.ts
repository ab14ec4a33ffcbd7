import type { Tokenizer } from '../../text/tokenizer.ts';

/**
 * Counts the tokens that a prompt puts at the beginning of a text, as sentence-transformers does for poolings
 * without the prompt: the tokens of the prompt alone, with the special tokens around it, less a special token at the
 * end.
 *
 * @param maxTokens  longest text, in tokens
 */
export function promptTokens(tokenizer: Tokenizer, prompt: string, maxTokens: number): number {
  const ids = tokenizer.encode(prompt, maxTokens);
  const special = new Set<number | undefined>([
    ...Object.values(tokenizer.specialIds),
    ...tokenizer.wrapper.after,
  ]);
  return special.has(ids.at(-1)) ? ids.length - 1 : ids.length;
}
