import type { TextDocument } from '../data/text-corpus.ts';
import { type MaskedEncoder, maskedEncoder } from '../models/retriever/masked-encoder.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { TokenStates } from '../models/retriever/token-states.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { BlockSearch, type RowRange } from '../search/block-search.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { checkOptions, type GivenOptions, optionValues } from '../util/option-table.ts';
import type { Progress } from '../util/progress.ts';
import { documentPieces } from './document-pieces.ts';
import { FILL_OPTIONS } from './npm-options.ts';
import { type BestPhrasesOptions, type FoundPhrase, PhraseRuns } from './phrase-runs.ts';
import { softmaxOf } from './row-softmax.ts';

/** Options of `PhraseIndex.build`. */
export interface PhraseIndexOptions extends ComputeOptions {
  /** Tokens of a piece of a document that is read at once, special tokens included. Default: as long as the model reads documents. */
  readonly window?: number | undefined;
  /** Called with the number of pieces that have been read. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** Options of `PhraseIndex.fill`. */
export interface FillOptions extends GivenOptions<typeof FILL_OPTIONS> {}

/** Phrase that fills a mask. */
export interface FilledPhrase {
  readonly phrase: string;
  /** Token ids of the phrase. */
  readonly tokens: readonly number[];
  /** Sum of the scores of its occurrences, times its length in tokens to the power α. */
  readonly score: number;
  /** Number of occurrences that were found. */
  readonly occurrences: number;
  /** Best occurrence: its document, and its first token there. */
  readonly best: { readonly document: string; readonly token: number };
}

/** Span of a piece of an index, in place of which two masks are read. */
export interface MaskedSpan {
  readonly piece: RowRange;
  /** First token of the span in its piece. */
  readonly start: number;
  /** Number of tokens. */
  readonly length: number;
}

/** Parts of an index. */
interface IndexParts {
  readonly model: MaskedEncoder;
  readonly states: TokenStates;
  readonly search: BlockSearch;
  readonly keys: Float32Array;
  readonly tokens: Int32Array;
  /** Row after the last one of the document of each row. */
  readonly ends: Int32Array;
  readonly runs: PhraseRuns;
  readonly ids: readonly string[];
  /** First row of each document, and N after the last one. */
  readonly starts: Int32Array;
  readonly window: number;
  /** Rows of each piece, in the order of the rows. */
  readonly pieces: readonly RowRange[];
}

/**
 * Tokens of texts with their states, in which a nonparametric masked language model (NPM) finds the phrase behind a mask.
 *
 * Memory: 4 D + 14 bytes a token, and 8 more for each token of the longest phrase.
 *
 * @paper Min et al. 2023: "Nonparametric Masked Language Modeling"
 */
export class PhraseIndex {
  readonly #parts: IndexParts;

  private constructor(parts: IndexParts) {
    this.#parts = parts;
  }

  /** Number of tokens, N. */
  get size(): number {
    return this.#parts.tokens.length;
  }

  /** Encoder that reads the texts. */
  get encoder(): MaskedEncoder {
    return this.#parts.model;
  }

  /** Lists the pieces of each document that has some. */
  documentPieces(): RowRange[][] {
    const groups = new Map<number, RowRange[]>();
    for (const piece of this.#parts.pieces) {
      const end = this.#parts.ends[piece.start]!;
      const group = groups.get(end) ?? [];
      groups.set(end, group);
      group.push(piece);
    }
    return [...groups.values()];
  }

  /** Token ids of a piece. */
  pieceTokens({ start, end }: RowRange): Int32Array {
    return this.#parts.tokens.subarray(start, end);
  }

