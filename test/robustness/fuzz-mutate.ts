import { randomInts, rngKey } from '../../src/util/rng.ts';
import { damage } from '../damage.ts';

/** Draws whole numbers, reproducibly. */
export type Draw = (bound: number) => number;

/** Makes the source of the random numbers of one mutation. */
export function drawsOf(seed: number, index: number): Draw {
  const draws = new Uint32Array(64);
  randomInts(rngKey(seed, index, 'fuzz'), 2 ** 32, draws);
  let next = 0;
  return (bound) => draws[next++ % draws.length]! % Math.max(1, bound);
}

/** Values that take the place of a value in JSON. Several of them are what careless code takes for granted never to meet. */
const STRANGE: readonly string[] = [
  'null',
  'true',
  'false',
  '0',
  '-1',
  '1.5',
  '1e308',
  '1e999',
  '-0',
  '9007199254740993',
  '4294967296',
  '""',
  '"__proto__"',
  '"\\ud800"',
  '"\\u0000"',
  '" "',
  '"1"',
  '"../../etc/passwd"',
  '[]',
  '[null]',
  '[[]]',
  '{}',
  '{"__proto__":{"a":1}}',
  '{"toString":1,"length":-1}',
  `"${'x'.repeat(3000)}"`,
  `[${'0,'.repeat(3000)}0]`,
  `${'['.repeat(400)}${']'.repeat(400)}`,
  `${'{"a":'.repeat(400)}1${'}'.repeat(400)}`,
];

/** Place of a value in JSON: the object or array that holds it, and its key. */
interface Spot {
  readonly holder: Record<string, unknown> | unknown[];
  readonly key: string | number;
}

/** Stands in a parsed value for a text of JSON that is put there as it is, such as `1e999`. */
const MARK = 'undrift-fuzz-';

/** Changes one to three values of JSON: removed, renamed, doubled, exchanged, or replaced by strange ones. */
export function mutateJson(text: string, draw: Draw): string {
  const root: { top: unknown } = { top: JSON.parse(text) };
  const strange: string[] = [];
  for (let times = 1 + draw(3); times > 0; times--) {
    const spots = spotsOf(root);
    const { holder, key } = spots[draw(spots.length)]!;
    const at = holder as Record<string | number, unknown>;
    const kind = draw(8);
    if (kind === 0 && holder !== root) {
      if (Array.isArray(holder)) holder.splice(Number(key), 1);
      else delete at[key];
    } else if (kind === 1 && !Array.isArray(holder) && holder !== root) {
      at[`${key}x`] = at[key];
      delete at[key];
    } else if (kind === 2 && Array.isArray(holder)) {
      holder.push(at[key]);
    } else if (kind === 3) {
      const other = spots[draw(spots.length)]!;
      at[key] = structuredClone((other.holder as Record<string | number, unknown>)[other.key]);
    } else if (kind === 4 && typeof at[key] === 'number') {
      at[key] = [-(at[key] as number), (at[key] as number) * 1e6, (at[key] as number) + 0.5, 0][draw(4)];
    } else {
      at[key] = `${MARK}${strange.length}`;
      strange.push(STRANGE[draw(STRANGE.length)]!);
    }
  }
  return JSON.stringify(root.top ?? null).replace(
    new RegExp(`"${MARK}(\\d+)"`, 'g'),
    (_, i) => strange[Number(i)] ?? 'null',
  );
}

/** All places of a value; of long arrays and objects, such as vocabularies, the first and the last three. */
function spotsOf(root: { top: unknown }): Spot[] {
  const spots: Spot[] = [];
  const visit = (holder: Spot['holder']): void => {
    const keys = Array.isArray(holder) ? [...holder.keys()] : Object.keys(holder);
    const chosen = keys.length <= 40 ? keys : [...keys.slice(0, 3), ...keys.slice(-3)];
    for (const key of chosen) {
      spots.push({ holder, key });
      const value = (holder as Record<string | number, unknown>)[key];
      if (typeof value === 'object' && value !== null) visit(value as Spot['holder']);
    }
  };
  visit(root as Record<string, unknown>);
  return spots;
}

/** Makes a damaged copy of a file: of its bytes, or, for JSON, as often of its values. */
export function mutate(
  bytes: Uint8Array,
  name: string,
  { seed, index }: { seed: number; index: number },
): Uint8Array {
  const draw = drawsOf(seed, index);
  const isLines = /\.jsonl$/.test(name);
  if (!/\.json$/.test(name) && !isLines) return damage(bytes, seed * 1_000_003 + index);
  if (draw(2) === 0) return damage(bytes, seed * 1_000_003 + index);
  const text = Buffer.from(bytes).toString();
  if (!isLines) return Buffer.from(mutateJson(text, draw));
  const lines = text.trimEnd().split('\n');
  const at = draw(lines.length);
  lines[at] = mutateJson(lines[at]!, draw);
  return Buffer.from(`${lines.join('\n')}\n`);
}
