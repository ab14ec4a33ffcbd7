import { createHash } from 'node:crypto';
import type { TokenCorpus } from '../data/token-corpus.ts';
import type { TokenArray } from '../text/token-store.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import type { Passages } from './passages.ts';

/** Chunk of a document. */
export interface Chunk {
  /** Row of the document in the corpus. */
  readonly document: number;
  /** Position of its first token in the document. */
  readonly start: number;
}

/**
 * Documents cut into chunks of m tokens, as RETRO retrieves them. Rows are chunks, document after document; the last chunk of a document
 * may be shorter. As a collection of passages, the text of a row is the decoded chunk, and its id `<document>#<chunk>`, from 0.
 */
export class ChunkDatabase implements Passages {
  /** Tokens of a chunk, m. */
  readonly chunkTokens: number;
  /** Number of chunks N. */
  readonly size: number;
  /** Documents of the chunks. */
  readonly corpus: TokenCorpus;
  readonly #tokenizer: Tokenizer;
  /** First row of each document, and N at the end. */
  readonly #firsts: Uint32Array;
  readonly #documents: Uint32Array;

  /**
   * Cuts documents into chunks. The tokens are not copied.
   *
   * @param tokenizer tokenizer that has made the tokens
   */
  constructor(corpus: TokenCorpus, tokenizer: Tokenizer, chunkTokens: number) {
    this.corpus = corpus;
    this.chunkTokens = chunkTokens;
    this.#tokenizer = tokenizer;
    const { lengths } = corpus.tokens;
    const firsts = new Uint32Array(lengths.length + 1);
    for (let document = 0; document < lengths.length; document++)
      firsts[document + 1] = firsts[document]! + Math.ceil(lengths[document]! / chunkTokens);
    this.#firsts = firsts;
    this.size = firsts[lengths.length]!;
    this.#documents = new Uint32Array(this.size);
    for (let document = 0; document < lengths.length; document++)
      this.#documents.fill(document, firsts[document], firsts[document + 1]);
  }

  /** Row of the first chunk of a document. */
  first(document: number): number {
    return this.#firsts[document]!;
  }

  /** Place of a chunk in the corpus. */
  chunk(row: number): Chunk {
    const document = this.#documents[row]!;
    return { document, start: (row - this.#firsts[document]!) * this.chunkTokens };
  }

  /** Tokens of a chunk, [≤ m]. */
  tokens(row: number): TokenArray {
    return this.#read(row, this.chunkTokens);
  }

  /** Tokens of a chunk and of its continuation, the chunk after it in the document: [≤ 2m]. */
  continued(row: number): TokenArray {
    return this.#read(row, 2 * this.chunkTokens);
  }

  id(row: number): string {
    const { document, start } = this.chunk(row);
    return `${this.corpus.ids.get(document)}#${start / this.chunkTokens}`;
  }

  text(row: number): string {
    return this.#tokenizer.decode(this.tokens(row));
  }

  document(row: number): string {
    return this.corpus.ids.get(this.#documents[row]!);
  }

  /** Passages of chunks with their continuations: what a reader of the database sees. */
  get readPassages(): Passages {
    return {
      size: this.size,
      id: (row) => this.id(row),
      text: (row) => this.#tokenizer.decode(this.continued(row)),
      document: (row) => this.document(row),
    };
  }

  /** Digest of the documents, their ids and their tokens, and of m: 16 hexadecimal digits. Computed at each call. */
  digest(): string {
    const { corpus, chunkTokens } = this;
    const hash = createHash('sha256').update(`${corpus.fingerprint} ${chunkTokens}\n`);
    for (let row = 0; row < corpus.tokens.rows; row++)
      hash.update(Int32Array.from(corpus.tokens.tokens(row)));
    return hash.digest('hex').slice(0, 16);
  }

  #read(row: number, most: number): TokenArray {
    const { document, start } = this.chunk(row);
    const end = Math.min(start + most, this.corpus.tokens.length(document));
    return this.corpus.tokens.tokens(document, start, end);
  }
}
