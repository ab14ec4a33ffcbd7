import { DataError } from '../util/errors.ts';
import { byteCharacters } from './byte-characters.ts';
import { Charsmap } from './charsmap.ts';
import { Pattern, type PatternJson } from './pattern.ts';
import type { ComponentJson } from './tokenizer-json.ts';
import { CONTROL, IDEOGRAPH, MARK, NONSPACING_MARK, SPACE } from './unicode-classes.ts';

/** Normalizer of a `tokenizer.json`. */
export interface Normalizer {
  normalize(text: string): string;
  /**
   * Counts the UTF-16 units at the beginning of the normalised text that come from the first character of the
   * original one. Metaspace asks for this to decide what is the beginning of a text.
   *
   * @param lead  number of such units of `text`
   */
  lead(text: string, lead: number): number;
}

/** Place of a component in its file. */
export interface ComponentPlace {
  /** Name of the file. */
  readonly file: string;
  /** Path of the component in it, such as `normalizer.normalizers[1]`. */
  readonly at: string;
  readonly limits: Limits;
}

/** What the components of a file share: how far texts may grow, and whether the time must be limited. */
export interface Limits {
  /** Longest text that the normalizers may make out of the present one, in UTF-16 units. */
  mostChars: number;
  /** Whether a regular expression of the file may take long; see `Pattern.isForeign`. */
  isForeign: boolean;
}

/** @throws DataError when the components of a file make a text too long */
export function checkGrowth(chars: number, { at, file, limits }: ComponentPlace): void {
  if (chars <= limits.mostChars) return;
  throw new DataError(`${at}: the components of this file make a text more than 64 times as long`, {
    file,
    help: 'take out the components by which texts grow; no usable tokenizer has them',
  });
}

/** Builds a normalizer. */
export function makeNormalizer(component: ComponentJson | null, place: ComponentPlace): Normalizer | null {
  if (component === null) return null;
  const { at, file } = place;
  switch (component.type) {
    case 'Sequence': {
      const parts = (component.normalizers as ComponentJson[]).map(
        (part, i) => makeNormalizer(part, { ...place, at: `${at}.normalizers[${i}]` })!,
      );
      return {
        normalize: (text) =>
          parts.reduce((result, part) => {
            const next = part.normalize(result);
            checkGrowth(next.length, place);
            return next;
          }, text),
        lead: (text, lead) => {
          let [rest, units] = [text, lead];
          for (const part of parts) {
            units = part.lead(rest, units);
            rest = part.normalize(rest);
          }
          return units;
        },
      };
    }
    case 'Replace':
      return replacing(component, place);
    case 'Precompiled': {
      const { precompiled_charsmap: base64 } = component;
      const map = typeof base64 === 'string' ? new Charsmap(base64, file) : undefined;
      return characterwise((text) => map?.normalize(text) ?? text);
    }
    case 'BertNormalizer':
      return characterwise(bert(component));
    case 'Prepend': {
      const prefix = component.prepend as string;
      return characterwise((text) => (text === '' ? '' : prefix + text));
    }
    case 'Strip':
      return stripping(component.strip_left === true, component.strip_right === true);
    default:
      return characterwise(SIMPLE[component.type]!);
  }
}

