import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { readText } from '../../util/files.ts';
import { isObject, type Json, optionalJson } from '../../util/json-objects.ts';

/** Contents of a language model's folder besides architecture, tokenizer and weights. They are kept as they are. */
export interface LanguageSettings {
  /** Content of config.json. */
  readonly config?: Json | undefined;
  /** Content of tokenizer_config.json. */
  readonly tokenizerConfig?: Json | undefined;
  /** Content of generation_config.json: end tokens, and settings of sampling for other programs. */
  readonly generationConfig?: Json | undefined;
  /** Template of chats, in Jinja: from chat_template.jinja, or else from tokenizer_config.json. */
  readonly chatTemplate?: string | undefined;
}

/** Reads the settings of a folder. */
export async function readLanguageSettings(folder: string, config: Json): Promise<LanguageSettings> {
  const [tokenizerConfig, generationConfig] = await Promise.all(
    ['tokenizer_config.json', 'generation_config.json'].map((name) => optionalJson(join(folder, name))),
  );
  const templateFile = join(folder, 'chat_template.jinja');
  const chatTemplate = existsSync(templateFile)
    ? await readText(templateFile)
    : templateIn(tokenizerConfig?.chat_template);
  return { config, tokenizerConfig, generationConfig, chatTemplate };
}

/** Finds the template in tokenizer_config.json, which may hold one or a list of named ones. */
function templateIn(field: unknown): string | undefined {
  if (typeof field === 'string') return field;
  if (!Array.isArray(field)) return undefined;
  const named = field.filter((each) => isObject(each) && typeof each.template === 'string') as Json[];
  return (named.find(({ name }) => name === 'default') ?? named[0])?.template as string | undefined;
}

/**
 * Returns the ids of the tokens that end a text: those of generation_config.json, which transformers prefers, or else those of config.json.
 * Undefined if neither names any.
 */
export function endIdsIn({ config, generationConfig }: LanguageSettings): number[] | undefined {
  for (const source of [generationConfig, config]) {
    const ids = [source?.eos_token_id].flat().filter((id) => Number.isSafeInteger(id)) as number[];
    if (ids.length > 0) return ids;
  }
  return undefined;
}

/**
 * Returns the token at which a model stops when it generates: the tokenizer's end-of-text token, where that is one of its end tokens, or
 * else the first of them. Undefined for a model without any.
 */
export function stopToken({
  tokenizer,
  endIds,
}: {
  readonly tokenizer: Pick<Tokenizer, 'specialIds' | 'vocabSize'>;
  readonly endIds: ReadonlySet<number>;
}): number | undefined {
  const { eos } = tokenizer.specialIds;
  if (eos !== undefined && endIds.has(eos)) return eos;
  return [...endIds].find((id) => id < tokenizer.vocabSize);
}
