import type { OptionTable } from '../util/option-table.ts';

/** Maximum number of different defaults that the help lists. */
const MOST_DEFAULTS = 4;

/** Method that has options of its own. */
interface OwnerOfOptions {
  readonly id: string;
  readonly options: OptionTable;
}

/**
 * Replaces the defaults of options that several methods share by a text on the defaults of all of them, such as
 * `never; async:500 for async-index`.
 */
export function defaultsByMethod<T extends OptionTable>(table: T, methods: readonly OwnerOfOptions[]): T {
  const specs = Object.entries(table).map(([key, spec]) => {
    const defaultHelp = spec.type === 'switch' ? undefined : (spec.defaultHelp ?? defaultsOf(key, methods));
    const { default: _, ...rest } = spec;
    return [key, { ...rest, ...(defaultHelp !== undefined && { defaultHelp }) }];
  });
  return Object.fromEntries(specs);
}

function defaultsOf(key: string, methods: readonly OwnerOfOptions[]): string | undefined {
  const ids = new Map<string, string[]>();
  for (const { id, options } of methods) {
    if (!Object.hasOwn(options, key)) continue;
    const text = String(options[key]!.default ?? '');
    ids.set(text, [...(ids.get(text) ?? []), id]);
  }
  if (ids.size > MOST_DEFAULTS) return 'depends on the method';
  const [[usual] = [''], ...others] = [...ids].sort(([, a], [, b]) => b.length - a.length);
  const exceptions = others.map(([text, methods]) => `${text} for ${methods.join(', ')}`);
  return usual === '' ? undefined : [usual, ...exceptions].join('; ');
}
