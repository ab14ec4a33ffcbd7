/**
 * @file Charts as SVG text. This module runs here and, inlined, in the report page: it uses nothing of Node.
 */
import { exactLabel, makeScale, type Scale, type Unit } from './chart-scale.ts';

interface ChartBase {
  readonly id: string;
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly xUnit: Unit;
  readonly yUnit: Unit;
  readonly logX?: boolean;
  readonly logY?: boolean;
  /** Ticks at these values of x only. */
  readonly xTicks?: readonly number[];
  /** What a reader must know. */
  readonly note?: string;
}

/** Values over time, one line for each arm; the band is mean ± standard deviation over the seeds. */
export interface LineChart extends ChartBase {
  readonly kind: 'lines';
  readonly series: readonly Series[];
}

/** The arrays have one length, x ascends. */
export interface Series {
  readonly arm: number;
  readonly x: readonly number[];
  readonly y: readonly number[];
  /** Standard deviations of `y`; absent for a single seed. */
  readonly sd?: readonly number[];
}

/** Points with mean ± standard deviation both ways: one labelled point for each arm, or many with a legend. */
export interface ScatterChart extends ChartBase {
  readonly kind: 'scatter';
  readonly points: readonly ScatterPoint[];
  /** Arms have several points each, which carry no labels. */
  readonly unlabelled?: boolean;
  /** Both axes have one range, and a line where y = x. */
  readonly parity?: boolean;
  /** Join the points by a line, in the order of x. */
  readonly joined?: boolean;
}

export interface ScatterPoint {
  readonly arm: number;
  readonly x: number;
  readonly y: number;
  readonly xSd?: number;
  readonly ySd?: number;
}

export type Chart = LineChart | ScatterChart;

export interface DrawOptions {
  readonly width: number;
  readonly height: number;
  /** Names of all arms, by their number. */
  readonly arms: readonly string[];
  /** Arms that are not shown; the axes fit the others. */
  readonly hidden?: ReadonlySet<number>;
}

export interface Drawing {
  /** What stands inside the svg element. */
  readonly markup: string;
  /** The plot without its margins, in pixels. */
  readonly plot: Box;
  readonly x: Scale;
  readonly y: Scale;
  /** What a pointer or the arrow keys can be on, from left to right. */
  readonly stops: readonly Stop[];
}

/** A place of a chart about which something can be said. */
export interface Stop {
  readonly left: number;
  /** Absent for the whole column at `left`. */
  readonly top?: number;
  readonly title: string;
  readonly entries: readonly { readonly arm: number; readonly text: string; readonly top: number }[];
}

export interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** Width of a letter of the labels, on average; in pixels. */
export const LETTER = 7.4;
const LINE_HEIGHT = 15;

/** Draws a chart: axes, and of each arm that is shown a line with markers, or a point. */
export function drawChart(chart: Chart, options: DrawOptions): Drawing {
  const shown = (item: { arm: number }) => !options.hidden?.has(item.arm);
  return chart.kind === 'lines'
    ? drawLines({ ...chart, series: chart.series.filter(shown) }, options)
    : drawScatter({ ...chart, points: chart.points.filter(shown) }, options);
}

function drawLines(chart: LineChart, options: DrawOptions): Drawing {
  const { series } = chart;
  const xs = series.flatMap(({ x }) => x);
  const ys = series.flatMap(({ y, sd }) =>
    y.flatMap((value, i) => [value - (sd?.[i] ?? 0), value + (sd?.[i] ?? 0)]),
  );
  const frame = drawFrame(chart, options, xs, ys);
  const { x, y } = frame;
  const lines = series.map((line) => {
    const points = line.x.map((value, i) => `${px(x.at(value))} ${px(y.at(line.y[i]!))}`);
    const edge = (sign: number) =>
      line.x.map((value, i) => `${px(x.at(value))} ${px(y.at(line.y[i]! + sign * line.sd![i]!))}`);
    const band = line.sd
      ? `<path class="band" d="M${edge(1).join('L')}L${edge(-1).reverse().join('L')}Z"/>`
      : '';
    // Markers tell lines apart without colour; a few are enough.
    const stride = Math.max(1, Math.ceil(points.length / 12));
    const marks = points.filter((_, i) => i % stride === 0 || i === points.length - 1);
    const markers = marks.map((point) => marker(line.arm, point)).join('');
    return `<g class="arm ${armClass(line.arm)}">${band}<path class="line" d="M${points.join('L')}"/>${markers}</g>`;
  });
  return { ...frame, markup: frame.markup + lines.join(''), stops: lineStops(chart, frame) };
}

/** One stop for each x at which something was measured. */
function lineStops({ series, xLabel, xUnit, yUnit }: LineChart, { x, y }: { x: Scale; y: Scale }): Stop[] {
  const values = [...new Set(series.flatMap((line) => line.x))].sort((a, b) => a - b);
  return values.map((value) => {
    const entries = series.flatMap((line) => {
      const i = line.x.indexOf(value);
      if (i < 0) return [];
      const text = exactLabel(line.y[i]!, yUnit, line.sd?.[i]);
      return [{ arm: line.arm, text, top: y.at(line.y[i]!) }];
    });
    const title = told(xLabel, exactLabel(value, xUnit));
    return { left: x.at(value), title, entries: entries.sort((a, b) => a.top - b.top) };
  });
}

