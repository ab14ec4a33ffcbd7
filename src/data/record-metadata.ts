import type { ColumnChoice } from './column-choice.ts';

/** Collects the fields that have no role. Those of an object `metadata`, as BEIR has it, are taken out of it. */
export function metadataOf(
  fields: Readonly<Record<string, unknown>>,
  columns: ColumnChoice,
): Readonly<Record<string, unknown>> | undefined {
  const roles = new Set((['id', 'title', 'text'] as const).flatMap((role) => columns.names(role)));
  const found: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (roles.has(name) || value === null || value === undefined) continue;
    const isObject = typeof value === 'object' && !Array.isArray(value) && !(value instanceof Date);
    if (name === 'metadata' && isObject) Object.assign(found, plain(value));
    else found[name] = plain(value);
  }
  return Object.keys(found).length === 0 ? undefined : found;
}

/** Converts a value to what JSON can hold; Parquet has whole numbers of 64 bits and dates. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Uint8Array) return undefined;
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, plain(part)]));
  }
  return value;
}
