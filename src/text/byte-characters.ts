/**
 * @file Characters by which byte-level tokenizers write bytes: printable characters of Latin-1 stand for themselves, and the other
 * bytes in turn for U+0100 and the following.
 */

const isPrintable = (byte: number): boolean =>
  (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte <= 0xff && byte !== 0xad);

let next = 0x100;
/** Character of each byte. */
export const BYTE_CHARACTERS: readonly string[] = Array.from({ length: 256 }, (_, byte) =>
  String.fromCharCode(isPrintable(byte) ? byte : next++),
);

/** Byte of each character of {@link BYTE_CHARACTERS}. */
export const CHARACTER_BYTES: ReadonlyMap<string, number> = new Map(
  BYTE_CHARACTERS.map((character, byte) => [character, byte]),
);

/** Matches texts of printable ASCII without spaces, whose bytes stand for themselves. */
const PLAIN = /^[!-~]*$/;

/** Writes the UTF-8 bytes of a text as characters. */
export function byteCharacters(text: string): string {
  if (PLAIN.test(text)) return text;
  let result = '';
  for (const byte of Buffer.from(text)) result += BYTE_CHARACTERS[byte]!;
  return result;
}
