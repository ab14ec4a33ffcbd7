import { DataError } from '../util/errors.ts';
import { isObject, type Json } from '../util/json-objects.ts';
import { addedTokens, isNormalized } from './added-tokens.ts';
import { type PairPart, pairTemplate } from './pair-template.ts';
import { contentOf, type TokenizerClass, tokenizerClass } from './tokenizer-classes.ts';
import { type AddedTokenJson, modelIds, type TokenizerJson } from './tokenizer-json.ts';
import { wrapperIds } from './wrapper-ids.ts';

/** Files beside a `tokenizer.json` by which transformers changes it. */
export interface TokenizerSettings {
  /** Content of tokenizer_config.json. */
  readonly config?: Json | undefined;
  /** Content of special_tokens_map.json. */
  readonly specialTokens?: Json | undefined;
  /** Content of added_tokens.json: ids by token. */
  readonly addedTokens?: Json | undefined;
  /** `tokenizer_class` of config.json. */
  readonly modelClass?: unknown;
  /** `model_type` of config.json. */
  readonly modelType?: unknown;
  /** Rows of the embedding table, where they are known. */
  readonly rows?: number | undefined;
  /** Whether pairs of texts are to be joined as transformers joins them too. Default false: single texts alone count. */
  readonly pairs?: boolean | undefined;
  /** Name of tokenizer_config.json, for errors. */
  readonly file: string;
}

/** Special tokens by their names, in the order in which transformers adds them. */
const NAMES = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'];

/**
 * Applies to a `tokenizer.json` what transformers (5.24) makes of it when it loads the folder:
 *
 * - A class such as BertTokenizer builds normalizer, pre-tokenizer, model and special tokens around a text by itself,
 *   from its settings (`do_lower_case`, `strip_accents`, `tokenize_chinese_chars`, `add_prefix_space`, `legacy`), and takes the
 *   vocabulary alone from the file.
 * - Tokens of `added_tokens_decoder`, special tokens by name and extra special tokens become added tokens.
 * - `truncation_side` says which end of a long text is cut off.
 *
 * A file to which nothing of this applies is returned as it is. Without tokenizer_config.json, the usual class of the model replaces nothing.
 *
 * @returns  the file with these changes, and notes on parts that were replaced or that transformers may replace
 * @throws DataError when a setting is damaged or not supported
 */
export function withSettings(
  json: TokenizerJson,
  settings: TokenizerSettings,
): { json: TokenizerJson; notes: readonly string[] } {
  const config = mergedConfig(settings);
  const named = config.tokenizer_class ?? settings.modelClass;
  const modelType = typeof settings.modelType === 'string' ? settings.modelType : undefined;
  const found = tokenizerClass(typeof named === 'string' ? named : undefined, modelType, json);
  const differing = Object.entries(found.known?.parts(json, config) ?? {}).filter(
    ([name, part]) => !isEqual(comparable(json[name as keyof TokenizerJson]), comparable(part)),
  );
  // Without a word on the class, the file is the only one that says how the model was trained.
  const isUnsaid = named === undefined && settings.config === undefined;
  const known = isUnsaid ? undefined : found.known;
  const result: TokenizerJson = { ...json, ...(known && Object.fromEntries(differing)) };
  const notes: string[] = [];
  const parts = differing.map(([name]) => name).join(', ');
  if (parts !== '') {
    notes.push(
      isUnsaid
        ? `there is no tokenizer_config.json, so tokenizer.json is used as it is; transformers would build a ${found.className} with another ${parts}`
        : `tokenizer.json: ${parts} replaced by that of ${found.className}, as transformers does for this tokenizer_config.json`,
    );
  }
  if (found.unknown !== undefined && !isUnsaid) {
    notes.push(
      `tokenizer.json is used as it is; transformers' class ${found.unknown} may build another tokenizer from it`,
    );
  }
  const { rows = Number.POSITIVE_INFINITY } = settings;
  const all = allTokens(json, config, settings, known);
  // Names of tokens that the embedding table has no row for are common (`pad_token` of a GPT-2), and such tokens can never be used.
  const isOwn = new Set(json.added_tokens.map(({ content }) => content));
  const tokens = all.filter(({ id, content }) => id < rows || isOwn.has(content));
  if (!isEqual(tokens.map(flags), withIds(json, json.added_tokens).map(flags))) result.added_tokens = tokens;
  if (known?.wrapper) result.post_processor = wrapped(result, known, config, settings);
  const side = truncationSide(json, config, settings.file);
  if (side !== (json.truncation?.direction ?? 'Right')) {
    result.truncation = { ...json.truncation, direction: side };
  }
  return { json: result, notes };
}

