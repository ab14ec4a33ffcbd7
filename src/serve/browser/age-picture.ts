/**
 * @file Picture of the ages of a corpus: a square for each block of passages, divided by the versions of their vectors.
 */
import { make, makeSvg, type PageElement } from './dom.ts';
import { duration, grouped } from './progress.ts';
import { shortName } from './rankings.ts';

/** The answer of `GET /ages`. */
export interface Ages {
  readonly passages: number;
  readonly missing: number;
  readonly versions: readonly {
    readonly model: string;
    readonly steps: readonly [number, number];
    readonly current: boolean;
    readonly passages: number;
  }[];
  readonly cells: readonly {
    readonly passages: number;
    readonly versions: readonly number[];
    readonly time: number | null;
  }[];
}

/** Part of a square, from its bottom. */
export interface Band {
  /** Position and height, as shares of the square. */
  readonly from: number;
  readonly height: number;
  /** Colour, as a class of the styles. */
  readonly color: string;
}

/** Side of a square, and distance between two of them. */
const SIDE = 10;
const PITCH = 12;
/** Colours that the styles have for versions. */
const COLORS = 8;

/** Returns the class of the colour of a version, counted from the newest. */
export const versionColor = (version: number): string => `age-${Math.min(version, COLORS - 1)}`;

/** Divides a block by the versions of its vectors, the newest at the bottom. Passages without a vector are left empty. */
export function versionBands({ passages, versions }: Ages['cells'][number]): Band[] {
  let from = 0;
  return versions.flatMap((count, version) => {
    if (count === 0) return [];
    const band = { from, height: count / passages, color: versionColor(version) };
    from += band.height;
    return band;
  });
}

/**
 * Describes a block by the time of its vectors, relative to the oldest and the newest: 1 for the newest, 0 for the oldest, null without
 * vectors. Where all are within a second, all are the newest.
 */
export function freshness(cells: Ages['cells']): (number | null)[] {
  const times = cells.flatMap(({ time }) => time ?? []);
  const [oldest, newest] = [Math.min(...times), Math.max(...times)];
  return cells.map(({ time }) => {
    if (time === null) return null;
    return newest - oldest < 1000 ? 1 : (time - oldest) / (newest - oldest);
  });
}

/** Name of a version in the legend. */
export function versionName({ model, steps: [from, to] }: Ages['versions'][number]): string {
  const steps = from === to ? `step ${grouped(from)}` : `steps ${grouped(from)} to ${grouped(to)}`;
  return `${shortName(model)} · ${steps}`;
}

/** Draws the squares in rows of `across`. */
export function agePicture(ages: Ages, by: 'version' | 'time', across: number): PageElement {
  const rows = Math.max(1, Math.ceil(ages.cells.length / across));
  const shares = by === 'time' ? freshness(ages.cells) : [];
  const squares = ages.cells.map((cell, i) => {
    const [x, y] = [(i % across) * PITCH + 1, Math.floor(i / across) * PITCH + 1];
    const bands = by === 'time' ? timeBands(cell, shares[i]!) : versionBands(cell);
    const square = makeSvg(
      'g',
      { class: 'block' },
      makeSvg('rect', {
        x,
        y,
        width: SIDE,
        height: SIDE,
        class: cell.passages === 0 ? 'age-none' : 'age-missing',
      }),
      ...bands.map(({ from, height, color }) =>
        makeSvg('rect', {
          x,
          y: y + SIDE * (1 - from - height),
          width: SIDE,
          height: SIDE * height,
          class: color,
        }),
      ),
    );
    square.dataset.block = String(i);
    return square;
  });
  if (by === 'time') {
    for (const [i, share] of shares.entries()) {
      for (const band of squares[i]!.querySelectorAll('.age-time')) {
        band.style.setProperty('--fresh', `${Math.round((share ?? 0) * 100)}%`);
      }
    }
  }
  const box = `0 0 ${across * PITCH} ${rows * PITCH}`;
  return makeSvg('svg', { viewBox: box, role: 'img', 'aria-label': pictureLabel(ages) }, ...squares);
}

const timeBands = (cell: Ages['cells'][number], share: number | null): Band[] =>
  share === null
    ? []
    : [{ from: 0, height: cell.versions.reduce((sum, n) => sum + n, 0) / cell.passages, color: 'age-time' }];

/** Describes the picture for readers who do not see it. */
export const pictureLabel = (ages: Ages): string =>
  `${grouped(ages.passages)} passages in the order in which they were added: ${sharesText(ages) || 'none'}.`;

/** Lists the shares of the versions; the empty text without passages. */
export function sharesText({ passages, missing, versions }: Ages): string {
  const shares = versions.map(
    (version) => `${percent(version.passages, passages)} by ${versionName(version)}`,
  );
  if (missing > 0) shares.push(`${percent(missing, passages)} without a vector`);
  return shares.join(', ');
}

/** Describes one block. */
export function blockText(ages: Ages, block: number, nowMs: number): string {
  const { passages, versions, time } = ages.cells[block]!;
  if (passages === 0) return `Block ${block + 1}: its passages were removed`;
  const parts = versions.flatMap((count, i) =>
    count === 0 ? [] : `${percent(count, passages)} ${versionName(ages.versions[i]!)}`,
  );
  const without = passages - versions.reduce((sum, n) => sum + n, 0);
  if (without > 0) parts.push(`${percent(without, passages)} without a vector`);
  const age =
    time === null ? '' : ` · embedded ${duration(Math.max(0, (nowMs - time) / 1000))} ago on average`;
  return `Block ${block + 1} of ${ages.cells.length}: ${grouped(passages)} passages · ${parts.join(', ')}${age}`;
}

const percent = (part: number, whole: number): string =>
  whole === 0 ? '0 %' : `${((100 * part) / whole).toFixed(part === whole ? 0 : 1)} %`;

const entry = (color: string, name: string, count: string): PageElement =>
  make(
    'li',
    {},
    make('span', { class: `swatch ${color}`, 'aria-hidden': 'true' }),
    `${name} `,
    make('b', {}, count),
  );

const missingLegend = ({ missing }: Ages): PageElement[] =>
  missing > 0 ? [entry('age-missing', 'no vector', grouped(missing))] : [];

/**
 * Makes the legend of versions, with counts.
 *
 * @param older  what the vectors of versions that are not current are
 */
export function versionLegend(ages: Ages, older: 'corrected' | 'stale'): PageElement[] {
  const versions = ages.versions.map((version, i) =>
    entry(
      versionColor(i),
      `${versionName(version)}${version.current ? '' : ` (${older})`}`,
      grouped(version.passages),
    ),
  );
  return [...versions, ...missingLegend(ages)];
}

/** Makes the legend, with counts. */
export function ageLegend(ages: Ages, by: 'version' | 'time', nowMs: number): PageElement[] {
  if (by === 'version') return versionLegend(ages, 'corrected');
  const missing = missingLegend(ages);
  const times = ages.cells.flatMap(({ time }) => time ?? []);
  if (times.length === 0) return missing;
  const ago = (time: number) => `${duration(Math.max(0, (nowMs - time) / 1000))} ago`;
  return [
    entry('age-newest', 'newest block', ago(Math.max(...times))),
    entry('age-oldest', 'oldest block', ago(Math.min(...times))),
    ...missing,
  ];
}
