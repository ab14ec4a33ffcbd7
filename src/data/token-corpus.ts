import { createHash } from 'node:crypto';
import { type TokenStore, TokenStoreBuilder } from '../text/token-store.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { UndriftError } from '../util/errors.ts';
import type { Progress } from '../util/progress.ts';
import type { SpillFile } from '../util/spill-file.ts';
import { wordCount } from './sentences.ts';
import { StringTable } from './string-table.ts';
import type { TextDocument } from './text-corpus.ts';

/** Tokens of the documents of a corpus, with what measures of a language model need. Row i of each member belongs to document i. */
export interface TokenCorpus {
  /** Ids of the documents: their number, and the id of each row. */
  readonly ids: { readonly size: number; get(row: number): string };
  /** Token ids of the texts, without special tokens. */
  readonly tokens: TokenStore;
  /** UTF-8 bytes of each text, [N]. */
  readonly bytes: Float64Array;
  /** Words of each text, [N]: runs of characters that are no white space, or the words of Unicode in scripts without spaces. */
  readonly words: Float64Array;
  /** Digest of ids and texts: 16 hexadecimal digits. */
  readonly fingerprint: string;
}

/** Settings of {@link tokenizeCorpus}. */
export interface TokenCorpusOptions {
  /** File for ids and tokens. Default: they stay in memory. */
  readonly spill?: SpillFile | undefined;
  /** Number of tokens after which no further document is read. The last document is kept whole. Default: all are read. */
  readonly limitTokens?: number | undefined;
  /** Called with the number of documents after every 256th. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/**
 * Tokenises a stream of documents. The texts themselves are not kept: memory is about 36 bytes a document, and without `spill` also
 * 2 bytes a token (4 for a vocabulary of more than 65,536).
 *
 * @param documents  documents, such as those of `streamTextCorpus`
 * @throws UndriftError that names the document where its text cannot be tokenised
 */
export async function tokenizeCorpus(
  documents: AsyncIterable<TextDocument> | Iterable<TextDocument>,
  tokenizer: Tokenizer,
  { spill, limitTokens = Number.POSITIVE_INFINITY, onProgress }: TokenCorpusOptions = {},
): Promise<TokenCorpus> {
  const ids = new StringTable({ spill });
  const builder = new TokenStoreBuilder(tokenizer.vocabSize, { spill });
  const digest = new CorpusDigest();
  const bytes: number[] = [];
  const words: number[] = [];
  let total = 0;
  for await (const document of documents) {
    const { id, text } = document;
    const tokens = encoded(tokenizer, document);
    ids.add(id);
    builder.add(tokens);
    digest.add(document);
    bytes.push(Buffer.byteLength(text));
    words.push(wordCount(text));
    total += tokens.length;
    if (bytes.length % 256 === 0)
      onProgress?.({ stage: 'tokenise', done: bytes.length, total: undefined, unit: 'documents' });
    if (total >= limitTokens) break;
  }
  return {
    ids: ids.trim(),
    tokens: builder.finish(),
    bytes: Float64Array.from(bytes),
    words: Float64Array.from(words),
    fingerprint: digest.finish(),
  };
}

/** Encodes the whole text of a document. */
function encoded(tokenizer: Tokenizer, { id, text }: TextDocument): Int32Array {
  try {
    return tokenizer.encodeRaw(text);
  } catch (cause) {
    if (!(cause instanceof UndriftError)) throw cause;
    const { help } = cause.marked;
    throw new UndriftError(`document ${JSON.stringify(id)}: ${cause.marked.message}`, {
      cause,
      ...(help !== undefined && { help }),
    });
  }
}

/** Digest of the ids and texts of a corpus, in their order. */
export class CorpusDigest {
  readonly #hash = createHash('sha256');

  /** Adds a document. */
  add({ id, text }: TextDocument): void {
    for (const part of [id, text]) {
      this.#hash.update(Float64Array.of(Buffer.byteLength(part)));
      this.#hash.update(part);
    }
  }

  /** Returns the first 16 hexadecimal digits of SHA-256 of what was added so far. */
  finish(): string {
    return this.#hash.copy().digest('hex').slice(0, 16);
  }
}
