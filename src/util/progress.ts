/** Progress of one stage of a longer job. */
export interface Progress {
  /** Name of the stage: `read`, `download`, `encode documents`, `search`. */
  readonly stage: string;
  /**
   * Number of units done so far. A count below the previous one begins a new part of the same stage, such as
   * the next file.
   */
  readonly done: number;
  /** Number of units in the stage or in its current part; undefined if it is not known beforehand. */
  readonly total: number | undefined;
  /** Name of the units, in the plural: `texts`, `queries`, `bytes`, `files`. */
  readonly unit: string;
}