function drawScatter(chart: ScatterChart, options: DrawOptions): Drawing {
  const { points, xUnit, yUnit, xLabel, yLabel } = chart;
  const around = (mean: number, sd = 0) => [mean - sd, mean + sd];
  // A logarithmic axis has no place for what lies below zero.
  const own = {
    x: points.flatMap(({ x, xSd }) => (chart.logX ? [x] : around(x, xSd))),
    y: points.flatMap(({ y, ySd }) => (chart.logY ? [y] : around(y, ySd))),
  };
  const both = [...own.x, ...own.y];
  const frame = drawFrame(chart, options, chart.parity ? both : own.x, chart.parity ? both : own.y);
  const { x, y, plot } = frame;
  const equal = (value: number) => `${px(x.at(value))} ${px(y.at(value))}`;
  const parity =
    chart.parity && both.length > 0
      ? `<path class="trend" d="M${equal(Math.min(...both))}L${equal(Math.max(...both))}"/>`
      : '';
  const placed = points
    .map((point) => {
      const { x: xMean, y: yMean, xSd = 0, ySd = 0 } = point;
      const bars: Box = {
        left: x.at(Math.max(xMean - xSd, chart.logX ? xMean / 10 : -Infinity)),
        right: x.at(xMean + xSd),
        top: y.at(yMean + ySd),
        bottom: y.at(Math.max(yMean - ySd, chart.logY ? yMean / 10 : -Infinity)),
      };
      return { ...point, left: x.at(xMean), top: y.at(yMean), bars };
    })
    .sort((a, b) => a.left - b.left);
  const joined = chart.joined
    ? `<path class="trend" d="M${placed.map(({ left, top }) => `${px(left)} ${px(top)}`).join('L')}"/>`
    : '';
  const labels = chart.unlabelled
    ? []
    : placeLabels(
        placed.map(({ arm, left, top, bars }) => ({ text: options.arms[arm]!, left, top, bars })),
        plot,
        yLabel,
      );
  const size = chart.unlabelled ? 1 : 1.4;
  const marks = placed.map(({ arm, left, top, xSd, ySd, bars }, i) => {
    const lines =
      (ySd ? `<path class="bar" d="M${px(left)} ${px(bars.bottom)}V${px(bars.top)}"/>` : '') +
      (xSd ? `<path class="bar" d="M${px(bars.left)} ${px(top)}H${px(bars.right)}"/>` : '');
    return (
      `<g class="arm ${armClass(arm)}">${lines}${marker(arm, `${px(left)} ${px(top)}`, size)}` +
      `${labels[i] ?? ''}</g>`
    );
  });
  const stops = placed.map(({ arm, left, top, x: xMean, y: yMean, xSd, ySd }) => ({
    left,
    top,
    title: '',
    entries: [
      {
        arm,
        top,
        text: `${told(yLabel, exactLabel(yMean, yUnit, ySd))}, ${told(xLabel, exactLabel(xMean, xUnit, xSd))}`,
      },
    ],
  }));
  return { ...frame, markup: frame.markup + parity + joined + marks.join(''), stops };
}

/** A value behind its name; the value brings its unit along. */
const told = (label: string, value: string): string => `${label.replace(/ \([^)]*\)$/, '')} ${value}`;

/** Axes, grid and their labels. */
function drawFrame(
  chart: Chart,
  { width, height }: DrawOptions,
  xs: readonly number[],
  ys: readonly number[],
): Drawing {
  const empty = xs.length === 0;
  const bottom = height - 40;
  const top = 26;
  const y = makeScale(empty ? [0, 1] : ys, {
    from: bottom,
    to: top,
    unit: chart.yUnit,
    ticks: Math.max(2, Math.floor((bottom - top) / 36)),
    ...(chart.logY && { log: true }),
  });
  const left = 14 + LETTER * Math.max(...y.ticks.map(({ label }) => label.length));
  const right = width - 16;
  const x = makeScale(empty ? [0, 1] : xs, {
    from: left,
    to: right,
    unit: chart.xUnit,
    ticks: Math.max(2, Math.floor((right - left) / 75)),
    ...(chart.logX && { log: true }),
    ...(chart.xTicks && { tickValues: chart.xTicks }),
  });
  const rows = y.ticks.map(({ value, label }) => {
    const at = px(y.at(value));
    return (
      `<path class="grid" d="M${px(left)} ${at}H${right}"/>` +
      `<text x="${px(left - 6)}" y="${at}" dy="0.35em" text-anchor="end">${label}</text>`
    );
  });
  let free = 0;
  const columns = x.ticks.map(({ value, label }) => {
    const at = x.at(value);
    const half = (label.length * LETTER) / 2;
    const text =
      at - half < free ? '' : `<text x="${px(at)}" y="${bottom + 17}" text-anchor="middle">${label}</text>`;
    if (text !== '') free = at + half + 6;
    return `<path class="tick" d="M${px(at)} ${bottom}v4"/>${text}`;
  });
  const markup =
    `<g class="frame">${rows.join('')}${columns.join('')}<path class="axis" d="M${px(left)} ${bottom}H${right}"/>` +
    `<text class="label" x="2" y="13">${escapeText(chart.yLabel)}</text>` +
    `<text class="label" x="${right}" y="${height - 5}" text-anchor="end">${escapeText(chart.xLabel)}</text></g>` +
    (empty
      ? `<text class="label" x="${px((left + right) / 2)}" y="${px((top + bottom) / 2)}" text-anchor="middle">no arm is shown</text>`
      : '');
  return { markup, plot: { left, right, top, bottom }, x, y, stops: [] };
}

