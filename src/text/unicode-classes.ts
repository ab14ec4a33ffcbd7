import {
  ALSO_MARK,
  ALSO_NONSPACING_MARK,
  ALSO_PUNCTUATION,
  NOT_CONTROL,
  NOT_MARK,
  NOT_NONSPACING_MARK,
  NOT_PUNCTUATION,
} from './unicode-exceptions.ts';

/**
 * @file Classes of characters as Hugging Face's library understands them, in the syntax of regular expressions with flag `v`. Its
 * tables are older than Node's, and the exceptions make up for that.
 */

/** Unicode's spaces: U+0085 is one, U+FEFF is not, other than in ECMAScript's `\s`. */
export const SPACE = '\\p{White_Space}';
/** Letters, marks, digits and connectors, the `\w` of Rust. */
export const WORD = '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u200c\\u200d]';
/** Unicode's punctuation and all ASCII signs. */
export const PUNCTUATION = `[[\\p{P}\\u0021-\\u002f\\u003a-\\u0040\\u005b-\\u0060\\u007b-\\u007e${ALSO_PUNCTUATION}]--[${NOT_PUNCTUATION}]]`;
/** Combining marks that StripAccents removes. */
export const MARK = `[[\\p{M}${ALSO_MARK}]--[${NOT_MARK}]]`;
/** Combining marks that BertNormalizer removes. */
export const NONSPACING_MARK = `[[\\p{Mn}${ALSO_NONSPACING_MARK}]--[${NOT_NONSPACING_MARK}]]`;
/** Characters that BertNormalizer removes before anything else. */
export const CONTROL = `[[\\p{Cc}\\p{Cf}\\p{Co}\\ufffd]--[\\t\\n\\r${NOT_CONTROL}]]`;
/** Ideographs that BertNormalizer sets apart, in the ranges of BERT's original code with one slip of the library kept. */
export const IDEOGRAPH =
  '[\\u4e00-\\u9fff\\u3400-\\u4dbf\\u{20000}-\\u{2a6df}\\u{2a700}-\\u{2b73f}\\u{2b740}-\\u{2b81f}\\u{2b920}-\\u{2ceaf}\\uf900-\\ufaff\\u{2f800}-\\u{2fa1f}]';
