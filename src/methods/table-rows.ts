/**
 * Rows of a method's table.
 * @param cacheSize  rows asked for; 0 for one row for each document
 * @param documents  documents of the corpus: more rows than these would stay empty
 */
export const tableRows = (cacheSize: number, documents: number): number =>
  cacheSize === 0 ? documents : Math.min(cacheSize, documents);
