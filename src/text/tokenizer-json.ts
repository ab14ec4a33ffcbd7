import { DataError } from '../util/errors.ts';
import { isObject } from '../util/json-objects.ts';
import {
  ADDED_TOKEN_FIELDS,
  BPE_FIELDS,
  type Check,
  type ComponentSpec,
  DECODERS,
  id,
  METASPACE_NEVER,
  NORMALIZERS,
  POST_PROCESSORS,
  PRE_TOKENIZERS,
  TRUNCATION_FIELDS,
  UNIGRAM_FIELDS,
  WORD_LEVEL_FIELDS,
  WORDPIECE_FIELDS,
} from './tokenizer-json-fields.ts';

/**
 * Normalizer, pre-tokenizer, post-processor or decoder of a `tokenizer.json`. `type` determines the other
 * fields.
 */
export interface ComponentJson {
  type: string;
  [field: string]: unknown;
}

/** Token of a `tokenizer.json` that stands outside the model's vocabulary or has a special role. */
export interface AddedTokenJson {
  id: number;
  content: string;
  single_word?: boolean;
  lstrip?: boolean;
  rstrip?: boolean;
  normalized?: boolean;
  special?: boolean;
}

/** WordPiece model of a `tokenizer.json`. */
export interface WordPieceJson {
  type: 'WordPiece';
  unk_token: string;
  continuing_subword_prefix: string;
  max_input_chars_per_word: number;
  vocab: Record<string, number>;
}

/** WordLevel model of a `tokenizer.json`: whole words alone. */
export interface WordLevelJson {
  type: 'WordLevel';
  unk_token: string;
  vocab: Record<string, number>;
}

/** Byte-pair encoding model of a `tokenizer.json`. */
export interface BpeJson {
  type: 'BPE';
  unk_token?: string | null;
  continuing_subword_prefix?: string | null;
  end_of_word_suffix?: string | null;
  fuse_unk?: boolean;
  byte_fallback?: boolean;
  ignore_merges?: boolean;
  dropout?: number | null;
  vocab: Record<string, number>;
  /** Pairs in order of rank, each "left right" or [left, right]. */
  merges: (string | [string, string])[];
}

/** Unigram model of a `tokenizer.json`. */
export interface UnigramJson {
  type: 'Unigram';
  /** Position of the unknown token; without one, texts with unknown characters cannot be tokenised. */
  unk_id?: number | null;
  byte_fallback?: boolean;
  /** Pieces with their log probabilities (natural logarithm); the id of a piece is its position. */
  vocab: [string, number][];
}

/** File format of Hugging Face's tokenizers library: the parts that Undrift reads and writes. */
export interface TokenizerJson {
  version?: string;
  /** Truncation that the file asks for; `direction` says which end of a long text is kept away from: `Right` (default) or `Left`. */
  truncation?: { direction?: unknown; [field: string]: unknown } | null;
  padding?: unknown;
  added_tokens: AddedTokenJson[];
  normalizer: ComponentJson | null;
  pre_tokenizer: ComponentJson | null;
  post_processor: ComponentJson | null;
  decoder: ComponentJson | null;
  model: WordPieceJson | WordLevelJson | BpeJson | UnigramJson;
}

/**
 * Checks, part by part, that `value` is a `tokenizer.json` that can be loaded.
 *
 * @returns the value with absent parts as null and the model's type filled in, which old files lack
 * @throws DataError that names the part, the expected value and the value found
 */
