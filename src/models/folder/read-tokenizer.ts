import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readTokenizerJson } from '../../text/read-tokenizer-json.ts';
import { Tokenizer } from '../../text/tokenizer.ts';
import { withSettings } from '../../text/tokenizer-config.ts';
import { DataError } from '../../util/errors.ts';
import { type Json, optionalJson } from '../../util/json-objects.ts';

/** What decides how a tokenizer of a folder is read. */
export interface TokenizerSource {
  /** Content of config.json; undefined where there is none. */
  readonly config?: Json | undefined;
  /** Whether `tokenizer.json` is used as it is, without the settings beside it, as for a StaticEmbedding and in folders of our own. */
  readonly isWhole: boolean;
  /** Settings that replace those of tokenizer_config.json. Default none. */
  readonly settings?: Json | undefined;
  /** Whether the tokenizer is to join pairs of texts, as transformers joins them. Default false. */
  readonly pairs?: boolean | undefined;
  /** Called with a note on settings that are not known. */
  readonly onNote?: ((note: string) => void) | undefined;
}

/**
 * Reads the tokenizer of a folder as transformers does: `tokenizer.json`, changed by tokenizer_config.json, special_tokens_map.json and
 * added_tokens.json. See {@link withSettings}.
 *
 * @throws DataError when a file is missing, damaged or of an unsupported kind
 */
export async function readTokenizer(
  folder: string,
  { config, isWhole, settings, pairs, onNote }: TokenizerSource,
): Promise<Tokenizer> {
  const file = join(folder, 'tokenizer.json');
  if (!existsSync(file)) {
    throw new DataError('no such file', {
      file,
      help: tokenizerHelp(folder),
    });
  }
  if (isWhole) return Tokenizer.fromFile(file);
  const settingsFile = join(folder, 'tokenizer_config.json');
  const rows = config?.vocab_size;
  const stored = await optionalJson(settingsFile);
  const isNamed = stored !== undefined || Object.keys(settings ?? {}).length > 0;
  const { json, notes } = withSettings(readTokenizerJson(file), {
    config: isNamed ? { ...stored, ...settings } : undefined,
    specialTokens: await optionalJson(join(folder, 'special_tokens_map.json')),
    addedTokens: await optionalJson(join(folder, 'added_tokens.json')),
    modelClass: config?.tokenizer_class,
    modelType: config?.model_type,
    pairs,
    ...(Number.isSafeInteger(rows) && { rows: rows as number }),
    file: settingsFile,
  });
  for (const note of notes) onNote?.(note);
  return Tokenizer.fromJson(json, file);
}

/** Advice for a folder without tokenizer.json, by the other files that hold a vocabulary. */
function tokenizerHelp(folder: string): string {
  const other = [
    'vocab.txt',
    'vocab.json',
    'sentencepiece.bpe.model',
    'spiece.model',
    'tokenizer.model',
  ].find((name) => existsSync(join(folder, name)));
  return other === undefined
    ? 'not all of the model was copied or downloaded: its tokenizer belongs into this folder'
    : `write it from ${other}, with Python: python -c "from transformers import AutoTokenizer as T; T.from_pretrained('${folder}').save_pretrained('${folder}')" (${other} alone is not read)`;
}
