import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it, test } from 'vitest';
import { DataError } from '../util/errors.ts';
import { Tokenizer } from './tokenizer.ts';
import { withSettings } from './tokenizer-config.ts';
import { checkTokenizerJson, type TokenizerJson } from './tokenizer-json.ts';

const fixture = <T>(name: string) =>
  JSON.parse(gunzipSync(readFileSync(join(import.meta.dirname, 'fixtures', name))).toString()) as T;
const { tokenizers } = fixture<{ tokenizers: Record<string, TokenizerJson> }>('families.json.gz');

/** Folders and the ids of AutoTokenizer, made by tools/reference/tokenizer_settings.py. */
interface Folder {
  family: string;
  modelType: string;
  kept: string[];
  files: Record<string, Record<string, unknown>>;
  hashes: string;
}
const golden = fixture<{ texts: string[]; folders: Folder[] }>('settings.json.gz');

function load({ family, modelType, kept, files }: Omit<Folder, 'hashes'>): TokenizerJson {
  const file = tokenizers[family]!;
  const added = file.added_tokens.filter(({ content }) => kept.includes(content));
  return withSettings(checkTokenizerJson({ ...file, added_tokens: added }, 'tokenizer.json'), {
    config: files['tokenizer_config.json'],
    specialTokens: files['special_tokens_map.json'],
    addedTokens: files['added_tokens.json'],
    modelType,
    file: 'tokenizer_config.json',
  }).json;
}

/** Whether the usual class of a model replaces parts of the file. */
function differs(folder: Folder): boolean {
  const kept = tokenizers[folder.family]!.added_tokens.map(({ content }) => content);
  const files = { ...folder.files, 'tokenizer_config.json': {} };
  const [before, after] = [tokenizers[folder.family]!, load({ ...folder, kept, files })];
  return (
    JSON.stringify([before.normalizer, before.pre_tokenizer]) !==
    JSON.stringify([after.normalizer, after.pre_tokenizer])
  );
}

describe('withSettings', () => {
  const kinds = [...new Set(golden.folders.map(({ family, modelType }) => `${family} in ${modelType}`))];

  test.each(kinds)('gives the ids of AutoTokenizer: %s', (kind) => {
    for (const each of golden.folders) {
      if (`${each.family} in ${each.modelType}` !== kind) continue;
      if (each.files['tokenizer_config.json'] === undefined && differs(each)) continue; // see below
      const tokenizer = Tokenizer.fromJson(load(each));
      const all = [
        ...golden.texts.map((text) => tokenizer.encode(text)),
        ...golden.texts.map((text) => tokenizer.encode(text, 7)),
      ];
      const wrong = all.flatMap((ids, i) => {
        const bytes = new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength);
        const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 4);
        return hash === each.hashes.slice(4 * i, 4 * i + 4) ? [] : [`${golden.texts[i % 40]} → ${ids}`];
      });
      expect(wrong.slice(0, 2), JSON.stringify(each.files)).toEqual([]);
    }
  });

  it('returns a file as it is when its settings say the same', () => {
    const names = (family: string) => tokenizers[family]!.added_tokens.map(({ content }) => content);
    const same: [string, string, Record<string, unknown>][] = [
      [
        'bert uncased',
        'bert',
        { tokenizer_class: 'BertTokenizer', do_lower_case: true, tokenize_chinese_chars: true },
      ],
      ['bert cased', 'bert', { tokenizer_class: 'BertTokenizerFast', do_lower_case: false }],
      [
        'roberta',
        'roberta',
        { tokenizer_class: 'RobertaTokenizer', add_prefix_space: false, truncation_side: 'right' },
      ],
      ['qwen2', 'qwen2', { tokenizer_class: 'Qwen2Tokenizer' }],
      ['modernbert', 'modernbert', { tokenizer_class: 'PreTrainedTokenizerFast', cls_token: '[CLS]' }],
    ];
    for (const [family, modelType, config] of same) {
      const file = checkTokenizerJson(tokenizers[family], 'tokenizer.json');
      const loaded = load({
        family,
        modelType,
        kept: names(family),
        files: { 'tokenizer_config.json': config },
      });
      expect(loaded, family).toEqual(file);
    }
  });

  it('keeps the end of a long text where truncation_side is left, whatever the length', () => {
    const files = { 'tokenizer_config.json': { tokenizer_class: 'BertTokenizer', truncation_side: 'left' } };
    const kept = tokenizers['bert uncased']!.added_tokens.map(({ content }) => content);
    const tokenizer = Tokenizer.fromJson(load({ family: 'bert uncased', modelType: 'bert', kept, files }));
    expect(tokenizer.truncationSide).toBe('left');
    const words = Array.from({ length: 20_000 }, (_, i) => `the ${i % 97} retriever`).join(' ');
    const all = Array.from(tokenizer.encodeRaw(words));
    for (const most of [1, 30, 500])
      expect(Array.from(tokenizer.encodeRaw(words, most))).toEqual(all.slice(-most));
    expect(Array.from(tokenizer.encode(words, 12)).slice(1, -1)).toEqual(all.slice(-10));
    expect(Array.from(tokenizer.encodeRaw(words, 0))).toEqual([]);
  });

  it('leaves out tokens that the embedding table has no row for', () => {
    const file = checkTokenizerJson(tokenizers.gpt2, 'tokenizer.json');
    const settings = { config: { pad_token: '[PAD]' }, modelType: 'gpt2', file: 'tokenizer_config.json' };
    const { vocabSize } = Tokenizer.fromJson(file);
    expect(Tokenizer.fromJson(withSettings(file, settings).json).vocabSize).toBe(vocabSize + 1);
    expect(withSettings(file, { ...settings, rows: vocabSize }).json).toEqual(file);
  });

  it('uses a file as it is where no settings name a class, with a note if transformers would not', () => {
    const file = checkTokenizerJson(tokenizers['bert cased'], 'tokenizer.json');
    const settings = { modelType: 'bert', file: 'tokenizer_config.json' };
    expect(withSettings(file, settings)).toEqual({
      json: file,
      notes: [
        'there is no tokenizer_config.json, so tokenizer.json is used as it is; transformers would build a BertTokenizer with another normalizer',
      ],
    });
    expect(withSettings(file, { ...settings, config: {} }).notes).toEqual([
      'tokenizer.json: normalizer replaced by that of BertTokenizer, as transformers does for this tokenizer_config.json',
    ]);
  });

  it('names a class whose parts are not known, and refuses what is not supported', () => {
    const file = checkTokenizerJson(tokenizers['bert uncased'], 'tokenizer.json');
    const settings = (config: Record<string, unknown>) => ({ config, file: 'm/tokenizer_config.json' });
    expect(withSettings(file, settings({ tokenizer_class: 'AlbertTokenizerFast' })).notes).toEqual([
      "tokenizer.json is used as it is; transformers' class AlbertTokenizer may build another tokenizer from it",
    ]);
    for (const [config, message] of [
      [
        { split_special_tokens: true },
        'm/tokenizer_config.json: split_special_tokens: true is not supported',
      ],
      [{ truncation_side: 'middle' }, 'm/tokenizer_config.json: truncation_side: expected "left" or "right"'],
      [
        { added_tokens_decoder: { x: 1 } },
        'm/tokenizer_config.json: added_tokens_decoder["x"]: expected a token',
      ],
    ] as const) {
      expect(() => withSettings(file, settings(config))).toThrow(DataError);
      expect(() => withSettings(file, settings(config))).toThrow(message);
    }
  });
});
