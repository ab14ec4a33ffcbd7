import type { Tokenizer } from '../../text/tokenizer.ts';

/** Character that stands for bytes that are no text, or not yet. */
const INCOMPLETE = '\ufffd';

/** Number of tokens before the new ones with which they are decoded, as a decoder may treat the first token of a text differently. */
const CONTEXT_TOKENS = 4;

/**
 * Turns tokens to text as they come.
 *
 * A piece of text is given out when its characters are complete, since one character may take several tokens, and when it cannot be the
 * beginning of a stop string any more.
 */
export class TextStream {
  /** Text so far: all that was given out, and without the stop string. */
  text = '';
  /** Whether a stop string has come. */
  stopped = false;
  private readonly tokenizer: Tokenizer;
  private readonly stop: readonly string[];
  private readonly ids: number[];
  /** Place from which tokens are decoded, and place up to which their text is known. */
  private from = 0;
  private known: number;
  /** Text that may turn out to be the beginning of a stop string. */
  private held = '';

  /**
   * @param prompt  tokens before the new ones
   * @param stop  strings that end the text
   */
  constructor(tokenizer: Tokenizer, prompt: ArrayLike<number>, stop: readonly string[]) {
    this.tokenizer = tokenizer;
    this.stop = stop;
    this.ids = Array.from(prompt)
      .slice(-CONTEXT_TOKENS)
      .filter((id) => tokenizer.has(id));
    this.known = this.ids.length;
  }

  /** Takes a token in, and returns the text that is certain now. */
  push(id: number): string {
    // Rows of the table beyond the vocabulary have no text.
    if (this.tokenizer.has(id)) this.ids.push(id);
    const more = this.decoded();
    return more.endsWith(INCOMPLETE) ? '' : this.release(more);
  }

  /** Returns the rest of the text, when no more tokens come. */
  end(): string {
    const more = this.release(this.decoded());
    const rest = this.held;
    this.held = '';
    this.text += rest;
    return more + rest;
  }

  /** Text of the tokens that are not known yet. */
  private decoded(): string {
    const before = this.tokenizer.decode(this.ids.slice(this.from, this.known));
    return this.tokenizer.decode(this.ids.slice(this.from)).slice(before.length);
  }

  /** Adds text, and returns what is certain of it and of what was held. */
  private release(more: string): string {
    if (more !== '') {
      this.from = Math.max(this.from, this.known - CONTEXT_TOKENS);
      this.known = this.ids.length;
    }
    if (this.stopped) return '';
    const text = this.held + more;
    const ends = this.stop.map((each) => text.indexOf(each)).filter((at) => at >= 0);
    this.stopped = ends.length > 0;
    const certain = this.stopped ? Math.min(...ends) : text.length - this.possibleStop(text);
    this.held = this.stopped ? '' : text.slice(certain);
    this.text += text.slice(0, certain);
    return text.slice(0, certain);
  }

  /** Length of the longest end of a text with which a stop string begins. */
  private possibleStop(text: string): number {
    const longest = this.stop.reduce((most, { length }) => Math.max(most, length - 1), 0);
    for (let length = Math.min(longest, text.length); length > 0; length--) {
      const end = text.slice(text.length - length);
      if (this.stop.some((each) => each.startsWith(end))) return length;
    }
    return 0;
  }
}