export function checkTokenizerJson(value: unknown, file: string): TokenizerJson {
  const fail = failure(file);
  if (!isObject(value)) return fail('the file', 'a JSON object', value);
  const components = {
    normalizer: checkComponent(value.normalizer, NORMALIZERS, 'normalizer', fail),
    pre_tokenizer: checkComponent(value.pre_tokenizer, PRE_TOKENIZERS, 'pre_tokenizer', fail),
    post_processor: checkComponent(value.post_processor, POST_PROCESSORS, 'post_processor', fail),
    decoder: checkComponent(value.decoder, DECODERS, 'decoder', fail),
  };
  checkCounts(components, fail);
  checkProcessors(components.post_processor, fail);
  const { truncation } = value;
  if (truncation !== undefined && truncation !== null) {
    if (!isObject(truncation)) return fail('truncation', 'an object', truncation);
    checkFields(truncation, TRUNCATION_FIELDS, 'truncation', fail);
  }
  const model = checkModel(value.model, fail);
  const addedTokens = value.added_tokens ?? [];
  if (!Array.isArray(addedTokens)) return fail('added_tokens', 'a list', addedTokens);
  if (addedTokens.length > MOST_ADDED_TOKENS) {
    fail('added_tokens', `at most ${MOST_ADDED_TOKENS} tokens`, addedTokens.length);
  }
  const ids = modelIds(model);
  let characters = 0;
  for (const [i, token] of addedTokens.entries()) {
    const at = `added_tokens[${i}]`;
    if (!isObject(token)) return fail(at, 'an object', token);
    checkFields(token, ADDED_TOKEN_FIELDS, at, fail);
    characters += (token.content as string).length;
    const known = ids.get(token.content as string);
    if (known !== undefined && known !== token.id)
      fail(`${at}.id`, `${known}, as in the vocabulary`, token.id);
    ids.set(token.content as string, token.id as number);
  }
  if (characters > MOST_ADDED_CHARS) {
    fail('added_tokens', `at most ${MOST_ADDED_CHARS} characters in all tokens together`, characters);
  }
  checkIds(ids, fail);
  return { ...value, ...components, added_tokens: addedTokens as AddedTokenJson[], model };
}

/** Maps each token of the model's own vocabulary to its id, without added tokens. */
export function modelIds(model: TokenizerJson['model']): Map<string, number> {
  if (model.type === 'Unigram') return new Map(model.vocab.map(([piece], position) => [piece, position]));
  return new Map(Object.entries(model.vocab));
}

/** Limits of a file, far above those of well-known models; a damaged or hostile one must not take all memory. */
const MOST_COMPONENTS = 256;
const MOST_WRAPPER_IDS = 256;
const MOST_ADDED_TOKENS = 300_000;
const MOST_ADDED_CHARS = 5_000_000;

type Fail = (at: string, expected: string, found: unknown) => never;

function failure(file: string): Fail {
  return (at, expected, found) => {
    throw new DataError(`${at}: expected ${expected}, found ${shown(found)}`, {
      file,
      help: "the file must be a tokenizer.json of Hugging Face's tokenizers library (WordPiece, WordLevel, BPE or Unigram)",
    });
  };
}

function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  let text: string;
  try {
    text = JSON.stringify(value);
  } catch {
    return 'something nested too deep'; // a deeply nested file overflows the stack of JSON.stringify
  }
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

function checkFields(
  value: Record<string, unknown>,
  fields: Record<string, Check>,
  at: string,
  fail: Fail,
): void {
  for (const [name, check] of Object.entries(fields)) {
    const expected = check(value[name]);
    if (expected !== undefined) fail(`${at}.${name}`, expected, value[name]);
  }
}

