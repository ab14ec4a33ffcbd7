import type { LanguageModel } from '../models/language/language-model.ts';
import { firstScored, type ScoredTokens } from '../models/language/score-tokens.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { checkedValues, type GivenOptions, type OptionTable } from '../util/option-table.ts';
import type { Segment } from './language-system.ts';
import type { PassageQuery } from './leak-filter.ts';
import type { Passages } from './passages.ts';

const PLACEHOLDER = '{passage}';

/** Options of reading passages in front of a text. */
export const FRONT_OPTIONS = {
  /** Tokens of running text that are scored with one retrieval. Default 4. A question has one retrieval. */
  retrievalStride: {
    type: 'integer',
    value: 'n',
    min: 1,
    default: 4,
    group: 'Passages in front',
    help: 'running text: tokens that are scored with one retrieval; a small number costs more passes',
  },
  /** Last tokens of the context that running text retrieves with. Default 32. */
  queryTokens: {
    type: 'integer',
    value: 'n',
    min: 1,
    default: 32,
    group: 'Passages in front',
    help: 'running text: last tokens of the context that are searched with',
  },
  /** Largest number of tokens of a passage. A longer one is cut at its end. Default 256. */
  passageTokens: {
    type: 'integer',
    value: 'n',
    min: 1,
    default: 256,
    group: 'Passages in front',
    help: 'largest number of tokens of a passage; a longer one is cut at its end',
  },
  /** Text that is put in front, with `{passage}` for title and text of the passage. Default: passage and an empty line. */
  passageFormat: {
    type: 'text',
    value: 'text',
    default: `${PLACEHOLDER}\n\n`,
    defaultHelp: 'the passage and an empty line',
    group: 'Passages in front',
    help: `text that is put in front, with ${PLACEHOLDER} for title and text of the passage; \\n is a line break`,
    check: passageFormat,
  },
  /** Last tokens of the context of running text whose place a passage never takes. Default 32. */
  contextTokens: {
    type: 'integer',
    value: 'n',
    min: 0,
    default: 32,
    group: 'Passages in front',
    help: 'running text: last tokens of the context whose place a passage never takes',
  },
} as const satisfies OptionTable;

/** Options of reading passages in front of a text. */
export interface PassageFrontOptions extends GivenOptions<typeof FRONT_OPTIONS> {}

/** Tokens of one segment that are scored with one retrieval. */
export interface Stretch {
  /** Segment that the stretch is a part of. */
  readonly segment: Segment;
  /** Position of the first token to score. */
  readonly from: number;
  /** Position after the last token to score. */
  readonly end: number;
  /** Query; absent where nothing stands before the stretch, so that there is nothing to retrieve with. */
  readonly query: PassageQuery | undefined;
}

/**
 * Puts passages in front of the context of a language model:
 *
 *     head · passage · rest of the context · tokens to score
 *
 * The sequence is never longer than the room of its segment. A passage takes the place of the oldest context after the head, as in
 * in-context RALM, where the context has no room for both. It is itself cut at its end, first to `passageTokens`, then so that the last
 * `contextTokens` tokens of running text, or the whole question, stay. A passage of which nothing fits is not read.
 *
 * @paper Ram et al. 2023: "In-Context Retrieval-Augmented Language Models".
 */
export class PassageFront {
  readonly model: LanguageModel;
  readonly passages: Passages;
  private readonly stride: number;
  private readonly queryTokens: number;
  private readonly passageTokens: number;
  private readonly contextTokens: number;
  private readonly format: { readonly before: string; readonly after: Int32Array };
  private readonly cut = new Map<number, Int32Array>();

