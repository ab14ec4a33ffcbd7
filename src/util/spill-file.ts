import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { UndriftError } from './errors.ts';
import { fileError } from './file-error.ts';
import { temporaryName } from './temporary-name.ts';

/** Bytes that are read ahead when parts are read one after the other. */
const WINDOW_BYTES = 1 << 18;

/**
 * File for bytes that memory should not hold. It is appended to, and read at any place. The operating system keeps what is read
 * often in memory that it can take back.
 *
 * The file has no name from the moment that it is open, so that it disappears with its process, even when this is killed.
 */
export class SpillFile {
  private readonly path: string;
  private descriptor: number | undefined;
  private size = 0;
  /** Bytes read ahead, and their place in the file. */
  private window = new Uint8Array(0);
  private windowStart = 0;
  /** Place behind the last read. */
  private next = -1;

  private constructor(path: string, descriptor: number) {
    this.path = path;
    this.descriptor = descriptor;
  }

  /**
   * Creates a file.
   *
   * @param folder  existing folder on the disk to use
   * @throws UndriftError where no file can be made there
   */
  static create(folder: string): SpillFile {
    const path = temporaryName(join(folder, 'spill'));
    try {
      const file = new SpillFile(path, openSync(path, 'wx+', 0o600));
      unlinkSync(path);
      return file;
    } catch (error) {
      throw fileError(error, path, 'write');
    }
  }

  /** Size of the file in bytes. */
  get bytes(): number {
    return this.size;
  }

  /**
   * Appends bytes, and returns their place.
   *
   * @throws UndriftError where the disk is full
   */
  append(bytes: Uint8Array): number {
    const start = this.size;
    const descriptor = this.opened();
    try {
      for (let done = 0; done < bytes.length; )
        done += writeSync(descriptor, bytes, done, bytes.length - done, start + done);
    } catch (error) {
      throw fileError(error, this.path, 'write');
    }
    this.size += bytes.length;
    return start;
  }

  /**
   * Fills an array with bytes from a place on.
   *
   * @throws UndriftError for a place outside of the file
   */
  read(position: number, into: Uint8Array): void {
    if (position < 0 || position + into.length > this.size) {
      throw new UndriftError(
        `bytes ${position} to ${position + into.length} of ${this.size} in ${this.path}`,
      );
    }
    const isNext = position === this.next;
    this.next = position + into.length;
    const from = position - this.windowStart;
    const isInside = from >= 0 && from + into.length <= this.window.length;
    if (!isInside && (!isNext || into.length > WINDOW_BYTES / 4)) {
      this.fill(position, into);
      return;
    }
    if (!isInside) {
      this.window = new Uint8Array(Math.min(WINDOW_BYTES, this.size - position));
      this.windowStart = position;
      this.fill(position, this.window);
    }
    const start = position - this.windowStart;
    into.set(this.window.subarray(start, start + into.length));
  }

  /** Gives the disk space back. Nothing can be read afterwards. */
  close(): void {
    if (this.descriptor !== undefined) closeSync(this.descriptor);
    this.descriptor = undefined;
    this.window = new Uint8Array(0);
  }

  private fill(position: number, into: Uint8Array): void {
    const descriptor = this.opened();
    try {
      for (let done = 0; done < into.length; ) {
        const count = readSync(descriptor, into, done, into.length - done, position + done);
        if (count === 0) throw new UndriftError(`${this.path} ends early`);
        done += count;
      }
    } catch (error) {
      throw fileError(error, this.path, 'read');
    }
  }

  private opened(): number {
    if (this.descriptor === undefined) throw new UndriftError(`${this.path} is closed`);
    return this.descriptor;
  }
}
