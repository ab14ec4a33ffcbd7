/** Picks at most `limit` items, evenly spaced. */
export function evenlySpaced<T>(items: readonly T[], limit = items.length): readonly T[] {
  if (items.length <= limit) return items;
  return Array.from({ length: limit }, (_, i) => items[Math.floor((i * items.length) / limit)]!);
}
