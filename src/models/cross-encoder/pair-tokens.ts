import type { CrossEncoder, TokenPair } from './cross-encoder.ts';

/** Texts of queries and documents, by row. */
export interface PairTexts {
  readonly query: (row: number) => string;
  readonly document: (row: number) => string;
}

/** Token ids of queries and documents for pairs, each text tokenised once, when it is first asked for. */
export class PairTokens {
  private readonly crossEncoder: Pick<CrossEncoder, 'pairs'>;
  private readonly texts: PairTexts;
  private readonly queries = new Map<number, Int32Array>();
  private readonly documents = new Map<number, Int32Array>();

  constructor(crossEncoder: Pick<CrossEncoder, 'pairs'>, texts: PairTexts) {
    this.crossEncoder = crossEncoder;
    this.texts = texts;
  }

  /** Token ids of a query and a document. */
  pair(query: number, document: number): TokenPair {
    return [
      this.tokens(this.queries, query, this.texts.query),
      this.tokens(this.documents, document, this.texts.document),
    ];
  }

  /** Length of a document, in tokens. */
  length(document: number): number {
    return this.tokens(this.documents, document, this.texts.document).length;
  }

  private tokens(known: Map<number, Int32Array>, row: number, textOf: (row: number) => string): Int32Array {
    const found = known.get(row) ?? this.crossEncoder.pairs.encodeText(textOf(row));
    known.set(row, found);
    return found;
  }
}