  /** @throws UsageError for an option out of range, or a format without `{passage}` */
  constructor(model: LanguageModel, passages: Passages, options: PassageFrontOptions = {}) {
    const values = checkedValues(FRONT_OPTIONS, options);
    const { before, after } = passageFormat(values.passageFormat);
    this.model = model;
    this.passages = passages;
    this.stride = values.retrievalStride;
    this.queryTokens = values.queryTokens;
    this.passageTokens = values.passageTokens;
    this.contextTokens = values.contextTokens;
    this.format = { before, after: model.tokenizer.encodeRaw(after) };
  }

  /** Cuts a segment into stretches. A question is one stretch. */
  stretches(segment: Segment): Stretch[] {
    const { ids, query } = segment;
    const first = firstScored(segment);
    if (query !== undefined) return first < ids.length ? [this.whole(segment)] : [];
    const found: Stretch[] = [];
    for (let from = first; from < ids.length; from += this.stride) {
      const end = Math.min(from + this.stride, ids.length);
      found.push({ segment, from, end, query: this.query(segment, from, end) });
    }
    return found;
  }

  /** Makes one stretch of all tokens to score of a segment. */
  whole(segment: Segment): Stretch {
    const [from, end] = [firstScored(segment), segment.ids.length];
    return { segment, from, end, query: this.query(segment, from, end) };
  }

  /**
   * Makes the sequence that the model reads for a stretch.
   *
   * @param row  passage to put in front; undefined for none
   */
  sequence(
    { segment, from, end }: Pick<Stretch, 'segment' | 'from' | 'end'>,
    row: number | undefined,
  ): ScoredTokens & { readonly ids: Int32Array; readonly from: number } {
    const { head = 0, room = segment.ids.length, query } = segment;
    const ids = segment.ids.subarray(0, end);
    if (row === undefined) return { ids, from };
    const context = from - head;
    const free = room - head - (end - from);
    const kept = query === undefined ? Math.min(context, this.contextTokens) : context;
    const passage = this.tokens(row, free - kept);
    if (passage.length === 0) return { ids, from };
    const start = Math.max(head, from - (free - passage.length));
    const all = new Int32Array(head + passage.length + end - start);
    all.set(ids.subarray(0, head));
    all.set(passage, head);
    all.set(ids.subarray(start), head + passage.length);
    return { ids: all, from: head + passage.length + from - start };
  }

  private query(segment: Segment, from: number, end: number): PassageQuery | undefined {
    const { ids, document, gold, head = 0 } = segment;
    if (from <= head) return undefined;
    const { tokenizer } = this.model;
    const text =
      segment.query ?? tokenizer.decode(ids.subarray(Math.max(head, from - this.queryTokens), from));
    return { text, document, gold, target: tokenizer.decode(ids.subarray(from, end)) };
  }

  /** Tokenises a passage in its format, with at most `most` tokens; empty where not one token of the passage fits. */
  private tokens(row: number, most: number): Int32Array {
    const { before, after } = this.format;
    let whole = this.cut.get(row);
    if (!whole) {
      whole = this.model.tokenizer
        .encodeParts([before, { ordinary: this.passages.text(row) }])
        .subarray(0, this.passageTokens);
      this.cut.set(row, whole);
    }
    const length = Math.min(whole.length, most - after.length);
    if (length < 1) return new Int32Array(0);
    const tokens = new Int32Array(length + after.length);
    tokens.set(whole.subarray(0, length));
    tokens.set(after, length);
    return tokens;
  }
}

/** Replaces `\\n` by line breaks, which are hard to write on a command line. */
export const withLineBreaks = (text: string): string => text.replaceAll('\\n', '\n');

/** Splits a format at the place of the passage. @throws UsageError unless there is one place */
function passageFormat(text: string): { before: string; after: string } {
  const [before, after, ...more] = withLineBreaks(text).split(PLACEHOLDER);
  if (after !== undefined && more.length === 0) return { before: before!, after };
  throw new UsageError(`${option('passageFormat')} must contain ${PLACEHOLDER} once`, {
    help: `for example "Passage: ${PLACEHOLDER}\\n"`,
  });
}
