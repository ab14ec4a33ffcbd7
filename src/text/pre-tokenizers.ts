import { byteCharacters } from './byte-characters.ts';
import { type ComponentPlace, checkGrowth } from './normalizers.ts';
import { Pattern, type PatternJson } from './pattern.ts';
import type { ComponentJson } from './tokenizer-json.ts';
import { PUNCTUATION, SPACE, WORD } from './unicode-classes.ts';

/** Piece of a normalised text. */
export interface Piece {
  readonly text: string;
  /** UTF-16 units at its beginning that come from the first character of the original text; see `Normalizer.lead`. */
  readonly lead: number;
}

/** Cuts pieces further; none of the results is empty. */
export type PreTokenizer = (pieces: Piece[]) => Piece[];

/** Tells whether a pre-tokenizer asks where the text began, so that `Piece.lead` must be right. */
export function asksForStart(component: ComponentJson | null): boolean {
  if (component?.type === 'Sequence') return (component.pretokenizers as ComponentJson[]).some(asksForStart);
  return component?.type === 'Metaspace' && prependScheme(component) === 'first';
}

/** Builds a pre-tokenizer; without a component pieces stay as they are. */
export function makePreTokenizer(component: ComponentJson | null, place: ComponentPlace): PreTokenizer {
  switch (component?.type) {
    case undefined:
      return (pieces) => pieces;
    case 'Sequence': {
      const parts = (component.pretokenizers as ComponentJson[]).map((part, i) =>
        makePreTokenizer(part, { ...place, at: `${place.at}.pretokenizers[${i}]` }),
      );
      return (pieces) =>
        parts.reduce((result, part) => {
          const next = part(result);
          let chars = 0;
          for (const { text } of next) chars += text.length;
          checkGrowth(chars, place);
          return next;
        }, pieces);
    }
    case 'BertPreTokenizer':
      return (pieces) => splitAll(splitAll(pieces, SPACES, 'Removed'), PUNCTUATIONS, 'Isolated');
    case 'WhitespaceSplit':
      return (pieces) => splitAll(pieces, SPACES, 'Removed');
    case 'Whitespace':
      return (pieces) => splitAll(pieces, WORDS, 'Removed', true);
    case 'Punctuation': {
      const behavior = (component.behavior ?? 'Isolated') as Behavior;
      return (pieces) => splitAll(pieces, PUNCTUATIONS, behavior);
    }
    case 'Digits': {
      const behavior = component.individual_digits === true ? 'Isolated' : 'Contiguous';
      return (pieces) => splitAll(pieces, NUMBERS, behavior);
    }
    case 'CharDelimiterSplit': {
      const delimiter = new Pattern({ String: component.delimiter as string }, place.at, place.file);
      return (pieces) => splitAll(pieces, delimiter, 'Removed');
    }
    case 'FixedLength': {
      const length = (component.length ?? 5) as number;
      return (pieces) => pieces.flatMap((piece) => chunks(piece, length));
    }
    case 'Split': {
      const pattern = new Pattern(component.pattern as PatternJson, `${place.at}.pattern`, place.file);
      place.limits.isForeign ||= pattern.isForeign;
      const behavior = component.behavior as Behavior;
      return (pieces) => splitAll(pieces, pattern, behavior, component.invert === true);
    }
    case 'ByteLevel':
      return byteLevel(component);
    case 'Metaspace':
      return metaspace(component, place.file);
    default:
      throw new RangeError(`no pre-tokenizer ${component?.type}`);
  }
}

/** Finds matches in a text: [start, end, start, end, …] in UTF-16 units. */
interface Matcher {
  matches(text: string): number[];
}

/** Matcher of an expression that matches no empty text. */
function matcher(source: string): Matcher {
  const regex = new RegExp(source, 'gv');
  return {
    matches: (text) => {
      const found: number[] = [];
      regex.lastIndex = 0;
      for (let match = regex.exec(text); match !== null; match = regex.exec(text)) {
        found.push(match.index, regex.lastIndex);
      }
      return found;
    },
  };
}

const SPACES = matcher(SPACE);
const PUNCTUATIONS = matcher(PUNCTUATION);
const NUMBERS = matcher('\\p{N}');
const WORDS = matcher(`${WORD}+|[^${WORD}${SPACE}]+`);
/** Words of GPT-2, with Unicode's spaces. */
const BYTE_LEVEL_WORDS = matcher(
  `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${SPACE}\\p{L}\\p{N}]+|${SPACE}+(?!\\P{White_Space})|${SPACE}+`,
);

/** What becomes of the delimiters that a split finds. */
type Behavior = 'Removed' | 'Isolated' | 'MergedWithPrevious' | 'MergedWithNext' | 'Contiguous';

