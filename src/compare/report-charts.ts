import { DOCUMENT_ENCODES, describeCost, READING_COSTS, WALL_TIME } from './cost.ts';
import { type Curve, LEDGER } from './curves.ts';
import type { Chart, LineChart, ScatterChart, Series } from './draw-chart.ts';
import type { ArmResults, ComparisonResults } from './results.ts';
import { spread } from './statistics.ts';

/** Charts of a comparison, the most informative ones first. */
export interface ReportCharts {
  /** Quality over time and against cost, staleness, and loss. */
  readonly main: readonly Chart[];
  /** Other logged values. */
  readonly more: readonly Chart[];
}

/** Maximum number of points in a line. More points are not visible on a small screen. */
const MAX_POINTS = 100;

/** Logged values that have their own chart, or are equal in all arms. */
const NOT_MORE = [
  'train/staleness',
  'train/interpretableLoss',
  'train/learningRate',
  // Logged for single steps. Whether a logged step is one that refreshes is chance.
  'train/documentEncodes',
];
/** Tests whether a value is a bin of a histogram, which makes no useful curve. */
const isBin = (key: string): boolean => key.startsWith('train/ageRatio/');

/** Horizontal axis for a logged value. */
type Over = 'steps' | 'minutes' | 'encodes';
const AXES: Readonly<Record<Over, Pick<LineChart, 'xLabel' | 'xUnit'>>> = {
  steps: { xLabel: 'step', xUnit: 'count' },
  minutes: { xLabel: 'time (minutes)', xUnit: 'minutes' },
  encodes: { xLabel: 'document encodes', xUnit: 'count' },
};

/** Makes the charts of a comparison. */
export function chartsOf(results: ComparisonResults): ReportCharts {
  const { arms, evaluate } = results;
  const headline = evaluate.metrics[0]!;
  const present = <T extends Chart>(chart: T | undefined) => (chart ? [chart] : []);
  const logged = [...new Set(arms.flatMap(({ runs }) => runs.flatMap(({ curves }) => curves.map(keyOf))))];
  const settings = arms.find(({ settings }) => settings)?.settings;
  const watched = `eval/${settings?.evalMetric ?? headline}`;
  const quality = logged.includes(watched) ? watched : logged.find((key) => key.startsWith('eval/'));
  const split = settings?.evalSplit ?? 'dev';
  const title = `${nameOf(quality ?? '')} on ${split} while training`;
  return {
    main: [
      ...present(quality ? lineChart(arms, quality, 'steps', title) : undefined),
      ...present(quality ? lineChart(arms, quality, 'encodes', `${title}, by document encodes`) : undefined),
      ...present(quality ? lineChart(arms, quality, 'minutes', `${title}, by time`) : undefined),
      ...present(settingChart(results, headline)),
      ...present(costChart(results, headline, DOCUMENT_ENCODES)),
      ...READING_COSTS.flatMap((name) => present(costChart(results, headline, name))),
      ...present(costChart(results, headline, WALL_TIME)),
      ...present(lineChart(arms, 'train/staleness', 'steps', 'Staleness of the cached embeddings')),
      ...present(lineChart(arms, 'train/interpretableLoss', 'steps', 'Interpretable loss')).map((chart) => ({
        ...chart,
        note: 'each method computes it over its own candidates: compare its values over time, not between arms',
      })),
    ],
    more: logged
      .filter(
        (key) => key !== quality && !NOT_MORE.includes(key) && !isBin(key) && !key.startsWith(`${LEDGER}/`),
      )
      .flatMap((key) => present(lineChart(arms, key, 'steps', `${nameOf(key)} (${key.split('/')[0]})`)))
      .filter((chart) => !isFlat(chart)),
  };
}

/** Tests whether one value holds for all arms at all steps. */
function isFlat({ series }: LineChart): boolean {
  const values = series.flatMap(({ y }) => y);
  return values.every((value) => value === values[0]);
}

const keyOf = ({ kind, name }: Curve): string => `${kind}/${name}`;
const nameOf = (key: string): string => key.slice(key.indexOf('/') + 1);

/** Draws a logged value over steps, time or cost, with mean and spread over the seeds. */
function lineChart(
  arms: readonly ArmResults[],
  key: string,
  over: Over,
  title: string,
): LineChart | undefined {
  const series = arms.flatMap(({ runs }, arm): Series[] => {
    const placed = runs.flatMap(({ curves }) => {
      const curve = curves.find((candidate) => keyOf(candidate) === key);
      return curve ? place(curve, over, curves) : [];
    });
    return placed.length === 0 ? [] : [{ arm, ...meanCurve(placed) }];
  });
  if (series.length === 0) return undefined;
  return {
    kind: 'lines',
    id: `${key}-${over}`.replace(/[^a-z0-9]+/gi, '-').toLowerCase(),
    title,
    ...AXES[over],
    yLabel: nameOf(key),
    yUnit: 'value',
    // On a linear axis, one expensive arm would press all others into a corner.
    ...(over !== 'steps' && { logX: isWide(series.map(({ x }) => x.at(-1)!)) }),
    series,
  };
}

/** Curve with its positions on the horizontal axis. */
interface PlacedCurve {
  readonly steps: readonly number[];
  readonly places: readonly number[];
  readonly values: readonly number[];
}

