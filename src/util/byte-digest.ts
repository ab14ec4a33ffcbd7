import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { fileError } from './file-error.ts';

/** Most bytes that one call of a hash takes. */
const UPDATE_BYTES = 1 << 30;
/** Bytes of a file that are read at once. */
const READ_BYTES = 1 << 20;

/** SHA-256 of bytes that arrive in parts of any size. */
export class ByteDigest {
  private readonly hash = createHash('sha256');

  /** Adds bytes. */
  add(bytes: Uint8Array): void {
    for (let start = 0; start < bytes.length; start += UPDATE_BYTES) {
      this.hash.update(bytes.subarray(start, start + UPDATE_BYTES));
    }
  }

  /** Returns the digest in hexadecimal digits; nothing can be added afterwards. */
  digest(): string {
    return this.hash.digest('hex');
  }
}

/**
 * Computes the SHA-256 of a file, in hexadecimal digits.
 *
 * @throws DataError if the file cannot be read
 */
export async function digestOfFile(file: string): Promise<string> {
  const digest = new ByteDigest();
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: READ_BYTES })) digest.add(chunk);
  } catch (error) {
    throw fileError(error, file, 'read');
  }
  return digest.digest();
}
