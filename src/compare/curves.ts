import type { LoggedEvent } from '../train/event-log.ts';
import { DOCUMENT_ENCODES } from './cost.ts';

/** One value of one run over time. The three arrays have one length. */
export interface Curve {
  /** Kind of the events it comes from: `eval`, `train`, … */
  readonly kind: string;
  readonly name: string;
  readonly steps: readonly number[];
  readonly wallMs: readonly number[];
  readonly values: readonly number[];
}

/** Kind of the events that a run's ledger is logged as. */
export const LEDGER = 'ledger';

/** Points of a curve at most: finer than any screen shows. */
const MAX_POINTS = 200;

/** Amounts of the ledger that have a curve: what others are drawn against. */
const LEDGER_CURVES = [DOCUMENT_ENCODES];

/**
 * Curves of all values that a run logged, thinned to `maxPoints` points: of each stretch of steps the mean, which is noise of the
 * batches smoothed away, at its last step. Values that are not finite are left out; so is the ledger but for document encodes, of
 * which each stretch has the last value: they are sums.
 *
 * Stretches are cut at the same steps in every run that logged at the same steps, so that curves of several seeds have a mean.
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

/** Six digits are more than a chart shows, and a third of the bytes of a double. */
const significant = (value: number): number => Number(value.toPrecision(6));