function checkComponent(
  value: unknown,
  specs: Record<string, ComponentSpec>,
  at: string,
  fail: Fail,
  depth = 0,
): ComponentJson | null {
  if (value === undefined || value === null) return null;
  if (depth > 8) return fail(at, 'sequences nested at most eight deep', value);
  if (!isObject(value)) return fail(at, 'an object with a type', value);
  const spec =
    typeof value.type === 'string' && Object.hasOwn(specs, value.type) ? specs[value.type] : undefined;
  if (spec === undefined) return fail(`${at}.type`, `one of ${Object.keys(specs).join(', ')}`, value.type);
  checkFields(value, spec.fields ?? {}, at, fail);
  if (spec.list !== undefined) {
    const parts = value[spec.list];
    if (!Array.isArray(parts)) return fail(`${at}.${spec.list}`, 'a list', parts);
    if (parts.length > MOST_COMPONENTS) {
      fail(`${at}.${spec.list}`, `at most ${MOST_COMPONENTS} components`, parts.length);
    }
    for (const [i, part] of parts.entries()) {
      if (checkComponent(part, specs, `${at}.${spec.list}[${i}]`, fail, depth + 1) === null) {
        fail(`${at}.${spec.list}[${i}]`, 'an object with a type', part);
      }
    }
  }
  if (value.type === 'TemplateProcessing') checkTemplate(value, at, fail);
  if (value.type === 'Metaspace' && value.add_prefix_space === false && value.prepend_scheme !== undefined) {
    checkFields(value, METASPACE_NEVER, at, fail);
  }
  return value as ComponentJson;
}

/** Refuses what Hugging Face's library does not do or does piece by piece: special tokens around the pieces of a template. */
function checkProcessors(component: ComponentJson | null, fail: Fail): void {
  const flat = (part: ComponentJson): ComponentJson[] =>
    part.type === 'Sequence' ? (part.processors as ComponentJson[]).flatMap(flat) : [part];
  const parts = component === null ? [] : flat(component).filter(({ type }) => type !== 'ByteLevel');
  const template = parts.findIndex(({ single }) => Array.isArray(single) && single.length > 1);
  if (template >= 0 && template < parts.length - 1) {
    fail('post_processor', 'nothing but ByteLevel after a TemplateProcessing', parts[template + 1]?.type);
  }
}

/** Limits the number of components in all levels of sequences together: eight levels of 256 would be too many. */
function checkCounts(components: Record<string, ComponentJson | null>, fail: Fail): void {
  const count = (value: unknown): number => {
    if (Array.isArray(value)) return value.reduce((sum: number, part) => sum + count(part), 0);
    if (!isObject(value)) return 0;
    const lists = ['normalizers', 'pretokenizers', 'processors', 'decoders'].map((list) => value[list]);
    return 1 + lists.reduce((sum: number, list) => sum + (Array.isArray(list) ? count(list) : 0), 0);
  };
  for (const [name, component] of Object.entries(components)) {
    const found = count(component);
    if (found > MOST_COMPONENTS) fail(name, `at most ${MOST_COMPONENTS} components`, found);
  }
}

function checkTemplate(value: Record<string, unknown>, at: string, fail: Fail): void {
  const special = value.special_tokens as Record<string, unknown>;
  let sequences = 0;
  let added = (value.single as unknown[]).length - 1;
  const checkAdded = () => {
    if (added > MOST_WRAPPER_IDS)
      fail(`${at}.single`, `at most ${MOST_WRAPPER_IDS} tokens around a text`, added);
  };
  checkAdded();
  added = 0;
  for (const [i, item] of (value.single as unknown[]).entries()) {
    const itemAt = `${at}.single[${i}]`;
    if (isObject(item) && isObject(item.SpecialToken)) {
      const name = item.SpecialToken.id;
      const entry = typeof name === 'string' && Object.hasOwn(special, name) ? special[name] : undefined;
      const ids = isObject(entry) ? entry.ids : undefined;
      if (!Array.isArray(ids) || ids.some((each) => id(each) !== undefined)) {
        fail(itemAt, 'a token whose ids are in special_tokens', item);
      }
      added += (ids as unknown[]).length;
      checkAdded();
    } else if (isObject(item) && isObject(item.Sequence) && item.Sequence.id === 'A') {
      sequences++;
    } else {
      fail(itemAt, '{"SpecialToken": …} or {"Sequence": {"id": "A"}}', item);
    }
  }
  if (sequences !== 1) fail(`${at}.single`, 'sequence A once', value.single);
}