function splitAll(
  pieces: readonly Piece[],
  delimiter: Matcher,
  behavior: Behavior,
  inverted = false,
): Piece[] {
  const result: Piece[] = [];
  for (const piece of pieces) {
    const matches = delimiter.matches(piece.text);
    if (matches.length === 0 && (behavior !== 'Removed' || !inverted)) result.push(piece);
    else splitAt(piece, segments(piece.text.length, matches, inverted), behavior, result);
  }
  return result;
}

/** Part of a text that a delimiter matched, or that lies between matches. */
interface Segment {
  start: number;
  end: number;
  isDelimiter: boolean;
}

/** Lists the parts of a text, of which `matches` are the delimiters, or all but the delimiters. */
function segments(length: number, matches: readonly number[], inverted: boolean): Segment[] {
  const result: Segment[] = [];
  let last = 0;
  for (let i = 0; i < matches.length; i += 2) {
    const [start, end] = [matches[i]!, matches[i + 1]!];
    if (last !== start) result.push({ start: last, end: start, isDelimiter: inverted });
    result.push({ start, end, isDelimiter: !inverted });
    last = end;
  }
  if (last !== length) result.push({ start: last, end: length, isDelimiter: inverted });
  return result;
}

function splitAt(piece: Piece, parts: Segment[], behavior: Behavior, result: Piece[]): void {
  const joined = behavior === 'Removed' ? parts.filter((part) => !part.isDelimiter) : merged(parts, behavior);
  for (const { start, end } of joined) {
    if (end > start) {
      result.push({
        text: piece.text.slice(start, end),
        lead: Math.max(0, Math.min(end, piece.lead) - start),
      });
    }
  }
}

/** Joins delimiters with their neighbours. Empty matches of a delimiter count, as in Hugging Face's library. */
function merged(parts: Segment[], behavior: Exclude<Behavior, 'Removed'>): Segment[] {
  if (behavior === 'Isolated') return parts;
  const result: Segment[] = [];
  const backwards = behavior === 'MergedWithNext';
  let previous = false;
  for (const part of backwards ? parts.reverse() : parts) {
    const joins = behavior === 'Contiguous' ? part.isDelimiter === previous : part.isDelimiter && !previous;
    const last = result.at(-1);
    if (!joins || last === undefined) result.push({ ...part });
    else if (backwards) last.start = part.start;
    else last.end = part.end;
    previous = part.isDelimiter;
  }
  return backwards ? result.reverse() : result;
}

/** Cuts a piece into chunks of `length` characters. */
function chunks(piece: Piece, length: number): Piece[] {
  const characters = [...piece.text];
  const ends: Segment[] = [];
  let start = 0;
  for (let i = 0; i < characters.length; i += length) {
    const end = start + characters.slice(i, i + length).join('').length;
    ends.push({ start, end, isDelimiter: false });
    start = end;
  }
  const result: Piece[] = [];
  splitAt(piece, ends, 'Isolated', result);
  return result;
}

function byteLevel({ add_prefix_space: prefixes, use_regex: splits }: ComponentJson): PreTokenizer {
  return (pieces) => {
    const spaced =
      prefixes === true
        ? pieces.map((piece) => (piece.text.startsWith(' ') ? piece : prefixed(piece, ' ')))
        : pieces;
    const words = splits === false ? spaced : splitAll(spaced, BYTE_LEVEL_WORDS, 'Isolated');
    return words.map(({ text, lead }) => ({
      text: byteCharacters(text),
      lead: lead === 0 ? 0 : byteCharacters(text.slice(0, lead)).length,
    }));
  };
}

/** Puts a text before a piece, as part of the first character. */
const prefixed = ({ text, lead }: Piece, prefix: string): Piece => ({
  text: prefix + text,
  lead: lead === 0 ? 0 : lead + prefix.length,
});

/** Older files have `add_prefix_space` instead of `prepend_scheme`. */
const prependScheme = (component: ComponentJson): unknown =>
  component.add_prefix_space === false ? 'never' : (component.prepend_scheme ?? 'always');

function metaspace(component: ComponentJson, file: string): PreTokenizer {
  const replacement = component.replacement as string;
  const scheme = prependScheme(component);
  const delimiter = new Pattern({ String: replacement }, 'replacement', file);
  return (pieces) => {
    const marked = pieces.map((piece) => {
      const { text, lead } = piece;
      const replaced: Piece = text.includes(' ')
        ? {
            text: text.replaceAll(' ', () => replacement),
            lead: lead === 0 ? 0 : text.slice(0, lead).replaceAll(' ', () => replacement).length,
          }
        : piece;
      const prepends = scheme === 'always' || (scheme === 'first' && lead > 0);
      return prepends && !replaced.text.startsWith(replacement) ? prefixed(replaced, replacement) : replaced;
    });
    return component.split === false ? marked : splitAll(marked, delimiter, 'MergedWithNext');
  };
}