/** Settings of tokenizer_config.json, with older files merged in where it does not list the added tokens itself. */
function mergedConfig({ config = {}, specialTokens, file }: TokenizerSettings): Json {
  if (config.split_special_tokens === true) {
    throw new DataError('split_special_tokens: true is not supported', {
      file,
      help: 'remove the setting: special tokens in a text are then read as such',
    });
  }
  const own = isObject(config.added_tokens_decoder) ? {} : (specialTokens ?? {});
  return { ...config, ...own };
}

function truncationSide(json: TokenizerJson, config: Json, file: string): 'Left' | 'Right' {
  const side = config.truncation_side;
  if (side === undefined || side === null) return json.truncation?.direction === 'Left' ? 'Left' : 'Right';
  if (side !== 'left' && side !== 'right') {
    throw new DataError(`truncation_side: expected "left" or "right", found ${JSON.stringify(side)}`, {
      file,
    });
  }
  return side === 'left' ? 'Left' : 'Right';
}

/** Lists the added tokens of a folder with their ids: those of the file, and those of the settings. */
function allTokens(
  json: TokenizerJson,
  config: Json,
  { addedTokens: older, file }: TokenizerSettings,
  known: TokenizerClass | undefined,
): AddedTokenJson[] {
  const listed = listedTokens(json, config, older, file);
  const byContent = new Map(listed.map((token) => [token.content, token]));
  const tokens = new Map<string, AddedTokenJson>();
  if (!known) for (const token of json.added_tokens) tokens.set(token.content, token);
  const present = new Set(tokens.keys());
  const special = namedTokens(config, known, byContent);
  const isNamed = new Set(special.map(({ content }) => content));
  for (const token of listed) {
    // A token with a name is special, whatever its entry says.
    tokens.set(token.content, isNamed.has(token.content) ? { ...token, special: true } : token);
  }
  for (const token of [...special, ...extraTokens(config)]) {
    if (!present.has(token.content) && !byContent.has(token.content) && !tokens.has(token.content)) {
      tokens.set(token.content, token);
    }
  }
  if (known?.resetsFlags) {
    for (const { content } of [...special, ...extraTokens(config)]) {
      tokens.set(content, fromSettings({ content, special: true }));
    }
  }
  return withIds(json, [...tokens.values()]);
}

/** Tokens of `added_tokens_decoder`; without it those of added_tokens.json and of the file itself. */
function listedTokens(
  json: TokenizerJson,
  config: Json,
  older: Json | undefined,
  file: string,
): AddedTokenJson[] {
  const listed = new Map<number, AddedTokenJson>();
  if (isObject(config.added_tokens_decoder)) {
    for (const [id, value] of Object.entries(config.added_tokens_decoder)) {
      const content = contentOf(value);
      if (!isObject(value) || content === undefined || !/^\d+$/.test(id)) {
        throw new DataError(`added_tokens_decoder[${JSON.stringify(id)}]: expected a token by its id`, {
          file,
        });
      }
      listed.set(Number(id), fromSettings({ ...value, content }));
    }
  } else {
    const named = new Set(NAMES.map((name) => contentOf(config[name])));
    for (const [content, id] of Object.entries(older ?? {})) {
      if (!Number.isSafeInteger(id)) continue;
      const special = named.has(content) || extraTokens(config).some((token) => token.content === content);
      listed.set(id as number, fromSettings({ content, special, normalized: !special }));
    }
    for (const token of json.added_tokens) listed.set(token.id, token);
  }
  return [...listed].sort(([a], [b]) => a - b).map(([, token]) => token);
}

/** Tokens with a name, such as `mask_token`, and those with names of the model's own. */
function namedTokens(
  config: Json,
  known: TokenizerClass | undefined,
  byContent: ReadonlyMap<string, AddedTokenJson>,
): AddedTokenJson[] {
  const own = Object.keys(config).filter((name) => name.endsWith('_token') && !NAMES.includes(name));
  const extra = isObject(config.extra_special_tokens) ? Object.values(config.extra_special_tokens) : [];
  const values = [
    ...NAMES.map((name) => (config[name] === undefined ? known?.special[name] : config[name])),
    ...own.map((name) => (typeof config[name] === 'string' || isObject(config[name]) ? config[name] : null)),
    ...extra,
  ];
  return values.flatMap((value, i) => {
    const content = contentOf(value);
    if (content === undefined) return [];
    const takesSpace =
      known?.maskTakesSpace === true && NAMES[i] === 'mask_token' && typeof value === 'string';
    const token = {
      ...(isObject(value) && value),
      content,
      ...(takesSpace && { lstrip: true }),
      special: true,
    };
    return [byContent.get(content) ?? fromSettings(token)];
  });
}