function checkModel(value: unknown, fail: Fail): TokenizerJson['model'] {
  if (!isObject(value)) return fail('model', 'an object', value);
  const type =
    value.type ?? (Array.isArray(value.vocab) ? 'Unigram' : 'merges' in value ? 'BPE' : 'WordPiece');
  switch (type) {
    case 'WordPiece': {
      checkFields(value, WORDPIECE_FIELDS, 'model', fail);
      const model = { ...value, type } as unknown as WordPieceJson;
      checkVocabulary(model.vocab, fail);
      if (!Object.hasOwn(model.vocab, model.unk_token))
        fail('model.unk_token', 'a token of vocab', model.unk_token);
      return model;
    }
    case 'WordLevel': {
      checkFields(value, WORD_LEVEL_FIELDS, 'model', fail);
      const model = { ...value, type } as unknown as WordLevelJson;
      checkVocabulary(model.vocab, fail);
      if (!Object.hasOwn(model.vocab, model.unk_token))
        fail('model.unk_token', 'a token of vocab', model.unk_token);
      return model;
    }
    case 'BPE': {
      checkFields(value, BPE_FIELDS, 'model', fail);
      const model = { ...value, type } as unknown as BpeJson;
      checkVocabulary(model.vocab, fail);
      const prefix = model.continuing_subword_prefix ?? '';
      for (const [i, merge] of (value.merges as unknown[]).entries()) {
        const parts = typeof merge === 'string' ? merge.split(' ') : merge;
        const isMerge =
          Array.isArray(parts) &&
          parts.length === 2 &&
          parts.every((part) => typeof part === 'string' && Object.hasOwn(model.vocab, part)) &&
          parts[1].length >= prefix.length &&
          Object.hasOwn(model.vocab, parts[0] + parts[1].slice(prefix.length));
        if (!isMerge) fail(`model.merges[${i}]`, 'two tokens of vocab whose join is in vocab too', merge);
      }
      return model;
    }
    case 'Unigram': {
      checkFields(value, UNIGRAM_FIELDS, 'model', fail);
      const model = { ...value, type } as unknown as UnigramJson;
      for (const [i, entry] of (model.vocab as unknown[]).entries()) {
        const isPiece =
          Array.isArray(entry) &&
          entry.length === 2 &&
          typeof entry[0] === 'string' &&
          Number.isFinite(entry[1] as number);
        if (!isPiece) fail(`model.vocab[${i}]`, '[piece, log probability]', entry);
      }
      if ((model.unk_id ?? 0) >= model.vocab.length)
        fail('model.unk_id', 'a position in vocab', model.unk_id);
      return model;
    }
    default:
      return fail('model.type', 'WordPiece, WordLevel, BPE or Unigram', type);
  }
}

function checkVocabulary(vocab: Record<string, unknown>, fail: Fail): void {
  const owner = new Map<number, string>();
  for (const [token, tokenId] of Object.entries(vocab)) {
    const expected = id(tokenId);
    if (expected !== undefined) fail(`model.vocab[${JSON.stringify(token)}]`, expected, tokenId);
    const other = owner.get(tokenId as number);
    if (other !== undefined)
      fail(`model.vocab[${JSON.stringify(token)}]`, `an id other than that of ${other}`, tokenId);
    owner.set(tokenId as number, token);
  }
}

/**
 * Limits the largest id: an embedding table has a row for every id up to it, so a wild id would cost
 * gigabytes.
 */
function checkIds(ids: ReadonlyMap<string, number>, fail: Fail): void {
  if (ids.size === 0) fail('model.vocab', 'at least one token', {});
  const limit = 4 * ids.size + 65_536;
  for (const [token, tokenId] of ids) {
    if (tokenId >= limit)
      fail(`id of ${JSON.stringify(token)}`, `less than ${limit} with ${ids.size} tokens`, tokenId);
  }
}
