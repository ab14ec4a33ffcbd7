/** Computes the median. For an even number of values it is the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** First and third quartile. */
export type Quartiles = readonly [first: number, third: number];

/** Computes the first and third quartile, by linear interpolation between the sorted values. */
export function quartiles(values: readonly number[]): Quartiles {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number => {
    const place = share * (sorted.length - 1);
    const below = Math.floor(place);
    const above = Math.min(below + 1, sorted.length - 1);
    return sorted[below]! + (place - below) * (sorted[above]! - sorted[below]!);
  };
  return [at(0.25), at(0.75)];
}

/** Spread of the medians of a result, by their names. Results of early versions have none. */
export interface WithQuartiles {
  readonly quartiles?: Readonly<Record<string, Quartiles>>;
}

/** Computes the median of each list of values, and the quartiles of all, by name. */
export function medians<Name extends string>(
  lists: Readonly<Record<Name, readonly number[]>>,
): Record<Name, number> & { readonly quartiles: Record<Name, Quartiles> } {
  const names = Object.keys(lists) as Name[];
  const of = <Value>(compute: (values: readonly number[]) => Value) =>
    Object.fromEntries(names.map((name) => [name, compute(lists[name])])) as Record<Name, Value>;
  return { ...of(median), quartiles: of(quartiles) };
}

/** Returns the smallest value. */
export const minimum = (values: readonly number[]): number => Math.min(...values);

/** Returns the largest value of an array of any length. */
export const largest = (values: readonly number[]): number =>
  values.reduce((a, b) => Math.max(a, b), -Infinity);

/** Formats rows of text in columns. The first column is aligned at the left, the others at the right unless told otherwise. */
export function table(rows: readonly (readonly string[])[], others: 'left' | 'right' = 'right'): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          column === 0 || others === 'left' ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
        )
        .join('   ')
        .trimEnd(),
    )
    .join('\n');
}
