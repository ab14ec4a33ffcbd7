import type { TextDocument } from '../data/text-corpus.ts';
import { tokenizeCorpus } from '../data/token-corpus.ts';
import { type MaskedEncoder, maskedEncoder } from '../models/retriever/masked-encoder.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { TokenStates } from '../models/retriever/token-states.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { BlockSearch, type RowRange } from '../search/block-search.ts';
import { TextPieces } from '../text/text-pieces.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { checkOptions, type GivenOptions, optionValues } from '../util/option-table.ts';
import type { Progress } from '../util/progress.ts';
import { checkWhole } from './check-number.ts';
import { FILL_OPTIONS } from './npm-options.ts';

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

/** Occurrence of a phrase in the index. */
interface Occurrence {
  readonly start: number;
  readonly length: number;
  readonly score: number;
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
  readonly ids: readonly string[];
  /** First row of each document, and N after the last one. */
  readonly starts: Int32Array;
  readonly window: number;
}

/**
 * Tokens of texts with their states, in which a nonparametric masked language model (NPM) finds the phrase behind a mask.
 *
 * Memory: 4 D + 8 bytes a token.
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
    const { tokenizer, wrapper, continues } = model;
    const { maxTokens } = retriever.encoder;
    checkWhole('window', window, tokenizer.wrapperTokens + 1);
    if (maxTokens !== undefined && window > maxTokens) {
      throw new UsageError(`${option('window', window)}: the model reads ${maxTokens} tokens`, {
        help: `use ${option('window', maxTokens)} or less`,
      });
    }
    const corpus = await tokenizeCorpus(documents, tokenizer);
    if (corpus.tokens.totalTokens === 0) throw new UsageError('the documents have no tokens to find');
    const pieces = new TextPieces(corpus.tokens, { most: window - tokenizer.wrapperTokens, continues });
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
      let row = 0;
      for (const [piece, own] of owned.entries()) {
        if (pieces.start(piece) === 0) starts[pieces.rows[piece]!] = row;
        const first = wrapper.before.length * D;
        keys.set(found[piece]!.subarray(first, first + own.length * D), row * D);
        tokens.set(own, row);
        row += own.length;
      }
      // Documents without tokens begin where the next one does.
      for (let d = corpus.ids.size - 1; d >= 0; d--) starts[d] = Math.min(starts[d]!, starts[d + 1]!);
      for (let d = 0; d < corpus.ids.size; d++) ends.fill(starts[d + 1]!, starts[d]!, starts[d + 1]!);
      const ids = Array.from({ length: corpus.ids.size }, (_, d) => corpus.ids.get(d));
      const search = new BlockSearch(D, compute);
      return new PhraseIndex({ model, states, search, keys, tokens, ends, ids, starts, window });
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
    const { count, k, mostTokens, temperature, lengthPower, exclude } = optionValues(FILL_OPTIONS, {
      ...options,
    });
    const { keys, search, states } = this.#parts;
    const queries = await this.#queries(text);
    const hidden = this.#rowsOf(exclude);
    const found = await search.search(keys, queries, k, { ...(hidden && { hidden: () => hidden }) });
    const scale = 1 / (Math.sqrt(states.dimension) * temperature);
    const [starts, ends] = [0, 1].map((query) => {
      const at = query * found.k;
      return softmaxOf(found.rows.subarray(at, at + found.k), found.scores.subarray(at, at + found.k), scale);
    }) as [Map<number, number>, Map<number, number>];
    return this.#ranked(this.#candidates(starts, ends, mostTokens), { count, lengthPower });
  }

  /** Frees the compiled programs. */
  async dispose(): Promise<void> {
    await this.#parts.states.dispose();
    await this.#parts.search.dispose();
  }

  /** States of the two masks in place of the one of a text, f32[2, D]. */
  async #queries(text: string): Promise<Float32Array> {
    const { model, states, window } = this.#parts;
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
    const [found] = await states.encode([whole]);
    const first = (wrapper.before.length + place) * states.dimension;
    return found!.slice(first, first + 2 * states.dimension);
  }

  /** Rows of a document. @throws UsageError where there is none */
  #rowsOf(document: string | undefined): RowRange | undefined {
    if (document === undefined) return undefined;
    const { ids, starts } = this.#parts;
    const at = ids.indexOf(document);
    if (at < 0) throw new UsageError(`the index has no document ${JSON.stringify(document)}`);
    return { start: starts[at]!, end: starts[at + 1]! };
  }

  /** Lists the runs of whole words that begin at one of the starts or finish at one of the ends, each once. */
  #candidates(
    starts: ReadonlyMap<number, number>,
    ends: ReadonlyMap<number, number>,
    mostTokens: number,
  ): Occurrence[] {
    const { tokens, ends: documentEnds, model } = this.#parts;
    const { continues, excluded } = model;
    const found: Occurrence[] = [];
    const add = (start: number, length: number) => {
      const last = start + length - 1;
      const after = last + 1 < documentEnds[last]! ? tokens[last + 1]! : undefined;
      if (continues[tokens[start]!] === 1 || (after !== undefined && continues[after] === 1)) return;
      if (tokens.subarray(start, last + 1).some((token) => excluded.has(token))) return;
      found.push({ start, length, score: (starts.get(start) ?? 0) + (ends.get(last) ?? 0) });
    };
    for (const start of starts.keys())
      for (let length = 1; length <= mostTokens && start + length <= documentEnds[start]!; length++)
        add(start, length);
    for (const last of ends.keys())
      for (let length = 1; length <= mostTokens; length++) {
        const start = last - length + 1;
        if (start < 0 || documentEnds[start] !== documentEnds[last]) break;
        if (!starts.has(start)) add(start, length);
      }
    return found;
  }

  /** Adds the scores of equal phrases, and returns the best phrases. */
  #ranked(
    candidates: readonly Occurrence[],
    { count, lengthPower }: { count: number; lengthPower: number },
  ): FilledPhrase[] {
    const { tokens, model } = this.#parts;
    const phrases = new Map<string, { score: number; occurrences: number; best: Occurrence }>();
    for (const each of candidates) {
      const key = tokens.subarray(each.start, each.start + each.length).join(' ');
      const known = phrases.get(key);
      const score = each.score * each.length ** lengthPower;
      if (known === undefined) phrases.set(key, { score, occurrences: 1, best: each });
      else {
        known.score += score;
        known.occurrences += 1;
        if (each.score > known.best.score) known.best = each;
      }
    }
    const ranked = [...phrases.values()].sort((a, b) => b.score - a.score || a.best.start - b.best.start);
    return ranked.slice(0, count).map(({ score, occurrences, best }) => {
      const ids = [...tokens.subarray(best.start, best.start + best.length)];
      return {
        phrase: model.tokenizer.decode(ids).trim(),
        tokens: ids,
        score,
        occurrences,
        best: this.#place(best),
      };
    });
  }

  /** Document of an occurrence, and its first token there. */
  #place({ start }: Occurrence): FilledPhrase['best'] {
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

/** Probabilities of the rows that were found. */
function softmaxOf(rows: Int32Array, scores: Float32Array, scale: number): Map<number, number> {
  const best = (scores[0] ?? 0) * scale;
  const weights = Array.from(rows, (row, i) => (row < 0 ? 0 : Math.exp(scores[i]! * scale - best)));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const found = new Map<number, number>();
  for (const [i, row] of rows.entries()) if (row >= 0) found.set(row, weights[i]! / total);
  return found;
}
