import type { TextReading } from '../models/language/generation-rows.ts';
import type { ChunkedText } from './chunked-text.ts';
import type { TextWindows } from './text-windows.ts';

/** Parts of `RptTextReading`. */
export interface RptTextParts extends TextWindows {
  /** Text, empty at first. */
  readonly text: ChunkedText;
  /**
   * Begins to read a window token by token.
   *
   * @param start place of its first token in the text
   */
  begin(ids: Int32Array, start: number): Promise<TextReading>;
  /** Reads a whole window, of which no logits are asked for. */
  passOver(ids: Int32Array, start: number): Promise<void>;
}

/**
 * Text that is read window by window and grows. The next token is predicted in the window in which `windowsOf` scores it. Windows before are
 * read to their end first, since their last chunk is known by its states in them.
 */
export class RptTextReading implements TextReading {
  private readonly parts: RptTextParts;
  /** Place of the first token of the window. */
  private start = 0;
  /** Window, as far as it was read; undefined where nothing of it was. */
  private window: { readonly reading: TextReading; end: number } | undefined;

  private constructor(parts: RptTextParts) {
    this.parts = parts;
  }

  /** Reads the beginning of a text, of at least one token. */
  static async begin(parts: RptTextParts, ids: ArrayLike<number>): Promise<RptTextReading> {
    const reading = new RptTextReading(parts);
    await reading.read([ids]);
    return reading;
  }

  get logits(): Float32Array {
    return this.window!.reading.logits;
  }

  async read([ids = []]: readonly ArrayLike<number>[]): Promise<void> {
    const { text, window, stride, passOver } = this.parts;
    text.extend(Int32Array.from(ids));
    const last = this.windowOf(text.length);
    for (; this.start < last; this.start += stride) {
      const end = this.start + window;
      if (this.window) await this.readTo(end);
      else await passOver(text.slice(this.start, end), this.start);
      this.window = undefined;
    }
    await this.readTo(text.length);
  }

  /** Keeps the text: there is one. */
  keep(): void {}

  /** Reads the window up to a place. */
  private async readTo(end: number): Promise<void> {
    const { text, begin } = this.parts;
    if (!this.window) this.window = { reading: await begin(text.slice(this.start, end), this.start), end };
    else if (this.window.end < end) await this.window.reading.read([text.slice(this.window.end, end)]);
    this.window.end = end;
  }

  /** Start of the window in which the token at a place is predicted: the first one that covers it and has a token before it. */
  private windowOf(place: number): number {
    const { window, stride } = this.parts;
    const covering = Math.ceil(Math.max(0, place + 1 - window) / stride);
    return stride * Math.min(covering, Math.floor((place - 1) / stride));
  }
}
