import { CHARACTER_BYTES } from './byte-characters.ts';
import { Pattern, type PatternJson } from './pattern.ts';
import type { ComponentJson } from './tokenizer-json.ts';

/** Turns tokens into parts of a text, to be joined without spaces. */
export type Decoder = (tokens: string[]) => string[];

/** Builds a decoder; without one, tokens are joined by spaces. */
export function makeDecoder(component: ComponentJson | null, file: string, at = 'decoder'): Decoder {
  switch (component?.type) {
    case undefined:
      return (tokens) => [tokens.join(' ')];
    case 'Sequence': {
      const parts = (component.decoders as ComponentJson[]).map((part, i) =>
        makeDecoder(part, file, `${at}.decoders[${i}]`),
      );
      return (tokens) => parts.reduce((result, part) => part(result), tokens);
    }
    case 'Fuse':
      return (tokens) => [tokens.join('')];
    case 'ByteLevel':
      return (tokens) => [fromByteCharacters(tokens)];
    case 'ByteFallback':
      return byteFallback;
    case 'WordPiece':
      return wordPiece(component.prefix as string, component.cleanup === true);
    case 'Metaspace':
      return metaspace(component);
    case 'BPEDecoder': {
      const suffix = component.suffix as string;
      return (tokens) =>
        tokens.map((token, i) => token.replaceAll(suffix, i === tokens.length - 1 ? '' : ' '));
    }
    case 'CTC':
      return ctc(component);
    case 'Replace':
      return replace(component, file, at);
    case 'Strip':
      return strip(component);
    default:
      throw new RangeError(`no decoder ${component?.type}`);
  }
}

const UTF8 = new TextDecoder('utf-8', { ignoreBOM: true });

/** Reads tokens as bytes; a token with a character that stands for no byte is read as it is. */
function fromByteCharacters(tokens: readonly string[]): string {
  const bytes = tokens.flatMap((token) => {
    const read = Array.from(token, (character) => CHARACTER_BYTES.get(character));
    return read.includes(undefined) ? [...Buffer.from(token)] : (read as number[]);
  });
  return UTF8.decode(Uint8Array.from(bytes));
}

/** Joins runs of tokens such as `<0x61>` to the characters of which they are the bytes. */
function byteFallback(tokens: string[]): string[] {
  const result: string[] = [];
  let bytes: number[] = [];
  const flush = () => {
    if (bytes.length === 0) return;
    try {
      result.push(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes)));
    } catch {
      result.push(...bytes.map(() => '\ufffd'));
    }
    bytes = [];
  };
  for (const token of tokens) {
    const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1];
    if (byte !== undefined) {
      bytes.push(Number.parseInt(byte, 16));
      continue;
    }
    flush();
    result.push(token);
  }
  flush();
  return result;
}

/** Takes back what English tokenisation does to punctuation and contractions. */
function cleanUp(text: string): string {
  const pairs = [' .', ' ?', ' !', ' ,', " ' ", " n't", " 'm", ' do not', " 's", " 've", " 're"];
  return pairs.reduce(
    (result, part) => result.replaceAll(part, part === ' do not' ? " don't" : part.trim()),
    text,
  );
}

function wordPiece(prefix: string, cleans: boolean): Decoder {
  return (tokens) =>
    tokens.map((token, i) => {
      const joined = i === 0 ? token : token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
      return cleans ? cleanUp(joined) : joined;
    });
}

function metaspace({
  replacement,
  prepend_scheme: scheme,
  add_prefix_space: prefixes,
}: ComponentJson): Decoder {
  const drops = scheme !== 'never' && prefixes !== false;
  return (tokens) =>
    tokens.map((token, i) => token.replaceAll(replacement as string, i === 0 && drops ? '' : ' '));
}

function ctc({ pad_token: pad, word_delimiter_token: delimiter, cleanup }: ComponentJson): Decoder {
  return (tokens) =>
    tokens
      .filter((token, i) => token !== tokens[i - 1])
      .map((token) => {
        const text = pad === '' ? token : token.replaceAll(pad as string, '');
        return cleanup === true ? cleanUp(text).replaceAll(delimiter as string, ' ') : text;
      })
      .filter((token) => token !== '');
}

function replace(component: ComponentJson, file: string, at: string): Decoder {
  const pattern = new Pattern(component.pattern as PatternJson, `${at}.pattern`, file);
  return (tokens) =>
    tokens.map((token) => {
      const matches = pattern.matches(token);
      let result = '';
      let end = 0;
      for (let i = 0; i < matches.length; i += 2) {
        result += token.slice(end, matches[i]) + (component.content as string);
        end = matches[i + 1]!;
      }
      return result + token.slice(end);
    });
}

/** Takes a character off both ends of each token, a number of times at most. */
function strip({ content, start: most, stop: mostAtEnd }: ComponentJson): Decoder {
  return (tokens) =>
    tokens.map((token) => {
      const characters = [...token];
      let start = 0;
      while (start < Math.min(most as number, characters.length) && characters[start] === content) start++;
      let end = characters.length;
      for (let i = 0; i < (mostAtEnd as number) && end > start && characters[end - 1] === content; i++) end--;
      return characters.slice(start, end).join('');
    });
}
