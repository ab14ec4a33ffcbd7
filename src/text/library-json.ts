import type { ComponentJson, TokenizerJson } from './tokenizer-json.ts';

/**
 * Translates a `tokenizer.json` for the JavaScript library so that its ids equal those of Hugging Face's Rust
 * library, which is the standard.
 *
 * Where the two libraries treat a component differently, an equivalent component takes its place:
 *
 * | component | difference in JavaScript | replacement |
 * |---|---|---|
 * | BertNormalizer | ideographs above U+FFFF are not set apart | spaces around them first |
 * | BertNormalizer, Lowercase | Σ at the end of a word becomes ς | Σ to σ first |
 * | Replace | `$` of the content is special | `$$` |
 * | BertPreTokenizer, WhitespaceSplit | spaces of ECMAScript (U+FEFF is one, U+0085 is not) | Split at Unicode's spaces |
 * | Whitespace, Digits, Punctuation | ASCII only, or runs instead of single signs | Split with the right pattern |
 * | ByteLevel | spaces of ECMAScript | Split with the right pattern |
 * | Metaspace | does not split words | Split in front of each ▁ |
 * | Precompiled | other rules than those of the file | {@link Charsmap}, put in by `Tokenizer` |
 *
 * One difference remains: at the ends of a text, Strip treats U+FEFF as a space and U+0085 as none.
 *
 * The post-processor is dropped, because `Tokenizer` puts the special tokens of {@link wrapperIds} around the
 * ids.
 */
export function libraryJson(json: TokenizerJson): object {
  return {
    ...json,
    normalizer: json.normalizer && libraryNormalizer(json.normalizer),
    pre_tokenizer: json.pre_tokenizer && libraryPreTokenizer(json.pre_tokenizer),
    decoder: json.decoder && libraryDecoder(json.decoder),
    post_processor: null,
  };
}

const LOWER_SIGMA = { type: 'Replace', pattern: { String: 'Σ' }, content: 'σ' };

/** Ranges of Hugging Face's `is_chinese_char` that need two UTF-16 units. */
const SPACED_IDEOGRAPHS = {
  type: 'Replace',
  pattern: {
    Regex:
      '[\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B920}-\u{2CEAF}\u{2F800}-\u{2FA1F}]',
  },
  content: ' $& ',
};

function libraryNormalizer(component: ComponentJson): ComponentJson {
  switch (component.type) {
    case 'Sequence':
      return sequence('normalizers', (component.normalizers as ComponentJson[]).map(libraryNormalizer));
    case 'BertNormalizer':
      return sequence('normalizers', [
        ...(component.handle_chinese_chars === true ? [SPACED_IDEOGRAPHS] : []),
        ...(component.lowercase === true ? [LOWER_SIGMA] : []),
        component,
      ]);
    case 'Lowercase':
      return sequence('normalizers', [LOWER_SIGMA, component]);
    case 'Replace':
      return { ...component, content: (component.content as string).replaceAll('$', '$$$$') };
    default:
      return component;
  }
}

/** Contents of character classes, as the Rust library understands its \s, \w and punctuation. */
const SPACE = '\\p{White_Space}';
const WORD = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\u200c\u200d';
const PUNCTUATION = '\\p{P}!-/:-@\\[-`{-~';

/** Pattern of GPT-2's words. */
const BYTE_LEVEL_WORDS = `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${SPACE}\\p{L}\\p{N}]+|${SPACE}+(?!\\P{White_Space})|${SPACE}+`;

function libraryPreTokenizer(component: ComponentJson): ComponentJson {
  switch (component.type) {
    case 'Sequence':
      return sequence('pretokenizers', (component.pretokenizers as ComponentJson[]).map(libraryPreTokenizer));
    case 'BertPreTokenizer':
      return sequence('pretokenizers', [onlyMatches(`[^${SPACE}]+`), split(`[${PUNCTUATION}]`)]);
    case 'WhitespaceSplit':
      return onlyMatches(`[^${SPACE}]+`);
    case 'Whitespace':
      return onlyMatches(`[${WORD}]+|[^${WORD}${SPACE}]+`);
    case 'Digits':
      return split(component.individual_digits === true ? '\\p{N}' : '\\p{N}+');
    case 'Punctuation':
      return split(component.behavior === 'Contiguous' ? `[${PUNCTUATION}]+` : `[${PUNCTUATION}]`);
    case 'ByteLevel': {
      if (component.use_regex === false) return component;
      const bytes = { ...component, add_prefix_space: false, use_regex: false };
      // A Metaspace whose replacement is a space changes nothing except that it prepends one to the text.
      const prefix = { type: 'Metaspace', replacement: ' ', prepend_scheme: 'always' };
      return sequence('pretokenizers', [
        ...(component.add_prefix_space === true ? [prefix] : []),
        split(BYTE_LEVEL_WORDS),
        bytes,
      ]);
    }
    case 'Metaspace': {
      const replacement = component.replacement as string;
      // Older files have add_prefix_space instead of prepend_scheme.
      const scheme = component.prepend_scheme ?? (component.add_prefix_space === false ? 'never' : 'always');
      const metaspace = { ...component, prepend_scheme: scheme };
      if (component.split === false) return metaspace;
      const escaped = replacement.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
      return sequence('pretokenizers', [metaspace, split(`${escaped}(?:(?!${escaped})[\\s\\S])*`)]);
    }
    default:
      return component;
  }
}

function libraryDecoder(component: ComponentJson): ComponentJson {
  switch (component.type) {
    case 'Sequence':
      return sequence('decoders', (component.decoders as ComponentJson[]).map(libraryDecoder));
    case 'Replace':
      return { ...component, content: (component.content as string).replaceAll('$', '$$$$') };
    default:
      return component;
  }
}

function sequence(list: string, parts: ComponentJson[]): ComponentJson {
  return { type: 'Sequence', [list]: parts };
}

/** Keeps the matches and drops what lies between. */
function onlyMatches(regex: string): ComponentJson {
  return { type: 'Split', pattern: { Regex: regex }, behavior: 'Removed', invert: true };
}

/** Keeps the matches and what lies between, each by itself. */
function split(regex: string): ComponentJson {
  return { type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false };
}

/** Reads which special token ids the post-processor puts before and after a single text. */
export function wrapperIds(component: ComponentJson | null): { before: number[]; after: number[] } {
  switch (component?.type) {
    case 'Sequence':
      return (component.processors as ComponentJson[]).map(wrapperIds).reduce(
        (inner, outer) => ({
          before: [...outer.before, ...inner.before],
          after: [...inner.after, ...outer.after],
        }),
        { before: [], after: [] },
      );
    case 'BertProcessing':
    case 'RobertaProcessing':
      return {
        before: [(component.cls as [string, number])[1]],
        after: [(component.sep as [string, number])[1]],
      };
    case 'TemplateProcessing': {
      const special = component.special_tokens as Record<string, { ids: number[] }>;
      const single = component.single as { SpecialToken?: { id: string } }[];
      const text = single.findIndex((item) => item.SpecialToken === undefined);
      const ids = (items: typeof single) => items.flatMap((item) => special[item.SpecialToken!.id]!.ids);
      return { before: ids(single.slice(0, text)), after: ids(single.slice(text + 1)) };
    }
    default:
      return { before: [], after: [] };
  }
}
