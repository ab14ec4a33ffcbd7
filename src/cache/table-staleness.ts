import { NONE } from '../util/vector-rows.ts';
import { staleness } from './diagnostics.ts';
import type { ScoreTable } from './score-table.ts';

/**
 * Computes the relative squared distance of the table's embeddings b of some documents from newer ones g:
 * mean ‖b − g‖² / ‖g‖².
 *
 * @param embeddings  newer embeddings g, f32[documents, D]
 * @returns undefined if the table holds none of the documents
 */
export function tableStaleness(
  table: ScoreTable,
  documents: Int32Array,
  embeddings: Float32Array,
): number | undefined {
  const D = table.dimension;
  const slots = table.slotsOf(documents);
  const held = [...documents.keys()].filter((i) => slots[i] !== NONE);
  if (held.length === 0) return undefined;
  const fresh = new Float32Array(held.length * D);
  for (const [at, i] of held.entries()) fresh.set(embeddings.subarray(i * D, (i + 1) * D), at * D);
  return staleness(table.read(held.map((i) => slots[i]!)), fresh, D);
}
