import type { Json } from '../util/json-objects.ts';
import type { BpeJson, ComponentJson, TokenizerJson, UnigramJson, WordPieceJson } from './tokenizer-json.ts';

/**
 * Parts of a tokenizer that a class of transformers builds by itself, whatever `tokenizer.json` says.
 *
 * `special` names the special tokens that the class has if its settings name no others. `wrapper` names those around a text; without it
 * the post-processor of the file stays.
 */
export interface TokenizerClass {
  /** Kind of model that it builds; a file with another one is no file of this class. */
  readonly model: TokenizerJson['model']['type'];
  parts(json: TokenizerJson, settings: Json): Partial<TokenizerJson>;
  readonly special: Readonly<Record<string, string>>;
  readonly wrapper?: readonly [before: string, after: string];
  /** Component that joins two texts, of a class with a `wrapper`. */
  readonly joinedBy?: 'BertProcessing' | 'RobertaProcessing';
  /** Whether special tokens lose their flags, such as `lstrip`. */
  readonly resetsFlags?: boolean;
  /** Whether the mask token takes the space before it. */
  readonly maskTakesSpace?: boolean;
}

const FOURFOLD = { cls_token: '<s>', sep_token: '</s>', bos_token: '<s>', eos_token: '</s>' } as const;
const ROBERTA = { ...FOURFOLD, unk_token: '<unk>', pad_token: '<pad>', mask_token: '<mask>' } as const;
const END = '<|endoftext|>';

/** WordPiece with BERT's normalizer, as the settings say. */
function bertParts(json: TokenizerJson, settings: Json, unknown: string): Partial<TokenizerJson> {
  const {
    do_lower_case: lower,
    strip_accents: strip,
    tokenize_chinese_chars: spaced,
    unk_token: named,
  } = settings;
  return {
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: spaced ?? true,
      strip_accents: strip ?? null,
      lowercase: lower ?? true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    model: {
      type: 'WordPiece',
      unk_token: contentOf(named) ?? unknown,
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: (json.model as WordPieceJson).vocab,
    },
  };
}

/** BPE with the vocabulary of the file. */
function bpeParts(json: TokenizerJson, changes: Partial<BpeJson>): Pick<TokenizerJson, 'model'> {
  const { vocab, merges } = json.model as BpeJson;
  return { model: { type: 'BPE', vocab, merges, ...changes } satisfies BpeJson };
}

const byteLevel = (prefix: unknown, splits = true): ComponentJson => ({
  type: 'ByteLevel',
  add_prefix_space: prefix === true,
  trim_offsets: true,
  use_regex: splits,
});

function unigramParts(json: TokenizerJson, settings: Json, unknownId = 3): Partial<TokenizerJson> {
  const { normalizer } = json;
  const precompiled =
    normalizer?.type === 'Sequence'
      ? (normalizer.normalizers as ComponentJson[]).find(({ type }) => type === 'Precompiled')
      : normalizer?.type === 'Precompiled'
        ? normalizer
        : undefined;
  const scheme = settings.add_prefix_space === false ? 'never' : 'always';
  return {
    normalizer: precompiled ?? null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'WhitespaceSplit' },
        { type: 'Metaspace', replacement: '▁', prepend_scheme: scheme, split: true },
      ],
    },
    model: {
      type: 'Unigram',
      unk_id: unknownId,
      byte_fallback: false,
      vocab: (json.model as UnigramJson).vocab,
    } satisfies UnigramJson,
  };
}

