import type { OptionTable } from './option-table.ts';

/** Ranges that options of several parts of the library share. Each part adds its own help. */
export const COMMON_RANGES = {
  /** Seed of a random choice; every integer that `rngKey` takes. */
  seed: { type: 'integer', min: 0, default: 0, help: 'seed of a random choice' },
  /** Number of results for each query. */
  topK: { type: 'integer', min: 1, help: 'documents for each query' },
} as const satisfies OptionTable;