/** Places a curve on the horizontal axis. Empty if the run did not count its document encodes. */
function place({ steps, wallMs, values }: Curve, over: Over, curves: readonly Curve[]): PlacedCurve[] {
  if (over === 'steps') return [{ steps, values, places: steps }];
  if (over === 'minutes') return [{ steps, values, places: wallMs.map((ms) => ms / 60_000) }];
  const spent = curves.find((curve) => keyOf(curve) === `${LEDGER}/${DOCUMENT_ENCODES}`);
  return spent ? [{ steps, values, places: steps.map((step) => valueAt(spent, step)) }] : [];
}

/** Interpolates a curve at a step between those at which it was logged. */
function valueAt({ steps, values }: Curve, step: number): number {
  const after = steps.findIndex((logged) => logged >= step);
  if (after < 0) return values.at(-1)!;
  if (after === 0 || steps[after] === step) return values[after]!;
  const share = (step - steps[after - 1]!) / (steps[after]! - steps[after - 1]!);
  return values[after - 1]! + share * (values[after]! - values[after - 1]!);
}

/** Averages curves by step. Only values measured after the same number of steps are averaged. */
function meanCurve(curves: readonly PlacedCurve[]): Omit<Series, 'arm'> {
  const atStep = new Map<number, { values: number[]; places: number[] }>();
  for (const { steps, values, places } of curves) {
    for (const [i, step] of steps.entries()) {
      const found = atStep.get(step) ?? { values: [], places: [] };
      atStep.set(step, found);
      found.values.push(values[i]!);
      found.places.push(places[i]!);
    }
  }
  const sorted = [...atStep].sort(([a], [b]) => a - b);
  const stride = Math.ceil(sorted.length / MAX_POINTS);
  const points = sorted.filter((_, i) => i % stride === 0 || i === sorted.length - 1);
  const spreads = points.map(([, { values }]) => spread(values));
  const short = (value: number) => Number(value.toPrecision(5));
  return {
    x: points.map(([, { places }]) => short(spread(places).mean)),
    y: spreads.map(({ mean }) => short(mean)),
    ...(spreads.some(({ sd }) => sd !== null) && { sd: spreads.map(({ sd }) => short(sd ?? 0)) }),
  };
}

/** Draws the headline metric against a cost of training. */
function costChart(
  { arms, evaluate }: ComparisonResults,
  metric: string,
  name: string,
): ScatterChart | undefined {
  const { label, unit, factor } = describeCost(name);
  const points = arms.flatMap(({ metrics, cost }, arm) => {
    const [x, y] = [cost[name], metrics[metric]];
    return x && y ? [point(arm, x.mean * factor, y, x.sd === null ? null : x.sd * factor)] : [];
  });
  if (points.length === 0) return undefined;
  const xs = points.map(({ x }) => x);
  return {
    kind: 'scatter',
    id: `${metric}-${name}`.replace(/[^a-z0-9]+/gi, '-').toLowerCase(),
    title: `${metric} on ${evaluate.split} against ${label}`,
    xLabel: unit === 'minutes' ? `${label} (minutes)` : label,
    yLabel: metric,
    xUnit: unit,
    yUnit: 'value',
    logX: isWide(xs),
    points,
  };
}

/**
 * Draws the headline metric against the one setting in which the arms differ, if it is a number. A curve
 * joins the arms.
 */
function settingChart({ arms, evaluate }: ComparisonResults, metric: string): ScatterChart | undefined {
  const done = arms.flatMap(({ settings, metrics }, arm) => {
    const y = metrics[metric];
    return settings && y
      ? [{ arm, y, settings: settings as unknown as Readonly<Record<string, unknown>> }]
      : [];
  });
  const names = [...new Set(done.flatMap(({ settings }) => Object.keys(settings)))];
  const differing = names.filter(
    (name) => name !== 'seed' && new Set(done.map(({ settings }) => JSON.stringify(settings[name]))).size > 1,
  );
  const name = differing[0];
  if (name === undefined || differing.length > 1 || done.length < 3) return undefined;
  const points = done.flatMap(({ arm, y, settings }) => {
    const x = settings[name];
    return typeof x === 'number' ? [point(arm, x, y, null)] : [];
  });
  if (points.length < done.length) return undefined;
  const xs = [...new Set(points.map(({ x }) => x))].sort((a, b) => a - b);
  const label = name.replace(/([a-z0-9])([A-Z])/g, '$1 $2').toLowerCase();
  return {
    kind: 'scatter',
    id: `${metric}-${name}`.replace(/[^a-z0-9]+/gi, '-').toLowerCase(),
    title: `${metric} on ${evaluate.split} against ${label}`,
    xLabel: label,
    yLabel: metric,
    xUnit: xs.every(Number.isInteger) ? 'count' : 'value',
    yUnit: 'value',
    logX: isWide(xs),
    xTicks: xs,
    joined: true,
    points,
  };
}

function point(arm: number, x: number, y: { mean: number; sd: number | null }, xSd: number | null) {
  return { arm, x, y: y.mean, ...(y.sd !== null && { ySd: y.sd }), ...(xSd !== null && { xSd }) };
}

/** Tests whether a linear axis would press most of the points into a corner. */
function isWide(xs: readonly number[]): boolean {
  const positive = xs.filter((x) => x > 0);
  return xs.every((x) => x >= 0) && Math.max(...positive) / Math.min(...positive) > 12;
}
