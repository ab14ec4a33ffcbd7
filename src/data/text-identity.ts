/** Lists all documents that are the same as a document, including itself; empty if there is no other. */
export type DuplicateMap = (document: number) => ArrayLike<number>;

/** Token sequences by row, such as those of a `TokenStore`. */
export interface TokenRows {
  /** Number of sequences. */
  readonly rows: number;
  /** Token ids of a row. */
  tokens(row: number): ArrayLike<number>;
}

/** Texts of both sides, by row. */
export interface SideTexts {
  /** Number of documents N. */
  readonly documents: number;
  /** Returns the text of a document. */
  readonly document: (row: number) => string;
  /** Number of queries Q. */
  readonly queries: number;
  /** Returns the text of a query. */
  readonly query: (row: number) => string;
}

/** Texts that are all the same: rows of the documents, and of the queries, ascending. */
interface SameTexts {
  readonly documents: number[];
  readonly queries: number[];
}

const NONE: readonly number[] = [];

/**
 * Returns the form of a text by which texts are compared: Unicode NFC, without differences of case, and with single spaces in
 * place of all white space. Texts of equal forms are the same text.
 */
export function comparableText(text: string): string {
  const trimmed = text.trim();
  const isSpaced = /[^\S ]|\u0085| {2}/.test(trimmed);
  const plain = (isSpaced ? trimmed.replace(/[\s\u0085]+/g, ' ').trim() : trimmed).toLowerCase();
  if (/^[\0-\x7f]*$/.test(plain)) return plain;
  // Upper case joins what lower case keeps apart: ß and ss, ς and σ, ſ and s. It would also join ı with i, which are two letters.
  // The limit keeps the stack of the regular expression small.
  const folded = plain
    .normalize('NFC')
    .replace(/[^\0-\x7fı]{1,65536}/gu, (run) => run.toUpperCase().toLowerCase());
  return folded.normalize('NFC').trim();
}

/**
 * Decides which texts of a data set are the same. Everything that keeps right answers out of the negatives asks here: masks,
 * mining, and the known positives of a run.
 *
 * Two texts are the same if their {@link comparableText} is. Documents of equal tokens, and queries of equal tokens, are the
 * same as well where tokens are given: an encoder cannot tell them apart.
 *
 * Memory: 4 bytes a text, and some more for each text that is not the only one of its kind. Hashes find the candidates, and
 * texts are compared in full.
 */
export class TextIdentity {
  readonly #documents: number;
  /** Smallest of the texts that are the same; documents come first, then queries. */
  readonly #first: Int32Array;
  /** Texts that are the same, by the smallest; only where there are several. */
  readonly #same = new Map<number, SameTexts>();

