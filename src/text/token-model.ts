import { bpe } from './bpe-model.ts';
import type { TokenModel } from './model-parts.ts';
import type { TokenizerJson, WordLevelJson, WordPieceJson } from './tokenizer-json.ts';
import { unigram } from './unigram-model.ts';

/** Builds the model of a tokenizer. */
export function tokenModel(json: TokenizerJson['model']): TokenModel {
  switch (json.type) {
    case 'WordPiece':
      return wordPiece(json);
    case 'WordLevel':
      return wordLevel(json);
    case 'BPE':
      return bpe(json);
    case 'Unigram':
      return unigram(json);
  }
}

/** Cuts a word into the longest known pieces, from left to right; a word that cannot be cut is one unknown token. */
function wordPiece(json: WordPieceJson): TokenModel {
  const ids = new Map(Object.entries(json.vocab));
  const unknown = ids.get(json.unk_token)!;
  const { continuing_subword_prefix: prefix, max_input_chars_per_word: most } = json;
  let longest = 0;
  for (const token of ids.keys()) longest = Math.max(longest, token.length);
  return (piece, out) => {
    // A character has one or two UTF-16 units.
    const isTooLong = piece.length > 2 * most || (piece.length > most && [...piece].length > most);
    const first = out.length;
    for (let start = 0; start < piece.length && !isTooLong; ) {
      let end = Math.min(piece.length, start + longest);
      let id: number | undefined;
      for (; end > start; end--) {
        id = ids.get(start === 0 ? piece.slice(0, end) : prefix + piece.slice(start, end));
        if (id !== undefined) break;
      }
      if (id === undefined) {
        out.length = first;
        break;
      }
      out.push(id);
      start = end;
    }
    if (out.length === first && piece !== '') out.push(unknown);
  };
}

/** Takes a word as one token, known or unknown. */
function wordLevel(json: WordLevelJson): TokenModel {
  const ids = new Map(Object.entries(json.vocab));
  const unknown = ids.get(json.unk_token)!;
  return (piece, out) => {
    out.push(ids.get(piece) ?? unknown);
  };
}
