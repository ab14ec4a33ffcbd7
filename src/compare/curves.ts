import type { LoggedEvent } from '../train/event-log.ts';
import { DOCUMENT_ENCODES } from './cost.ts';

/** Curve of one logged value over one run. The three arrays have the same length. */
export interface Curve {
  /** Kind of the events that the values come from: `eval`, `train`, … */
  readonly kind: string;
  /** Name of the value. */
  readonly name: string;
  /** Steps at which the value was logged. */
  readonly steps: readonly number[];
  /** Time of training at each point, in milliseconds. */
  readonly wallMs: readonly number[];
  /** The values. */
  readonly values: readonly number[];
}

/** Kind of the events in which the ledger of a run is logged. */
export const LEDGER = 'ledger';

/** Maximum number of points in a curve. It exceeds the resolution of screens. */
const MAX_POINTS = 200;

/** Amounts of the ledger that have a curve. Other values are drawn against them. */
const LEDGER_CURVES = [DOCUMENT_ENCODES];

/**
 * Makes curves of all values that a run logged, with at most `maxPoints` points each.
 *
 * A longer curve is divided into stretches of points, and each stretch becomes one point at its last step.
 * The value of that point is the mean over the stretch, which smooths the noise of the batches. Ledger
 * amounts are running sums, so their last value is taken instead. Of the ledger, only document encodes get a
 * curve. Values that are not finite are left out.
 *
 * Runs that logged at the same steps are divided at the same steps, so that the mean over several seeds can
 * be computed.
 *
 * @param maxPoints  maximum number of points in a curve. Default 200
 */
export function curvesOf(events: readonly LoggedEvent[], { maxPoints = MAX_POINTS } = {}): Curve[] {
  const series = new Map<string, { kind: string; name: string; points: Point[] }>();
  for (const { kind, step, wallMs, values } of events) {
    for (const [name, value] of Object.entries(values)) {
      if (!Number.isFinite(value) || (kind === LEDGER && !LEDGER_CURVES.includes(name))) continue;
      const key = `${kind}/${name}`;
      const entry = series.get(key) ?? { kind, name, points: [] };
      series.set(key, entry);
      entry.points.push({ step, wallMs, value });
    }
  }
  return [...series.values()].map(({ kind, name, points }) => {
    const thin = thinned(points, maxPoints, kind === LEDGER ? last : mean);
    return {
      kind,
      name,
      steps: thin.map(({ step }) => step),
      wallMs: thin.map(({ wallMs }) => wallMs),
      values: thin.map(({ value }) => significant(value)),
    };
  });
}

interface Point {
  step: number;
  wallMs: number;
  value: number;
}

const mean = (part: readonly Point[]) => part.reduce((sum, point) => sum + point.value, 0) / part.length;
const last = (part: readonly Point[]) => part.at(-1)!.value;

function thinned(
  points: readonly Point[],
  maxPoints: number,
  summary: (part: readonly Point[]) => number,
): Point[] {
  const stretch = Math.ceil(points.length / maxPoints);
  if (stretch <= 1) return [...points];
  const kept: Point[] = [];
  for (let start = 0; start < points.length; start += stretch) {
    const part = points.slice(start, start + stretch);
    kept.push({ ...part.at(-1)!, value: summary(part) });
  }
  return kept;
}

/** Rounds to six digits. They are more than a chart shows, and a third of the bytes of a double. */
const significant = (value: number): number => Number(value.toPrecision(6));
