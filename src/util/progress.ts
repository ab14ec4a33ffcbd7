/** How far one stage of a longer job has come. */
export interface Progress {
  /** What is being done: `read`, `download`, `encode documents`, `search`. */
  readonly stage: string;
  /** Units done so far. A count below the one before begins a new part of the same stage, such as the next file. */
  readonly done: number;
  /** Units until the stage, or this part of it, is done; undefined where that is not known beforehand. */
  readonly total: number | undefined;
  /** What is counted, in the plural: `texts`, `queries`, `bytes`, `files`. */
  readonly unit: string;
}
