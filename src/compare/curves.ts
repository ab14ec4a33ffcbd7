import type { LoggedEvent } from '../train/event-log.ts';

/** One value of one run over time. The three arrays have one length. */
export interface Curve {
  /** Kind of the events it comes from: `eval`, `train`, … */
  readonly kind: string;
  readonly name: string;
  readonly steps: readonly number[];
  readonly wallMs: readonly number[];
  readonly values: readonly number[];
}

/** Points of a curve at most: finer than any screen shows. */
const MAX_POINTS = 200;

/**
 * Curves of all values that a run logged, thinned to `maxPoints` points: of each stretch of steps the mean, which is noise of the
 * batches smoothed away, at its last step. Values that are not finite are left out.
 *
 * Stretches are cut at the same steps in every run that logged at the same steps, so that curves of several seeds have a mean.
 */
export function curvesOf(events: readonly LoggedEvent[], { maxPoints = MAX_POINTS } = {}): Curve[] {
  const series = new Map<string, { kind: string; name: string; points: Point[] }>();
  for (const { kind, step, wallMs, values } of events) {
    for (const [name, value] of Object.entries(values)) {
      if (!Number.isFinite(value)) continue;
      const key = `${kind}/${name}`;
      const entry = series.get(key) ?? { kind, name, points: [] };
      series.set(key, entry);
      entry.points.push({ step, wallMs, value });
    }
  }
  return [...series.values()].map(({ kind, name, points }) => {
    const thin = thinned(points, maxPoints);
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

function thinned(points: readonly Point[], maxPoints: number): Point[] {
  const stretch = Math.ceil(points.length / maxPoints);
  if (stretch <= 1) return [...points];
  const kept: Point[] = [];
  for (let start = 0; start < points.length; start += stretch) {
    const part = points.slice(start, start + stretch);
    const value = part.reduce((sum, point) => sum + point.value, 0) / part.length;
    kept.push({ ...part.at(-1)!, value });
  }
  return kept;
}

/** Six digits are more than a chart shows, and a third of the bytes of a double. */
const significant = (value: number): number => Number(value.toPrecision(6));