/** Tokens of `extra_special_tokens`, or of its older name, where it is a list. */
function extraTokens(config: Json): AddedTokenJson[] {
  const { extra_special_tokens: extra, additional_special_tokens: older } = config;
  const isEmpty = extra === undefined || extra === null || (Array.isArray(extra) && extra.length === 0);
  const list = isEmpty ? older : extra;
  if (!Array.isArray(list)) return [];
  return list.flatMap((value) => {
    const content = contentOf(value);
    return content === undefined
      ? []
      : [fromSettings({ ...(isObject(value) && value), content, special: true })];
  });
}

/** Fills in the flags of a token of the settings, as Python's AddedToken does. */
function fromSettings(value: Json & { content: string }): AddedTokenJson {
  const is = (flag: string) => value[flag] === true;
  const special = is('special');
  return {
    id: 0,
    content: value.content,
    single_word: is('single_word'),
    lstrip: is('lstrip'),
    rstrip: is('rstrip'),
    normalized: typeof value.normalized === 'boolean' ? value.normalized : !special,
    special,
  };
}

/** Gives tokens the ids that Hugging Face's library gives them. */
function withIds(json: TokenizerJson, tokens: AddedTokenJson[]): AddedTokenJson[] {
  return addedTokens({ ...json, added_tokens: tokens }, (text) => text).map((token) => ({
    ...token.json,
    id: token.id,
  }));
}

/** Special tokens that the class puts around a text, unless the file has the same. */
function wrapped(
  json: TokenizerJson,
  known: TokenizerClass,
  config: Json,
  { pairs = false, file }: TokenizerSettings,
): TokenizerJson['post_processor'] {
  const ids = new Map(withIds(json, json.added_tokens).map((token) => [token.content, token.id]));
  const vocab = modelIds(json.model);
  const pair = known.wrapper!.map((name): [string, number] | undefined => {
    const content = contentOf(config[name]) ?? known.special[name]!;
    const id = ids.get(content) ?? vocab.get(content);
    return id === undefined ? undefined : [content, id];
  });
  const [cls, sep] = pair;
  if (!cls || !sep) return json.post_processor;
  const { before, after } = wrapperIds(json.post_processor);
  const isSame = isEqual([before, after], [[cls[1]], [sep[1]]]);
  const own = { type: known.joinedBy!, cls, sep };
  if (!pairs) return isSame ? json.post_processor : { type: 'BertProcessing', cls, sep };
  const joins = isEqual(pairTemplate({ post_processor: own }, file), joinedAs(json, file));
  return isSame && joins ? json.post_processor : own;
}

/** Way in which a file joins pairs; undefined for one that cannot. */
function joinedAs(json: TokenizerJson, file: string): readonly PairPart[] | undefined {
  try {
    return pairTemplate(json, file);
  } catch {
    return undefined;
  }
}

/** Parts of a token by which two are compared. */
const flags = (token: AddedTokenJson): string => {
  const { id, content, single_word: single, lstrip, rstrip, special } = token;
  const values = [
    id,
    content,
    single === true,
    lstrip === true,
    rstrip === true,
    isNormalized(token),
    special === true,
  ];
  return JSON.stringify(values);
};

/** A part without the fields that do not change ids, and with the defaults of those that are absent. */
function comparable(part: unknown): unknown {
  if (Array.isArray(part)) return part.map(comparable);
  if (!isObject(part)) return part ?? null;
  const defaults = DEFAULTS[part.type as string] ?? {};
  const entries = Object.entries({ ...defaults, ...part }).filter(([name]) => !UNIMPORTANT.includes(name));
  return Object.fromEntries(
    entries.map(([name, value]) => [
      name,
      LARGE.includes(name) ? value : comparable(value ?? defaults[name] ?? null),
    ]),
  );
}

const UNIMPORTANT = ['trim_offsets', 'str_rep'];
const LARGE = ['vocab', 'merges'];
const DEFAULTS: Readonly<Record<string, Json>> = {
  BPE: {
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: '',
    end_of_word_suffix: '',
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
  },
  Unigram: { byte_fallback: false },
  ByteLevel: { use_regex: true },
  Metaspace: { prepend_scheme: 'always', split: true },
};

function isEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const [left, right] = [a as Json, b as Json];
  const names = Object.keys(left);
  return (
    Array.isArray(a) === Array.isArray(b) &&
    names.length === Object.keys(right).length &&
    names.every((name) => isEqual(left[name], right[name]))
  );
}