  /** Finds the document of a span, its first token there, and its token ids. */
  at({ piece, start, length }: MaskedSpan): { document: string; token: number; tokens: Int32Array } {
    const first = piece.start + start;
    const tokens = this.#parts.tokens.subarray(first, first + length);
    return { ...this.#place({ start: first }), tokens };
  }

  /** Tells whether a phrase stands at a row, in one document. */
  hasAt(row: number, phrase: ArrayLike<number>): boolean {
    const { tokens, ends } = this.#parts;
    if (row < 0 || row + phrase.length > ends[row]!) return false;
    return Array.from(phrase).every((id, i) => tokens[row + i] === id);
  }

  /** Writes token ids as text. */
  textOf(tokens: ArrayLike<number>): string {
    return this.#parts.model.tokenizer.decode(tokens).trim();
  }

  /**
   * Reads documents with an encoder, such as one that `trainNpm` trained. Documents are cut into pieces that do not overlap, before a word.
   *
   * @throws UsageError for a model that is no masked encoder, for a window that it does not read, and where the documents have no token
   * @throws UndriftError that names a document which cannot be tokenised
   */
  static async build(
    retriever: Retriever,
    documents: AsyncIterable<TextDocument> | Iterable<TextDocument>,
    { window = retriever.config.maxTokens.document, onProgress, ...compute }: PhraseIndexOptions = {},
  ): Promise<PhraseIndex> {
    const model = maskedEncoder(retriever);
    const { tokenizer, wrapper, encoder } = model;
    const { corpus, pieces } = await documentPieces(documents, tokenizer, {
      ...{ window, maxTokens: encoder.maxTokens },
    });
    const states = await TokenStates.compile(retriever, compute);
    try {
      const D = states.dimension;
      const N = corpus.tokens.totalTokens;
      const [keys, tokens, ends] = [new Float32Array(N * D), new Int32Array(N), new Int32Array(N)];
      const owned = Array.from({ length: pieces.count }, (_, piece) => pieces.tokens(piece));
      const found = await states.encode(
        owned.map((each) => [...wrapper.before, ...each, ...wrapper.after]),
        (done) => onProgress?.({ stage: 'encode', done, total: pieces.count, unit: 'pieces' }),
      );
      const starts = new Int32Array(corpus.ids.size + 1).fill(N);
      const ranges: RowRange[] = [];
      let row = 0;
      for (const [piece, own] of owned.entries()) {
        if (pieces.start(piece) === 0) starts[pieces.rows[piece]!] = row;
        const first = wrapper.before.length * D;
        keys.set(found[piece]!.subarray(first, first + own.length * D), row * D);
        tokens.set(own, row);
        ranges.push({ start: row, end: row + own.length });
        row += own.length;
      }
      // Documents without tokens begin where the next one does.
      for (let d = corpus.ids.size - 1; d >= 0; d--) starts[d] = Math.min(starts[d]!, starts[d + 1]!);
      for (let d = 0; d < corpus.ids.size; d++) ends.fill(starts[d + 1]!, starts[d]!, starts[d + 1]!);
      const ids = Array.from({ length: corpus.ids.size }, (_, d) => corpus.ids.get(d));
      const search = new BlockSearch(D, compute);
      return new PhraseIndex({
        model,
        states,
        search,
        keys,
        tokens,
        ends,
        runs: new PhraseRuns(tokens, ends, model),
        ids,
        starts,
        window,
        pieces: ranges,
      });
    } catch (error) {
      await states.dispose();
      throw error;
    }
  }

  /**
   * Finds the phrases that fill the mask of a text, best first.
   *
   * The mask is read as two. The k best tokens for the state of the first mask are the beginnings, and those for the second the ends, with
   * P = softmax(q · key / (√D τ)) over each. A candidate is a run of at most `mostTokens` tokens of one document, made of whole words, that begins at
   * a beginning or finishes at an end. It may go on from one piece of the document into the next. Its score is P_start + P_end, where a token that was not retrieved has 0. Scores of equal phrases are
   * added.
   *
   * @param text  text with one mask, such as `[MASK]`
   * @throws UsageError for a text without a mask, with several, or longer than a piece, and for options out of range
   */
  async fill(text: string, options: FillOptions = {}): Promise<FilledPhrase[]> {
    checkOptions(FILL_OPTIONS, options);
    const { exclude, ...settings } = optionValues(FILL_OPTIONS, { ...options });
    const hidden = this.#rowsOf(exclude);
    const [found] = await this.#filled([{ ...this.#masked(text), hidden }], settings);
    return found!.best.map((phrase) => this.#describe(phrase));
  }

  /**
   * Fills the masks that are read in place of spans, each by itself, from all other pieces of the index.
   *
   * @returns token ids of the best phrase, undefined where there is none, and the rows of the best beginnings, best first
   */
  async fillSpans(
    spans: readonly MaskedSpan[],
    options: Omit<FillOptions, 'count' | 'exclude'> = {},
  ): Promise<{ readonly best: readonly number[] | undefined; readonly starts: Int32Array }[]> {
    const settings = { ...optionValues(FILL_OPTIONS, { ...options }), count: 1 };
    const asked = spans.map((span) => ({ ...this.#maskedSpan(span), hidden: span.piece }));
    return (await this.#filled(asked, settings)).map(({ best: [phrase], starts }) => ({
      best: phrase && this.#describe(phrase).tokens,
      starts,
    }));
  }

  /** Finds the best phrases of masked texts, and the rows of the best beginnings. */
  async #filled(
    texts: readonly { ids: readonly number[]; place: number; hidden: RowRange | undefined }[],
    { k, temperature, ...choice }: BestPhrasesOptions & { readonly k: number; readonly temperature: number },
  ): Promise<{ best: FoundPhrase[]; starts: Int32Array }[]> {
    const { keys, runs, search, states } = this.#parts;
    const D = states.dimension;
    const read = await states.encode(texts.map(({ ids }) => ids));
    const queries = new Float32Array(texts.length * 2 * D);
    for (const [i, { place }] of texts.entries())
      queries.set(read[i]!.subarray(place * D, (place + 2) * D), i * 2 * D);
    const found = await search.search(keys, queries, k, {
      hidden: (query) => texts[Math.floor(query / 2)]!.hidden,
    });
    const scale = 1 / (Math.sqrt(D) * temperature);
    const rowsOf = (query: number) => found.rows.subarray(query * found.k, (query + 1) * found.k);
    const weights = (query: number) =>
      softmaxOf(rowsOf(query), found.scores.subarray(query * found.k, (query + 1) * found.k), scale);
    return texts.map((_, i) => ({
      best: runs.best(weights(2 * i), weights(2 * i + 1), choice),
      starts: rowsOf(2 * i),
    }));
  }

  /** Frees the compiled programs. */
  async dispose(): Promise<void> {
    await this.#parts.states.dispose();
    await this.#parts.search.dispose();
  }

  /** Piece with two masks in place of a span, without a token at an end where it would not fit, and the place of the first mask. */
  #maskedSpan({ piece, start, length }: MaskedSpan): { ids: number[]; place: number } {
    const { model, window } = this.#parts;
    const { mask, wrapper, tokenizer } = model;
    const own = [...this.pieceTokens(piece)];
    own.splice(start, length, mask, mask);
    let place = start;
    while (own.length > window - tokenizer.wrapperTokens) {
      if (own.length > place + 2) own.pop();
      else {
        own.shift();
        place -= 1;
      }
    }
    return { ids: [...wrapper.before, ...own, ...wrapper.after], place: wrapper.before.length + place };
  }

  /** Tokens of a text with two masks in place of the one, and the place of the first. */
  #masked(text: string): { ids: number[]; place: number } {
    const { model, window } = this.#parts;
    const { tokenizer, mask, wrapper } = model;
    const ids = tokenizer.encodeRaw(text);
    const places = [...ids.keys()].filter((at) => ids[at] === mask);
    const name = tokenizer.decode([mask], { skipSpecialTokens: false });
    if (places.length !== 1) {
      throw new UsageError(
        places.length === 0
          ? `the text has no ${name} to fill`
          : `the text has ${places.length} times ${name}`,
        { help: `put one ${name} where the phrase is wanted` },
      );
    }
    const [place] = places as [number];
    const whole = [
      ...wrapper.before,
      ...ids.subarray(0, place),
      mask,
      ...ids.subarray(place),
      ...wrapper.after,
    ];
    if (whole.length > window) {
      throw new UsageError(
        `the text has ${whole.length} tokens, and the index was read in pieces of ${window}`,
        {
          help: `shorten the text, or build the index with a longer ${option('window')}`,
        },
      );
    }
    return { ids: whole, place: wrapper.before.length + place };
  }

  /** Rows of a document. @throws UsageError where there is none */
  #rowsOf(document: string | undefined): RowRange | undefined {
    if (document === undefined) return undefined;
    const { ids, starts } = this.#parts;
    const at = ids.indexOf(document);
    if (at < 0) throw new UsageError(`the index has no document ${JSON.stringify(document)}`);
    return { start: starts[at]!, end: starts[at + 1]! };
  }

  /** Describes a phrase that was found. */
  #describe({ start, length, score, runs }: FoundPhrase): FilledPhrase {
    const tokens = [...this.#parts.tokens.subarray(start, start + length)];
    return { phrase: this.textOf(tokens), tokens, score, occurrences: runs, best: this.#place({ start }) };
  }

  /** Document of an occurrence, and its first token there. */
  #place({ start }: Pick<FoundPhrase, 'start'>): FilledPhrase['best'] {
    const { ids, starts } = this.#parts;
    // The last document that begins at this row or before it.
    let [low, high] = [0, ids.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (starts[middle]! <= start) low = middle;
      else high = middle - 1;
    }
    return { document: ids[low]!, token: start - starts[low]! };
  }
}
