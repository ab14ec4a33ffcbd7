/** Quotes a text as a literal of LanceDB's SQL. */
export const sqlText = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** Condition that a column has one of some texts. */
export const isOneOfTexts = (column: string, texts: readonly string[]): string =>
  texts.length === 0 ? 'false' : `${column} IN (${texts.map(sqlText).join(',')})`;

/** Condition that a column has one of some whole numbers. */
export const isOneOf = (column: string, numbers: Iterable<number>): string => {
  const list = [...numbers].join(',');
  return list === '' ? 'false' : `${column} IN (${list})`;
};

/** Most values in one condition; the notes of LanceDB's users name slow plans for more. */
const VALUES = 1000;

/** Splits values into parts that fit one condition. */
export function* inParts<T>(values: readonly T[]): Generator<readonly T[]> {
  for (let start = 0; start < values.length; start += VALUES) yield values.slice(start, start + VALUES);
}
