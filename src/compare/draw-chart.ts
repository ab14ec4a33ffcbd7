/**
 * @file Charts as SVG text. This module runs here and, inlined, in the report page. It uses nothing of Node.
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
  /** Only values of x that have ticks. */
  readonly xTicks?: readonly number[];
  /** Note for the reader. */
  readonly note?: string;
}

/**
 * Chart of values over time, with one line for each arm. Bands show mean ± standard deviation over the seeds.
 */
export interface LineChart extends ChartBase {
  readonly kind: 'lines';
  /** The lines. */
  readonly series: readonly Series[];
}

/** Line of one arm. The arrays have the same length, and x ascends. */
export interface Series {
  /** Number of the arm. */
  readonly arm: number;
  /** Values of x. */
  readonly x: readonly number[];
  /** Values of y. */
  readonly y: readonly number[];
  /** Standard deviations of `y`. Absent for a single seed. */
  readonly sd?: readonly number[];
}

/**
 * Chart of points with mean ± standard deviation in both directions: one labelled point for each arm, or many
 * points with a legend.
 */
export interface ScatterChart extends ChartBase {
  readonly kind: 'scatter';
  /** The points. */
  readonly points: readonly ScatterPoint[];
  /** Leaves out the labels, for arms with several points each. Default false. */
  readonly unlabelled?: boolean;
  /** Gives both axes the same range, and draws the line y = x. Default false. */
  readonly parity?: boolean;
  /** Joins the points by a line, in the order of x. Default false. */
  readonly joined?: boolean;
}

/** Point of a scatter chart. */
export interface ScatterPoint {
  /** Number of the arm. */
  readonly arm: number;
  /** Value of x. */
  readonly x: number;
  /** Value of y. */
  readonly y: number;
  /** Standard deviation of `x`. Absent for a single seed. */
  readonly xSd?: number;
  /** Standard deviation of `y`. Absent for a single seed. */
  readonly ySd?: number;
}

/** Chart of any kind. */
export type Chart = LineChart | ScatterChart;

/** Options of `drawChart`. */
export interface DrawOptions {
  /** Width of the drawing, in pixels. */
  readonly width: number;
  /** Height of the drawing, in pixels. */
  readonly height: number;
  /** Names of all arms, by arm number. */
  readonly arms: readonly string[];
  /** Numbers of the arms that are not shown. The axes fit the other arms. Default none. */
  readonly hidden?: ReadonlySet<number>;
}

/** Result of `drawChart`. */
export interface Drawing {
  /** Content of the svg element. */
  readonly markup: string;
  /** Plot area without margins, in pixels. */
  readonly plot: Box;
  /** Horizontal scale. */
  readonly x: Scale;
  /** Vertical scale. */
  readonly y: Scale;
  /** Positions that the pointer or the arrow keys can select, from left to right. */
  readonly stops: readonly Stop[];
}

/** Position in a chart with values to show. */
export interface Stop {
  /** Horizontal position, in pixels. */
  readonly left: number;
  /** Vertical position, in pixels. Absent if the stop is the whole column at `left`. */
  readonly top?: number;
  /** Title of the values. */
  readonly title: string;
  /** Values to show, with the vertical position of each in pixels. */
  readonly entries: readonly { readonly arm: number; readonly text: string; readonly top: number }[];
}

/** Rectangle, in pixels. */
export interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** Average width of a letter in the labels, in pixels. */
export const LETTER = 7.4;
const LINE_HEIGHT = 15;

/** Draws a chart: the axes, and for each shown arm a line with markers or its points. */
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
    // A few markers are enough to distinguish lines without colour.
    const stride = Math.max(1, Math.ceil(points.length / 12));
    const marks = points.filter((_, i) => i % stride === 0 || i === points.length - 1);
    const markers = marks.map((point) => marker(line.arm, point)).join('');
    return `<g class="arm ${armClass(line.arm)}">${band}<path class="line" d="M${points.join('L')}"/>${markers}</g>`;
  });
  return { ...frame, markup: frame.markup + lines.join(''), stops: lineStops(chart, frame) };
}

/** Makes one stop for each x with a measurement. */
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
  // A logarithmic axis has no position for values below zero.
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

/** Formats a label with a value. The value contains the unit, so the label's unit is removed. */
const told = (label: string, value: string): string => `${label.replace(/ \([^)]*\)$/, '')} ${value}`;

/** Draws axes, grid and their labels. */
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
 * Places labels beside their points and moves them until none covers another label, a point or its bars. A
 * line connects a distant label with its point.
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

/**
 * Number of colours. Arms beyond it use the markers in another order, so that all pairs of colour and marker
 * differ.
 */
const COLOURS = 8;
/** Returns the CSS classes of an arm. */
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

/** Draws the marker of an arm around a point `x y`. */
export function marker(arm: number, point: string, size = 1): string {
  const shape = MARKERS[(arm + Math.floor(arm / COLOURS)) % COLOURS];
  const scale = size === 1 ? '' : ` scale(${size})`;
  return `<path class="marker" transform="translate(${point})${scale}" d="${shape}"/>`;
}

/** Escapes text for HTML and SVG. */
export const escapeText = (text: string): string =>
  text.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);

/** Formats a coordinate, rounded to a tenth of a pixel. */
const px = (value: number): string => String(Math.round(value * 10) / 10);
