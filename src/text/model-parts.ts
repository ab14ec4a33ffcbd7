/**
 * Model of a tokenizer: appends the ids of one piece of text to `ids`.
 *
 * @throws UnknownPiece when there is no token for a part of the piece, and none for unknown parts either
 */
export type TokenModel = (piece: string, ids: number[]) => void;

/** Error of a model that has no token for a part of a text. */
export class UnknownPiece extends Error {
  readonly piece: string;

  constructor(piece: string) {
    super(`no token for ${JSON.stringify(piece)}`);
    this.piece = piece;
  }
}

/** Ids of the tokens `<0x00>` to `<0xFF>`, by which models with byte fallback write unknown text; undefined where one is missing. */
export function byteTokens(ids: ReadonlyMap<string, number>): readonly (number | undefined)[] {
  return Array.from({ length: 256 }, (_, byte) =>
    ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
  );
}

/** Ids of the UTF-8 bytes of a text; undefined if the vocabulary lacks one of them. */
export function bytesAsIds(text: string, tokens: readonly (number | undefined)[]): number[] | undefined {
  const ids: number[] = [];
  for (const byte of Buffer.from(text)) {
    const id = tokens[byte];
    if (id === undefined) return undefined;
    ids.push(id);
  }
  return ids;
}
