import { flat, type Separation } from './text-parts.ts';
import type { TokenizerJson } from './tokenizer-json.ts';
import { IDEOGRAPH } from './unicode-classes.ts';

/** Normalizers that make at least one letter of each letter, and nothing that ends a word. */
const KEEP_LETTERS = ['BertNormalizer', 'Lowercase', 'NFC', 'NFD', 'StripAccents'];
/** Length in UTF-16 units from which runs are looked for. */
const LONG_CHARS = 4096;

/**
 * Shortens the runs of letters in a text that WordPiece makes one unknown token of, because they have more characters than
 * it allows for a word. The ids stay the same, and a word of megabytes costs no more than reading it.
 */
export function shortened(json: TokenizerJson, separation: Separation, text: string): string {
  const { model, normalizer } = json;
  if (text.length < LONG_CHARS || model.type !== 'WordPiece' || separation === 'whole') return text;
  if (!flat(normalizer, 'normalizers').every(({ type }) => KEEP_LETTERS.includes(type))) return text;
  const letter = `[[\\p{L}\\p{So}]--${IDEOGRAPH}]`;
  const most = model.max_input_chars_per_word + 1;
  // The second limit keeps the stack of the regular expression small; a longer run takes more than one round.
  const run = new RegExp(`(${letter}{${most}})${letter}{1,65536}`, 'gv');
  let shorter = text.replace(run, '$1');
  for (let length = text.length; shorter.length < length; shorter = shorter.replace(run, '$1'))
    length = shorter.length;
  return shorter;
}
