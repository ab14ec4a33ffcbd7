import type { Progress } from '../util/progress.ts';

/** Settings of the functions that load data. */
export interface LoadOptions {
  /** Splits whose judgements are read. Default all. The fingerprint covers all files in any case. */
  splits?: readonly string[] | undefined;
  /**
   * Treatment of judgements with an unknown query or document id. `error` (default): throw. `skip`: leave
   * them out and count them in the notes.
   */
  unknownIds?: 'error' | 'skip' | undefined;
  /**
   * Share of the queries of pairs held out as split dev, if dev has no file, in [0, 1). Queries are chosen by
   * a hash of their text. Default 0.05.
   */
  devFraction?: number | undefined;
  /** Share of the queries of pairs held out as split test, if test has no file, in [0, 1). Default 0.05. */
  testFraction?: number | undefined;
  /** Columns of pairs to use, if their names are unknown or ambiguous. Default: recognised by name. */
  columns?:
    | { query?: string; positive?: string; negative?: string; scores?: string; label?: string }
    | undefined;
  /** Longest line accepted, in bytes. Default 64 MiB. */
  maxLineBytes?: number | undefined;
  /**
   * Progress in bytes: stage `download` for named data sets, then stage `read` after every block of each file. For data in memory:
   * stage `read`, in records.
   */
  onProgress?: ((progress: Progress) => void) | undefined;
  /** Called with a note if a named data set came from another place than asked. */
  onNote?: ((note: string) => void) | undefined;
}