/**
 * Labels beside their points, moved until none covers another label, a point or its bars; a line leads from a label that had to go
 * far.
 */
function placeLabels(
  points: readonly { text: string; left: number; top: number; bars: Box }[],
  plot: Box,
  yLabel: string,
): string[] {
  const taken: Box[] = [{ left: 0, right: yLabel.length * LETTER + 4, top: 2, bottom: 17 }];
  taken.push(
    ...points.flatMap(({ left, top, bars }) => [
      { left: left - 5, right: left + 5, top: top - 5, bottom: top + 5 },
      { left: bars.left - 2, right: bars.right + 2, top: top - 2, bottom: top + 2 },
      { left: left - 2, right: left + 2, top: bars.top - 2, bottom: bars.bottom + 2 },
    ]),
  );
  return points.map(({ text, left, top }) => {
    const width = text.length * LETTER;
    const place = (dx: number, dy: number): Box => {
      const start = dx > 0 ? left + dx : left + dx - width;
      return {
        left: start,
        right: start + width,
        top: top + dy - LINE_HEIGHT / 2,
        bottom: top + dy + LINE_HEIGHT / 2,
      };
    };
    const inside = (box: Box) =>
      box.left >= plot.left - 4 &&
      box.right <= plot.right + 14 &&
      box.top >= plot.top - 18 &&
      box.bottom <= plot.bottom;
    const free = (box: Box) =>
      taken.every(
        (other) =>
          box.right < other.left ||
          box.left > other.right ||
          box.bottom < other.top ||
          box.top > other.bottom,
      );
    const shifts = [0, -14, 14, -28, 28, -42, 42, -56, 56, -70, 70];
    const candidates = shifts.flatMap((dy) => [place(9, dy), place(-9, dy)]);
    const box =
      candidates.find((candidate) => inside(candidate) && free(candidate)) ??
      candidates.find(inside) ??
      candidates[left > (plot.left + plot.right) / 2 ? 1 : 0]!;
    taken.push(box);
    const middle = (box.top + box.bottom) / 2;
    const near = box.left > left ? box.left - 2 : box.right + 2;
    const leader =
      Math.abs(middle - top) > 20
        ? `<path class="leader" d="M${px(left)} ${px(top)}L${px(near)} ${px(middle)}"/>`
        : '';
    return `${leader}<text class="name" x="${px(box.left)}" y="${px(middle)}" dy="0.35em">${escapeText(text)}</text>`;
  });
}

/** Colours are eight; the markers go on in another order after them, so that the pairs are all different. */
const COLOURS = 8;
export const armClass = (arm: number): string =>
  `arm-${arm % COLOURS} dash-${(arm + Math.floor(arm / COLOURS)) % COLOURS}`;

const MARKERS = [
  'M-4 0A4 4 0 1 0 4 0A4 4 0 1 0 -4 0Z',
  'M-3.6 -3.6H3.6V3.6H-3.6Z',
  'M0 -4.6L4.4 3.4H-4.4Z',
  'M0 -5L5 0L0 5L-5 0Z',
  'M-1.4 -4.6H1.4V-1.4H4.6V1.4H1.4V4.6H-1.4V1.4H-4.6V-1.4H-1.4Z',
  'M0 4.6L4.4 -3.4H-4.4Z',
  'M-4.6 -2.6L-2.6 -4.6L0 -2L2.6 -4.6L4.6 -2.6L2 0L4.6 2.6L2.6 4.6L0 2L-2.6 4.6L-4.6 2.6L-2 0Z',
  'M0 -5L4.8 -1.5L3 4H-3L-4.8 -1.5Z',
];

/** An arm's marker around a point `x y`. */
export function marker(arm: number, point: string, size = 1): string {
  const shape = MARKERS[(arm + Math.floor(arm / COLOURS)) % COLOURS];
  const scale = size === 1 ? '' : ` scale(${size})`;
  return `<path class="marker" transform="translate(${point})${scale}" d="${shape}"/>`;
}

export const escapeText = (text: string): string =>
  text.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);

/** A coordinate; a tenth of a pixel is enough. */
const px = (value: number): string => String(Math.round(value * 10) / 10);
