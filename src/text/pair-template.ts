import { DataError } from '../util/errors.ts';
import type { ComponentJson, TokenizerJson } from './tokenizer-json.ts';

/** Part of an encoded pair: special tokens, or the tokens of one of the two texts. All of its tokens have one type. */
export interface PairPart {
  /** Ids of special tokens, or the text whose tokens stand here: 0 for the first one, 1 for the second. */
  readonly content: readonly number[] | 0 | 1;
  /** Token type (segment), usually 0 or 1. */
  readonly type: number;
}

/**
 * Reads how a tokenizer joins two texts: `[CLS] a [SEP] b [SEP]` with the types 0 0 0 1 1 for BERT, `<s> a </s></s> b </s>` with
 * type 0 for RoBERTa, and whatever a template says.
 *
 * @param file  file of the tokenizer, for messages
 * @throws DataError for a template of pairs that lacks a text, or has one twice
 */
export function pairTemplate(
  { post_processor }: Pick<TokenizerJson, 'post_processor'>,
  file: string,
): PairPart[] {
  const [processor, second] = processors(post_processor).filter(({ type }) => type !== 'ByteLevel');
  if (second) {
    throw new DataError(
      `post_processor: ${second.type} after ${processor!.type} is not supported for pairs`,
      {
        file,
        help: 'one of BertProcessing, RobertaProcessing and TemplateProcessing says how two texts are joined',
      },
    );
  }
  switch (processor?.type) {
    case undefined:
      return [
        { content: 0, type: 0 },
        { content: 1, type: 1 },
      ];
    case 'BertProcessing':
      return bertPair(...ends(processor));
    case 'RobertaProcessing':
      return robertaPair(...ends(processor));
    default:
      return templatePair(processor!, file);
  }
}

/** `[CLS] a [SEP] b [SEP]`, of which `b [SEP]` has type 1. */
export const bertPair = (cls: number, sep: number): PairPart[] => [
  { content: [cls], type: 0 },
  { content: 0, type: 0 },
  { content: [sep], type: 0 },
  { content: 1, type: 1 },
  { content: [sep], type: 1 },
];

/** `<s> a </s></s> b </s>`, all of type 0. */
export const robertaPair = (cls: number, sep: number): PairPart[] => [
  { content: [cls], type: 0 },
  { content: 0, type: 0 },
  { content: [sep, sep], type: 0 },
  { content: 1, type: 0 },
  { content: [sep], type: 0 },
];

const processors = (component: ComponentJson | null): ComponentJson[] =>
  component === null
    ? []
    : component.type === 'Sequence'
      ? (component.processors as ComponentJson[]).flatMap(processors)
      : [component];

const ends = ({ cls, sep }: ComponentJson): [cls: number, sep: number] => [
  (cls as [string, number])[1],
  (sep as [string, number])[1],
];

/** Item of a template. */
interface TemplateItem {
  readonly SpecialToken?: { readonly id: string; readonly type_id?: number };
  readonly Sequence?: { readonly id: string; readonly type_id?: number };
}

function templatePair({ pair, special_tokens: special }: ComponentJson, file: string): PairPart[] {
  const named = special as Record<string, { ids: number[] } | undefined>;
  const fail = (expected: string, found: unknown): never => {
    throw new DataError(`post_processor.pair: expected ${expected}, found ${JSON.stringify(found)}`, {
      file,
      help: 'write the template of pairs of the original model, such as [CLS] $A [SEP] $B:1 [SEP]:1',
    });
  };
  const parts = ((pair ?? []) as TemplateItem[]).map((item): PairPart => {
    const { SpecialToken: token, Sequence: text } = item;
    const type = token?.type_id ?? text?.type_id ?? 0;
    if (!Number.isSafeInteger(type) || type < 0) return fail('token types from 0 on', item);
    if (token) {
      const ids = named[token.id]?.ids;
      return ids ? { content: ids, type } : fail('a token of special_tokens', item);
    }
    if (text?.id === 'A') return { content: 0, type };
    return text?.id === 'B' ? { content: 1, type } : fail('a special token, or the sequence A or B', item);
  });
  for (const which of [0, 1]) {
    if (parts.filter(({ content }) => content === which).length !== 1) fail('each of $A and $B once', pair);
  }
  return parts;
}
