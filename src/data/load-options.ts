import type { Progress } from '../util/progress.ts';

export interface LoadOptions {
  /** Read the judgements of these splits only (default all). The fingerprint is that of all files in any case. */
  splits?: readonly string[] | undefined;
  /** A judgement that names no known query or document: an error (default), or left out and counted in the notes. */
  unknownIds?: 'error' | 'skip' | undefined;
  /** Pairs without a dev split: share of the queries held out as one, chosen by a hash of their text (default 0.05). */
  devFraction?: number | undefined;
  /** The same for a test split (default 0.05). */
  testFraction?: number | undefined;
  /** Pairs: the columns to use, where their names are not understood or ambiguous. */
  columns?: { query?: string; positive?: string; negative?: string; scores?: string } | undefined;
  /** Longest line accepted, in bytes (default 64 MiB). */
  maxLineBytes?: number | undefined;
  /** Stage `download` for data sets that are named, then `read` for every block of each file; both in bytes. */
  onProgress?: ((progress: Progress) => void) | undefined;
  /** Told where a named data set was taken from, if that is not as asked. */
  onNote?: ((note: string) => void) | undefined;
}