const QWEN_WORDS =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** Classes that build their tokenizer from the vocabulary of the file, by their names without `Fast`. */
export const TOKENIZER_CLASSES: Readonly<Record<string, TokenizerClass>> = {
  BertTokenizer: {
    model: 'WordPiece',
    parts: (json, settings) => bertParts(json, settings, '[UNK]'),
    special: {
      unk_token: '[UNK]',
      sep_token: '[SEP]',
      pad_token: '[PAD]',
      cls_token: '[CLS]',
      mask_token: '[MASK]',
    },
    wrapper: ['cls_token', 'sep_token'],
    joinedBy: 'BertProcessing',
  },
  MPNetTokenizer: {
    model: 'WordPiece',
    parts: (json, settings) => bertParts(json, settings, '[UNK]'),
    special: { ...FOURFOLD, unk_token: '[UNK]', pad_token: '<pad>', mask_token: '<mask>' },
    wrapper: ['cls_token', 'sep_token'],
    joinedBy: 'RobertaProcessing',
    maskTakesSpace: true,
  },
  RobertaTokenizer: {
    model: 'BPE',
    parts: (json, { add_prefix_space: prefix }) => ({
      ...bpeParts(json, {}),
      normalizer: null,
      pre_tokenizer: byteLevel(prefix),
    }),
    special: ROBERTA,
    wrapper: ['cls_token', 'sep_token'],
    joinedBy: 'RobertaProcessing',
  },
  XLMRobertaTokenizer: {
    model: 'Unigram',
    parts: (json, settings) => unigramParts(json, settings),
    special: ROBERTA,
    wrapper: ['bos_token', 'eos_token'],
    joinedBy: 'RobertaProcessing',
  },
  T5Tokenizer: {
    model: 'Unigram',
    parts: (json) => unigramParts(json, {}, 2),
    special: { eos_token: '</s>', unk_token: '<unk>', pad_token: '<pad>' },
  },
  GPT2Tokenizer: {
    model: 'BPE',
    parts: (json, { add_prefix_space: prefix }) => ({
      ...bpeParts(json, {}),
      normalizer: null,
      pre_tokenizer: byteLevel(prefix),
    }),
    special: { unk_token: END, bos_token: END, eos_token: END },
  },
  Qwen2Tokenizer: {
    model: 'BPE',
    parts: (json, { add_prefix_space: prefix }) => ({
      ...bpeParts(json, {}),
      normalizer: { type: 'NFC' },
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [
          { type: 'Split', pattern: { Regex: QWEN_WORDS }, behavior: 'Isolated', invert: false },
          byteLevel(prefix, false),
        ],
      },
    }),
    special: { unk_token: END, eos_token: END, pad_token: END },
    resetsFlags: true,
  },
  LlamaTokenizer: {
    model: 'BPE',
    parts: (json, { add_prefix_space: prefix, legacy }) => ({
      ...bpeParts(json, { fuse_unk: true, byte_fallback: true }),
      normalizer: null,
      pre_tokenizer: {
        type: 'Metaspace',
        replacement: '▁',
        prepend_scheme: prefix === false ? 'never' : legacy === true ? 'always' : 'first',
        split: false,
      },
    }),
    special: { unk_token: '<unk>', bos_token: '<s>', eos_token: '</s>' },
  },
};

/** Other names of the same classes. */
const ALIASES: Readonly<Record<string, string>> = {
  DistilBertTokenizer: 'BertTokenizer',
  ElectraTokenizer: 'BertTokenizer',
  MobileBertTokenizer: 'BertTokenizer',
  LongformerTokenizer: 'RobertaTokenizer',
  BartTokenizer: 'RobertaTokenizer',
};

/** Class by which transformers loads the tokenizer of a model, where no settings name one. */
const CLASS_OF_MODEL: Readonly<Record<string, string>> = {
  bert: 'BertTokenizer',
  distilbert: 'BertTokenizer',
  mpnet: 'MPNetTokenizer',
  roberta: 'RobertaTokenizer',
  'xlm-roberta': 'XLMRobertaTokenizer',
  gpt2: 'GPT2Tokenizer',
  qwen2: 'Qwen2Tokenizer',
  qwen3: 'Qwen2Tokenizer',
  t5: 'T5Tokenizer',
};

/** Classes that take `tokenizer.json` as it is. */
const AS_IT_IS = ['PreTrainedTokenizerFast', 'PreTrainedTokenizer', 'TokenizersBackend', 'PythonBackend'];

/**
 * Chooses the class by which transformers loads a tokenizer: that of the settings, else that of the model.
 *
 * @param named  `tokenizer_class` of tokenizer_config.json or config.json
 * @returns  the class, or undefined for one that takes the file as it is; and the name of a class that is not known here
 */
export function tokenizerClass(
  named: string | undefined,
  modelType: string | undefined,
  json: TokenizerJson,
): { known?: TokenizerClass; className?: string; unknown?: string } {
  const ofModel = CLASS_OF_MODEL[modelType ?? ''];
  // transformers does not believe the settings of these, which are wrong in many repositories.
  if (modelType === 'modernbert') return {};
  let name = named?.replace(/Fast$/, '') ?? ofModel;
  if (modelType === 'qwen2' && name !== ofModel) name = ofModel;
  name = ALIASES[name ?? ''] ?? name;
  if (name === undefined || AS_IT_IS.includes(name)) return {};
  if (name === 'LlamaTokenizer' && JSON.stringify(json.pre_tokenizer)?.includes('"ByteLevel"')) return {};
  const known = TOKENIZER_CLASSES[name];
  return known?.model === json.model.type ? { known, className: name } : { unknown: name };
}

/** Text of a special token of the settings, which is a string or an object with a `content`. */
export function contentOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  const content = (value as { content?: unknown } | null | undefined)?.content;
  return typeof content === 'string' ? content : undefined;
}
