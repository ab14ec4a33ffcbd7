import type { Table } from '@lancedb/lancedb';

/** Rows up to which a table is so small that upkeep costs little. */
const SMALL_ROWS = 1000;
/** Files of rows from which on reading them apart costs more than merging them. */
const MOST_FRAGMENTS = 48;
/** Versions from which on listing them takes time. */
const MOST_VERSIONS = 128;
/** Share of removed rows, and of rows that an index does not have, from which on searches become slower. */
const MOST_SHARE = 0.02;

/**
 * Tells whether a table should be compacted and its indices extended. That rewrites most of the table, so that doing it after every
 * small commit would take seconds for ten rows. Rows that an index does not have yet are found by a scan.
 */
export async function needsUpkeep(table: Table): Promise<boolean> {
  const { numRows, fragmentStats } = await table.stats();
  const { numFragments, lengths } = fragmentStats;
  if (numRows < SMALL_ROWS || numFragments > MOST_FRAGMENTS) return true;
  const removed = lengths.mean * numFragments - numRows;
  if (removed > MOST_SHARE * numRows) return true;
  for (const { name } of await table.listIndices()) {
    const stats = await table.indexStats(name);
    if (stats && stats.numUnindexedRows > MOST_SHARE * numRows) return true;
  }
  return (await table.listVersions()).length > MOST_VERSIONS;
}