  /** @param tokens  tokens of all documents and queries, if an encoder reads them */
  constructor(texts: SideTexts, tokens?: { readonly documents: TokenRows; readonly queries: TokenRows }) {
    const { documents, queries } = texts;
    const text = (row: number) => (row < documents ? texts.document(row) : texts.query(row - documents));
    this.#documents = documents;
    this.#first = firstEqual(documents + queries, {
      read: (row) => comparableText(text(row)),
      hash: hashText,
      equal: (a, b) => a === b,
    });
    if (tokens) {
      join(this.#first, firstEqualTokens(tokens.documents), 0);
      join(this.#first, firstEqualTokens(tokens.queries), documents);
    }
    for (const [row, first] of this.#first.entries()) {
      if (row === first) continue;
      const same = this.#same.get(first) ?? { documents: [], queries: [] };
      if (!this.#same.has(first)) this.#add(same, first);
      this.#same.set(first, same);
      this.#add(same, row);
    }
  }

  /** Lists the documents that are the same as a document, including itself; empty if there is no other. */
  copies(document: number): readonly number[] {
    const found = this.#sameAs(document)?.documents ?? NONE;
    return found.length > 1 ? found : NONE;
  }

  /** Lists the queries that are the same as a query, including itself; empty if there is no other. */
  twins(query: number): readonly number[] {
    const found = this.#sameAs(this.#documents + query)?.queries ?? NONE;
    return found.length > 1 ? found : NONE;
  }

  /** Lists the documents that have the text of a query. */
  ownDocuments(query: number): readonly number[] {
    return this.#sameAs(this.#documents + query)?.documents ?? NONE;
  }

  /**
   * Makes the list of documents that are never negatives of a query: known positives of all queries that are the same, the copies
   * of these, and documents that have the text of the query.
   *
   * @param positives  returns the known positives of a query, ascending
   * @returns  document rows of a query, ascending
   */
  rightAnswers(positives: (query: number) => Int32Array): (query: number) => Int32Array {
    const ofTwins = new Map<number, Int32Array>();
    const collect = (query: number): Int32Array => {
      const twins = this.twins(query);
      const rows = new Set(this.ownDocuments(query));
      for (const twin of twins.length > 0 ? twins : [query])
        for (const row of positives(twin)) {
          rows.add(row);
          for (const copy of this.copies(row)) rows.add(copy);
        }
      return Int32Array.from(rows).sort();
    };
    return (query) => {
      const own = positives(query);
      const isAlone = this.#sameAs(this.#documents + query) === undefined;
      if (isAlone && own.every((row) => this.copies(row).length === 0)) return own;
      const [first] = this.twins(query);
      if (first === undefined) return collect(query);
      const known = ofTwins.get(first) ?? collect(first);
      ofTwins.set(first, known);
      return known;
    };
  }

  #sameAs(text: number): SameTexts | undefined {
    return this.#same.get(this.#first[text]!);
  }

  #add({ documents, queries }: SameTexts, text: number): void {
    if (text < this.#documents) documents.push(text);
    else queries.push(text - this.#documents);
  }
}

/**
 * Finds documents with equal tokens, so that masks can cover every copy of a right answer. Takes a few bytes
 * of memory for each document, and some more for each with a copy.
 *
 * @param texts  N token sequences, such as a `TokenStore`
 */
export function duplicateMap(texts: TokenRows): DuplicateMap {
  const first = firstEqualTokens(texts);
  const groups = new Map<number, number[]>();
  for (const [row, start] of first.entries()) {
    if (row === start) continue;
    const group = groups.get(start);
    if (group) group.push(row);
    else groups.set(start, [start, row]);
  }
  return (document) => groups.get(first[document] ?? document) ?? NONE;
}

const firstEqualTokens = (texts: TokenRows): Int32Array =>
  firstEqual(texts.rows, { read: (row) => texts.tokens(row), hash: hashTokens, equal: sameTokens });

/** Finds the first row that is equal to each row: i32[rows]. Hash table with open addressing: slot → row + 1, or 0. */
function firstEqual<T>(
  rows: number,
  of: { read: (row: number) => T; hash: (value: T) => number; equal: (a: T, b: T) => boolean },
): Int32Array {
  const slots = new Int32Array(2 ** Math.ceil(Math.log2(2 * rows + 2)));
  const hashes = new Uint32Array(rows);
  const first = new Int32Array(rows);
  for (let row = 0; row < rows; row++) {
    const value = of.read(row);
    const hash = of.hash(value) >>> 0;
    hashes[row] = hash;
    let slot = hash & (slots.length - 1);
    for (; slots[slot]! > 0; slot = (slot + 1) & (slots.length - 1)) {
      const other = slots[slot]! - 1;
      if (hashes[other] === hash && of.equal(value, of.read(other))) break;
    }
    if (slots[slot] === 0) slots[slot] = row + 1;
    first[row] = slots[slot]! - 1;
  }
  return first;
}

/** Joins classes: rows with an equal `others` are the same too. Each entry of `first` is then the smallest row of its class. */
function join(first: Int32Array, others: Int32Array, offset: number): void {
  const root = (row: number): number => {
    let at = row;
    while (first[at] !== at) at = first[at]!;
    return at;
  };
  for (const [row, other] of others.entries()) {
    if (row === other) continue;
    const [a, b] = [root(offset + row), root(offset + other)];
    first[Math.max(a, b)] = Math.min(a, b);
  }
  for (const row of first.keys()) first[row] = root(row);
}

/** Computes a 32-bit FNV-1a hash of the UTF-16 units, with a final mix. */
function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return mixed(hash);
}

/** Computes a 32-bit FNV-1a hash of the token ids, with a final mix. */
function hashTokens(tokens: ArrayLike<number>): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < tokens.length; i++) hash = Math.imul(hash ^ tokens[i]!, 0x01000193);
  return mixed(hash);
}

/** Spreads the bits of a hash, because a table reads the lowest ones. */
function mixed(hash: number): number {
  const half = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return half ^ (half >>> 13);
}

function sameTokens(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
