import type { TokenStore } from '../text/token-store.ts';
import type { SpecialIds } from '../text/tokenizer.ts';
import { count } from '../util/format.ts';

/** Share of the texts of a side from which a note is given. */
const SHARE = 0.05;

/**
 * Returns a note where many texts consist of unknown tokens alone, so that a model cannot tell them apart; undefined elsewhere.
 *
 * @param nouns  noun of the texts, in the plural
 * @param specialIds  special tokens of the tokenizer
 */
export function unknownTextsNote(
  nouns: string,
  tokens: TokenStore,
  specialIds: SpecialIds,
): string | undefined {
  const { unk, ...others } = specialIds;
  if (unk === undefined || tokens.rows === 0) return undefined;
  const special = new Set(Object.values(others));
  let found = 0;
  for (let row = 0; row < tokens.rows; row++) {
    const content = tokens.tokens(row).filter((id) => !special.has(id));
    if (content.length > 0 && content.every((id) => id === unk)) found++;
  }
  if (found < SHARE * tokens.rows) return undefined;
  return (
    `${count(found)} of ${count(tokens.rows)} ${nouns} consist of unknown tokens alone, and the model cannot tell them apart: ` +
    'its tokenizer does not know their words or their script; take a model whose tokenizer does'
  );
}
