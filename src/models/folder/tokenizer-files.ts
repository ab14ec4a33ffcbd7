import type { SpecialIds, Tokenizer } from '../../text/tokenizer.ts';
import { modelIds } from '../../text/tokenizer-json.ts';

/** Settings of {@link tokenizerFiles}. */
export interface TokenizerFilesOptions {
  /** Longest text, in tokens. */
  readonly maxTokens: number;
  /** Whether the model reads token types. */
  readonly tokenTypes: boolean;
  /** Whether `tokenizer.json` itself cuts texts. Default false. */
  readonly truncates?: boolean | undefined;
}

/** Makes the files of a tokenizer in a model folder, and the fields of config.json with the ids of its tokens. */
export function tokenizerFiles(
  tokenizer: Tokenizer,
  { maxTokens, tokenTypes, truncates = false }: TokenizerFilesOptions,
) {
  const roles = tokenRoles(tokenizer);
  const tokens = specialTokens(tokenizer, roles);
  const isLeft = tokenizer.truncationSide === 'left';
  const file = {
    ...tokenizer.toJson(),
    // The side that is cut off is stored here for Undrift itself.
    truncation:
      isLeft || truncates
        ? { direction: isLeft ? 'Left' : 'Right', max_length: maxTokens, strategy: 'LongestFirst', stride: 0 }
        : null,
    padding: null,
  };
  return {
    ids: {
      pad_token_id: 0,
      ...Object.fromEntries(Object.entries(roles).map(([role, id]) => [`${role}_token_id`, id])),
    },
    json: {
      'tokenizer_config.json': {
        // This class uses tokenizer.json as it is; BertTokenizer would replace the file's settings by its
        // own.
        tokenizer_class: 'PreTrainedTokenizerFast',
        model_max_length: maxTokens,
        model_input_names: ['input_ids', ...(tokenTypes ? ['token_type_ids'] : []), 'attention_mask'],
        clean_up_tokenization_spaces: false,
        ...(isLeft && { truncation_side: 'left' }),
        ...tokens,
      },
      'special_tokens_map.json': tokens,
    },
    raw: { 'tokenizer.json': `${JSON.stringify(file)}\n` },
  };
}

/**
 * Ids of the tokens with a role. Without a padding token other programs refuse texts of unequal length, so
 * the end-of-text token takes its place.
 */
function tokenRoles({ specialIds }: Tokenizer): Readonly<SpecialIds> {
  const { pad = specialIds.eos } = specialIds;
  return pad === undefined ? specialIds : { ...specialIds, pad };
}

/** `{"cls_token": "[CLS]", …}` */
function specialTokens(tokenizer: Tokenizer, roles: Readonly<SpecialIds>): Record<string, string> {
  const { model, added_tokens } = tokenizer.toJson();
  const tokens = new Map([...modelIds(model)].map(([token, id]) => [id, token]));
  for (const { id, content } of added_tokens) tokens.set(id, content);
  return Object.fromEntries(Object.entries(roles).map(([role, id]) => [`${role}_token`, tokens.get(id)!]));
}
