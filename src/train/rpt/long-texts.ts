import type { TokenCorpus } from '../../data/token-corpus.ts';
import { ChunkedText } from '../../rlm/chunked-text.ts';
import type { RptConfig } from '../../rlm/rpt-config.ts';
import { type NewChunk, newChunks, type RptWindow } from '../../rlm/rpt-feeds.ts';
import { windowsOf } from '../../rlm/text-windows.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';

/** Long sequence: tokens `start` … `end − 1` of a document. */
interface Sequence {
  readonly document: number;
  readonly start: number;
  readonly end: number;
}

/** Window of a long sequence, with the first of its tokens that no earlier window predicts. */
export interface LongWindow extends RptWindow {
  readonly from: number;
}

/**
 * Documents as long sequences in windows. A document begins with the tokens that the tokenizer puts before texts, and is cut into sequences of
 * at most L tokens; each sequence is cut into windows as `windowsOf` does it, so that every token is predicted once. Sequences in which no
 * chunk has an earlier one beyond its window are left out: nothing is retrieved there.
 */
export class LongTexts {
  /** Number of sequences. */
  readonly count: number;
  /** Sequences that were left out. */
  readonly left: number;
  /** Tokens of the sequences. */
  readonly tokens: number;
  /** Sequence of each window. The windows of a sequence follow one another. */
  readonly sequences: Int32Array;
  private readonly corpus: TokenCorpus;
  private readonly tokenizer: Tokenizer;
  private readonly config: RptConfig;
  private readonly list: readonly Sequence[];
  /** First window of each sequence. */
  private readonly firsts: readonly number[];

  /** @param options.sequence tokens of a sequence at most, L */
  constructor(
    corpus: TokenCorpus,
    { tokenizer, config, sequence }: { tokenizer: Tokenizer; config: RptConfig; sequence: number },
  ) {
    this.corpus = corpus;
    this.tokenizer = tokenizer;
    this.config = config;
    const before = tokenizer.wrapper.before.length;
    const list: Sequence[] = [];
    const firsts: number[] = [];
    const sequences: number[] = [];
    let left = 0;
    for (let document = 0; document < corpus.tokens.rows; document++) {
      const length = before + corpus.tokens.length(document);
      for (let start = 0; start < length; start += sequence) {
        const each = { document, start, end: Math.min(start + sequence, length) };
        const windows = [...windowsOf(new Int32Array(each.end - each.start), config)];
        if (!newChunks({ windows }, config.chunkTokens).some(({ among }) => among > 0)) {
          left += 1;
          continue;
        }
        firsts.push(sequences.length);
        for (const _ of windows) sequences.push(list.length);
        list.push(each);
      }
    }
    this.list = list;
    this.firsts = firsts;
    this.sequences = Int32Array.from(sequences);
    this.count = list.length;
    this.left = left;
    this.tokens = list.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  /** A sequence with its chunks. */
  text(sequence: number): ChunkedText {
    const { document, start } = this.list[sequence]!;
    const { tokenizer } = this;
    const name = `${this.corpus.ids.get(document)}@${start}`;
    return new ChunkedText(this.idsOf(sequence), { tokenizer, chunkTokens: this.config.chunkTokens, name });
  }

  /** Chunks of a sequence, with the numbers of those that may be their neighbours. */
  chunks(sequence: number): readonly Pick<NewChunk, 'chunk' | 'among'>[] {
    return newChunks({ windows: this.windows(sequence) }, this.config.chunkTokens);
  }

  /** Windows of a sequence, in their order. */
  windows(sequence: number): LongWindow[] {
    return [...windowsOf(this.idsOf(sequence), this.config)];
  }

  /** Some windows by their numbers, with the sequence of each. */
  pick(numbers: ArrayLike<number>): { readonly sequence: number; readonly windows: LongWindow[] }[] {
    const picked: { sequence: number; windows: LongWindow[]; all: LongWindow[] }[] = [];
    for (let i = 0; i < numbers.length; i++) {
      const sequence = this.sequences[numbers[i]!]!;
      if (picked.at(-1)?.sequence !== sequence)
        picked.push({ sequence, windows: [], all: this.windows(sequence) });
      const { windows, all } = picked.at(-1)!;
      windows.push(all[numbers[i]! - this.firsts[sequence]!]!);
    }
    return picked.map(({ sequence, windows }) => ({ sequence, windows }));
  }

  private idsOf(sequence: number): Int32Array {
    const { document, start, end } = this.list[sequence]!;
    const { before } = this.tokenizer.wrapper;
    const first = before.length;
    const own = this.corpus.tokens.tokens(document, Math.max(0, start - first), end - first);
    return Int32Array.from([...before.slice(start, end), ...own]);
  }
}
