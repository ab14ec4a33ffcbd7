/**
 * Copies `text` into a string that shares no memory with the string it was cut from.
 *
 * V8 keeps the whole parent alive for a slice of 13 or more characters. Without the copy, a dictionary of
 * words would hold every document it was counted from.
 */
export function ownString(text: string): string {
  return text.length < 13 ? text : Buffer.from(text, 'utf16le').toString('utf16le');
}
