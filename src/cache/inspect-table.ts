import type { ScoreTable } from './score-table.ts';

/** Number of slots with an age in [from, to], in steps. */
export interface AgeBin {
  /** Smallest age in the bin, in steps. */
  readonly from: number;
  /** Largest age in the bin, in steps. */
  readonly to: number;
  /** Number of slots in the bin. */
  readonly slots: number;
}

/**
 * Counts the ages of the embeddings in the filled slots, in bins 0, 1, 2-3, 4-7, …, up to the last bin that
 * is not empty.
 */
export const ageHistogram = (table: ScoreTable): AgeBin[] => ages(table).bins;

/**
 * Computes figures of a table that need no encoder, by name.
 *
 * The age of an embedding is the number of steps since it was made; an embedding of the current step has age
 * 0 after the step. With `lru` eviction this is also the age of the slot.
 *
 * - `filledRatio`: share of the slots that hold a document
 * - `ageMean`, `ageMax`: in steps, over the filled slots
 * - `tableVersion`: step in which the newest embedding was made; 0 for before the first step
 * - `ageRatio/0`, `ageRatio/1`, `ageRatio/2-3`, `ageRatio/4-7`, …: shares of the filled slots by age
 *
 * The figures take one pass over the slots, about 8 ms for a million: fine for a log line, too slow for every
 * step.
 */
export function inspectTable(table: ScoreTable): Record<string, number> {
  const { filled, rows, clock } = table;
  const figures: Record<string, number> = { filledRatio: filled / rows };
  if (filled === 0) return figures;
  const { total, least, most, bins } = ages(table);
  Object.assign(figures, { ageMean: total / filled, ageMax: most, tableVersion: clock - least });
  for (const { from, to, slots } of bins) {
    figures[`ageRatio/${from === to ? from : `${from}-${to}`}`] = slots / filled;
  }
  return figures;
}

function ages({ versions, documents, clock }: ScoreTable) {
  const counts = new Uint32Array(33);
  let [total, least, most] = [0, Number.POSITIVE_INFINITY, -1];
  for (let slot = 0; slot < versions.length; slot++) {
    if (documents[slot]! < 0) continue;
    const age = Math.max(0, clock - versions[slot]!);
    counts[binOf(age)]! += 1;
    total += age;
    if (age < least) least = age;
    if (age > most) most = age;
  }
  const bins = Array.from(counts.subarray(0, most < 0 ? 0 : binOf(most) + 1), (slots, bin) => ({
    from: bin === 0 ? 0 : 2 ** (bin - 1),
    to: bin === 0 ? 0 : 2 ** bin - 1,
    slots,
  }));
  return { bins, total, least, most };
}

/** Index of an age's bin: its number of binary digits. */
const binOf = (age: number): number => 32 - Math.clz32(age);
