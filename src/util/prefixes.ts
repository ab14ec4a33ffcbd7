/** The name inside a prefix: `reader` and `wte.weight` make `reader/wte.weight`. An empty prefix changes nothing. */
export const underPrefix = (prefix: string, name: string): string =>
  prefix === '' ? name : `${prefix}/${name}`;

/** Returns a copy of the record in which every name has the prefix. */
export const addPrefix = <T>(prefix: string, record: Readonly<Record<string, T>>): Record<string, T> =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [prefix + name, value]));

/**
 * Returns the entries of a record with names that begin with the prefix, and removes the prefix from the
 * names.
 */
export const takePrefix = <T>(prefix: string, record: Readonly<Record<string, T>>): Record<string, T> =>
  Object.fromEntries(
    Object.entries(record).flatMap(([name, value]) =>
      name.startsWith(prefix) ? [[name.slice(prefix.length), value]] : [],
    ),
  );
