/**
 * @file Components and fields of a `tokenizer.json` that can be loaded, with the check of each field.
 */
import { isObject } from '../util/json-objects.ts';

/** Checks one value: returns undefined if it is valid, otherwise a description of the expected value. */
export type Check = (value: unknown) => string | undefined;

const boolean: Check = (value) => (typeof value === 'boolean' ? undefined : 'true or false');
const string: Check = (value) => (typeof value === 'string' ? undefined : 'a string');
const nonEmptyString: Check = (value) =>
  typeof value === 'string' && value !== '' ? undefined : 'a string that is not empty';
export const id: Check = (value) => wholeNumber(value, 0, 'an id (a whole number ≥ 0)');
const count: Check = (value) => wholeNumber(value, 0, 'a whole number ≥ 0');
const positiveCount: Check = (value) => wholeNumber(value, 1, 'a whole number ≥ 1');
/** Limits texts that are put into every text of a user. */
const shortText: Check = (value) =>
  typeof value === 'string' && value.length <= 1000 ? undefined : 'a string of at most 1,000 characters';
const character: Check = (value) =>
  typeof value === 'string' && [...value].length === 1 ? undefined : 'a single character';
const behavior = oneOf('Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous');
const tokenAndId: Check = (value) =>
  Array.isArray(value) && value.length === 2 && string(value[0]) === undefined && id(value[1]) === undefined
    ? undefined
    : 'a pair [token, id]';
const pattern: Check = (value) =>
  isObject(value) &&
  (value.String === undefined) !== (value.Regex === undefined) &&
  nonEmptyString(value.String ?? value.Regex) === undefined
    ? undefined
    : '{"String": …} or {"Regex": …} with a text that is not empty';
const object: Check = (value) => (isObject(value) ? undefined : 'an object');
const array: Check = (value) => (Array.isArray(value) ? undefined : 'a list');

function wholeNumber(value: unknown, least: number, expected: string): string | undefined {
  return Number.isSafeInteger(value) && (value as number) >= least ? undefined : expected;
}

function optional(check: Check): Check {
  return (value) => (value === undefined || value === null ? undefined : check(value));
}

function oneOf(...values: unknown[]): Check {
  const expected = values.map((v) => JSON.stringify(v)).join(', ');
  return (value) =>
    values.includes(value) ? undefined : values.length > 1 ? `one of ${expected}` : expected;
}

export interface ComponentSpec {
  fields?: Record<string, Check>;
  /** Field with a list of further components of the same kind. */
  list?: string;
}

/**
 * Components known to give the ids of Hugging Face's library. Files with other components are refused,
 * because a tokenizer that differs a little is worse than none.
 */
export const NORMALIZERS: Record<string, ComponentSpec> = {
  BertNormalizer: {
    fields: {
      clean_text: boolean,
      handle_chinese_chars: boolean,
      strip_accents: optional(boolean),
      lowercase: boolean,
    },
  },
  ByteLevel: {},
  Lowercase: {},
  NFC: {},
  NFD: {},
  NFKC: {},
  NFKD: {},
  Nmt: {},
  Precompiled: { fields: { precompiled_charsmap: optional(string) } },
  Prepend: { fields: { prepend: shortText } },
  Replace: { fields: { pattern, content: shortText } },
  Sequence: { list: 'normalizers' },
  Strip: { fields: { strip_left: boolean, strip_right: boolean } },
  StripAccents: {},
};

export const PRE_TOKENIZERS: Record<string, ComponentSpec> = {
  BertPreTokenizer: {},
  ByteLevel: {
    fields: { add_prefix_space: boolean, trim_offsets: optional(boolean), use_regex: optional(boolean) },
  },
  CharDelimiterSplit: { fields: { delimiter: character } },
  Digits: { fields: { individual_digits: boolean } },
  FixedLength: { fields: { length: optional(positiveCount) } },
  Metaspace: {
    fields: {
      replacement: character,
      prepend_scheme: optional(oneOf('always', 'first', 'never')),
      add_prefix_space: optional(boolean),
      split: optional(boolean),
    },
  },
  Punctuation: { fields: { behavior: optional(behavior) } },
  Sequence: { list: 'pretokenizers' },
  Split: { fields: { pattern, behavior, invert: boolean } },
  Whitespace: {},
  WhitespaceSplit: {},
};

export const POST_PROCESSORS: Record<string, ComponentSpec> = {
  BertProcessing: { fields: { sep: tokenAndId, cls: tokenAndId } },
  ByteLevel: {},
  RobertaProcessing: { fields: { sep: tokenAndId, cls: tokenAndId } },
  Sequence: { list: 'processors' },
  TemplateProcessing: { fields: { single: array, pair: array, special_tokens: object } },
};

export const DECODERS: Record<string, ComponentSpec> = {
  BPEDecoder: { fields: { suffix: string } },
  ByteFallback: {},
  ByteLevel: {},
  CTC: { fields: { pad_token: string, word_delimiter_token: string, cleanup: boolean } },
  Fuse: {},
  Metaspace: {
    fields: { replacement: character, prepend_scheme: optional(oneOf('always', 'first', 'never')) },
  },
  Replace: { fields: { pattern, content: string } },
  Sequence: { list: 'decoders' },
  Strip: { fields: { content: character, start: count, stop: count } },
  WordPiece: { fields: { prefix: string, cleanup: boolean } },
};

export const ADDED_TOKEN_FIELDS: Record<string, Check> = {
  id,
  content: nonEmptyString,
  single_word: optional(boolean),
  lstrip: optional(boolean),
  rstrip: optional(boolean),
  normalized: optional(boolean),
  special: optional(boolean),
};

/** Limits the word length: encoding takes time cubic in it, and a damaged file must not hang the program. */
const wordLimit: Check = (value) =>
  count(value) === undefined && (value as number) <= 1000 ? undefined : 'a whole number from 0 to 1,000';

export const WORDPIECE_FIELDS: Record<string, Check> = {
  unk_token: string,
  continuing_subword_prefix: string,
  max_input_chars_per_word: wordLimit,
  vocab: object,
};

export const BPE_FIELDS: Record<string, Check> = {
  unk_token: optional(string),
  continuing_subword_prefix: optional(string),
  end_of_word_suffix: optional(string),
  fuse_unk: optional(boolean),
  byte_fallback: optional(boolean),
  ignore_merges: optional(boolean),
  dropout: optional(oneOf(0)),
  vocab: object,
  merges: array,
};

export const UNIGRAM_FIELDS: Record<string, Check> = {
  unk_id: optional(id),
  byte_fallback: optional(boolean),
  vocab: array,
};

export const WORD_LEVEL_FIELDS: Record<string, Check> = { unk_token: string, vocab: object };

export const TRUNCATION_FIELDS: Record<string, Check> = { direction: optional(oneOf('Left', 'Right')) };

/** Fields of a Metaspace with `add_prefix_space: false`, the older word for the scheme `never`. */
export const METASPACE_NEVER: Record<string, Check> = { prepend_scheme: oneOf('never') };
