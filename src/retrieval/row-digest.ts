import { createHash } from 'node:crypto';
import type { Corpus } from '../data/corpus.ts';

const BUFFER_BYTES = 1 << 16;

/**
 * Digest of a sequence of texts: the first 16 hexadecimal digits of SHA-256 over the length and the UTF-8 bytes
 * of each. It depends on the order.
 */
export class RowDigest {
  private readonly hash = createHash('sha256');
  /** Collects short rows, because a call of the hash costs more than the bytes of one. */
  private readonly buffer = Buffer.alloc(BUFFER_BYTES);
  private used = 0;

  /** Adds a text, as a string or as its UTF-8 bytes. */
  add(text: string | Uint8Array): void {
    const bytes = typeof text === 'string' ? Buffer.from(text) : text;
    if (this.used + 4 + bytes.length > BUFFER_BYTES) this.flush();
    this.used = this.buffer.writeUInt32LE(bytes.length, this.used);
    if (this.used + bytes.length > BUFFER_BYTES) {
      this.flush();
      this.hash.update(bytes);
    } else {
      this.buffer.set(bytes, this.used);
      this.used += bytes.length;
    }
  }

  /** Returns the digest; nothing can be added afterwards. */
  digest(): string {
    this.flush();
    return this.hash.digest('hex').slice(0, 16);
  }

  private flush(): void {
    this.hash.update(this.buffer.subarray(0, this.used));
    this.used = 0;
  }
}

/** Computes the digests of a corpus: of its texts and of its ids, both in the order of the rows. */
export function corpusDigests(corpus: Corpus): { texts: string; ids: string } {
  const [texts, ids] = [new RowDigest(), new RowDigest()];
  for (let row = 0; row < corpus.size; row++) {
    texts.add(corpus.utf8(row));
    ids.add(corpus.id(row));
  }
  return { texts: texts.digest(), ids: ids.digest() };
}