const ANY = { space: new RegExp(SPACE, 'gu'), mark: new RegExp(MARK, 'gv') } as const;
const NMT_CONTROLS = '\\u0001-\\u0008\\u000b\\u000e-\\u001f\\u007f\\u008f\\u009f';
const NMT_REMOVED = new RegExp(`[${NMT_CONTROLS}]`, 'g');
const NMT_SPACES = /[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g;

const SIMPLE: Readonly<Record<string, (text: string) => string>> = {
  ByteLevel: byteCharacters,
  Lowercase: lowercase,
  NFC: (text) => text.normalize('NFC'),
  NFD: (text) => text.normalize('NFD'),
  NFKC: (text) => text.normalize('NFKC'),
  NFKD: (text) => text.normalize('NFKD'),
  Nmt: (text) => text.replace(NMT_REMOVED, '').replace(NMT_SPACES, ' '),
  StripAccents: (text) => text.replace(ANY.mark, ''),
};

/** Lowers every character by itself: JavaScript alone writes a capital sigma at the end of a word as ς. */
function lowercase(text: string): string {
  return (text.includes('Σ') ? text.replaceAll('Σ', 'σ') : text).toLowerCase();
}

const BERT = {
  control: new RegExp(CONTROL, 'gv'),
  ideograph: new RegExp(IDEOGRAPH, 'gv'),
  mark: new RegExp(NONSPACING_MARK, 'gv'),
} as const;
/** Matches texts that BertNormalizer leaves as they are, but for the case of letters. */
const BERT_PLAIN = /^[ -~]*$/;

function bert(component: ComponentJson): (text: string) => string {
  const { clean_text: cleans, handle_chinese_chars: spaces, lowercase: lowers } = component;
  const strips = component.strip_accents ?? lowers;
  return (text) => {
    if (BERT_PLAIN.test(text)) return lowers ? text.toLowerCase() : text;
    let result = text;
    if (cleans) result = result.replace(BERT.control, '').replace(ANY.space, ' ');
    if (spaces) result = result.replace(BERT.ideograph, ' $& ');
    if (strips) result = result.normalize('NFD').replace(BERT.mark, '');
    return lowers ? lowercase(result) : result;
  };
}

const LEFT = new RegExp(`^${SPACE}+`, 'u');

function stripping(left: boolean, right: boolean): Normalizer {
  const ends = (text: string): [start: number, end: number] => {
    const start = left ? (LEFT.exec(text)?.[0].length ?? 0) : 0;
    let end = text.length;
    // A regular expression would take time quadratic in a run of spaces that does not end the text.
    while (right && end > start && isSpace(text[end - 1]!)) end--;
    return [start, end];
  };
  return {
    normalize: (text) => text.slice(...ends(text)),
    lead: (text, lead) => {
      const [start, end] = ends(text);
      return Math.max(0, Math.min(lead, end) - start);
    },
  };
}

const ONE_SPACE = new RegExp(`^${SPACE}$`, 'u');
const isSpace = (character: string): boolean => ONE_SPACE.test(character);

/** Normalizer whose result begins with the result for the first character. */
function characterwise(normalize: (text: string) => string): Normalizer {
  return { normalize, lead: (text, lead) => (lead > 0 ? normalize(text.slice(0, lead)).length : 0) };
}

function replacing(component: ComponentJson, { at, file, limits }: ComponentPlace): Normalizer {
  const pattern = new Pattern(component.pattern as PatternJson, `${at}.pattern`, file);
  limits.isForeign ||= pattern.isForeign;
  const content = component.content as string;
  return {
    normalize: (text) => {
      const matches = pattern.matches(text);
      const size = text.length + (matches.length / 2) * content.length;
      checkGrowth(size, { at, file, limits });
      if (matches[1] === 0) {
        throw new DataError(`${at}.pattern matches the empty text at the beginning of a text`, {
          file,
          help: 'Hugging Face’s library makes an error of this: use Prepend, or an expression that matches characters',
        });
      }
      let result = '';
      let end = 0;
      for (let i = 0; i < matches.length; i += 2) {
        result += text.slice(end, matches[i]) + content;
        end = matches[i + 1]!;
      }
      return end === 0 && result === '' ? text : result + text.slice(end);
    },
    // New characters are counted as part of the last one that they replace.
    lead: (text, lead) => {
      if (lead === 0) return 0;
      const matches = pattern.matches(text);
      let units = 0;
      let end = 0;
      for (let i = 0; i < matches.length && matches[i]! <= lead; i += 2) {
        units += matches[i]! - end;
        end = matches[i + 1]!;
        if (end > lead) return units;
        units += content.length;
      }
      return units + Math.max(0, lead - end);
    },
  };
}
