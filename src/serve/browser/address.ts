/**
 * @file State of the page in its address, so that a search can be kept as a link.
 */

/** Search that the address names. */
export interface Address {
  readonly query: string;
  /** Key of the ranking of the first column; empty for the default. */
  readonly first: string;
  /** Key of the ranking of the second column; empty for none. */
  readonly second: string;
  readonly filter: string;
}

const NAMES = { query: 'q', first: 'a', second: 'b', filter: 'filter' } as const;

/** Reads the part of an address after `#`. */
export function readAddress(hash: string): Address {
  const values = new URLSearchParams(hash.replace(/^#/, ''));
  const value = (name: string) => values.get(name) ?? '';
  return {
    query: value(NAMES.query),
    first: value(NAMES.first),
    second: value(NAMES.second),
    filter: value(NAMES.filter),
  };
}

/** Writes the part of an address after `#`, with it. Empty values are left out. */
export function writeAddress(address: Address): string {
  const values = new URLSearchParams();
  for (const [key, name] of Object.entries(NAMES)) {
    const value = address[key as keyof Address];
    if (value !== '') values.set(name, value);
  }
  const text = values.toString();
  return text === '' ? '#' : `#${text}`;
}
