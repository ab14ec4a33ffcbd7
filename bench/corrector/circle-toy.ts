import { normal, rngKey, uniform } from '../../src/util/rng.ts';

/** Contents of bench/corrector/circle.json. */
export interface CircleConfig {
  /** Number of targets. */
  readonly points: number;
  /** Number of evenly spaced query directions over which divergences are averaged. */
  readonly queries: number;
  /** Inverse temperature β. */
  readonly inverseTemperature: number;
  /** Amplitudes of the drift, in radians. */
  readonly drift: readonly number[];
  /** Standard deviations of each point's own movement, in radians. */
  readonly noise: readonly number[];
  /** Numbers of pairs that correctors are fitted to. */
  readonly pairs: readonly number[];
  /** Hidden widths of `mlp`. */
  readonly widths: readonly number[];
  /** Seeds of the points and the correctors. */
  readonly seeds: readonly number[];
  /** Options of the fit. */
  readonly fit: { readonly steps: number; readonly learningRate: number; readonly loss: 'regression' };
  /** Setting that the chart shows. */
  readonly example: {
    readonly drift: number;
    readonly noise: number;
    readonly pairs: number;
    readonly width: number;
    readonly shown: number;
    readonly queryDegrees: number;
  };
}

/**
 * Result of one corrector in one setting. Mean `kl` and standard deviation `sd` over the seeds are in nats.
 */
export interface CircleEntry {
  readonly corrector: string;
  readonly drift: number;
  readonly noise: number;
  /** Number of pairs in the fit; 0 for no corrector. */
  readonly pairs: number;
  readonly parameters: number;
  readonly kl: number;
  readonly sd: number;
}

/** Contents of bench/results/corrector/circle.json. */
export interface CircleResults {
  readonly config: CircleConfig;
  readonly entries: readonly CircleEntry[];
  readonly example: CircleExample;
}

/** Angles of some targets in degrees, and the distribution of one query over all targets. */
export interface CircleExample {
  readonly stale: readonly number[];
  readonly fresh: readonly number[];
  readonly corrected: Readonly<Record<string, readonly number[]>>;
  /** Share of the probability, by intervals of 5° of the true angles of the targets. */
  readonly distribution: Readonly<Record<string, readonly number[]>>;
}

/**
 * Makes random targets and their drifted copies, each f32[points, 2].
 *
 * The targets are at random angles θ. Their copies are at  θ + drift · (0.6 + 0.4 sin 2θ) + noise · z.
 */
export function circlePoints(
  points: number,
  { drift, noise, seed }: { drift: number; noise: number; seed: number },
): { stale: Float32Array<ArrayBuffer>; fresh: Float32Array<ArrayBuffer> } {
  const turns = new Float32Array(points);
  const z = new Float32Array(points);
  uniform(rngKey(seed, 0, 'circle/angles'), turns);
  normal(rngKey(seed, 0, 'circle/noise'), z);
  const angles = Array.from(turns, (turn) => 2 * Math.PI * turn);
  return {
    stale: pointsAt(angles),
    fresh: pointsAt(angles.map((t, i) => t + drift * (0.6 + 0.4 * Math.sin(2 * t)) + noise * z[i]!)),
  };
}

/** Returns the points of the unit circle at the given angles (in radians), f32[n, 2]. */
export const pointsAt = (angles: readonly number[]): Float32Array<ArrayBuffer> =>
  Float32Array.from(angles.flatMap((angle) => [Math.cos(angle), Math.sin(angle)]));

/**
 * Computes the log-probabilities of targets f32[n, 2] for a query.
 *
 * @param angle  direction of the query, in radians
 * @param beta  inverse temperature β
 */
export function logProbabilities(targets: Float32Array, angle: number, beta: number): Float64Array {
  const scores = new Float64Array(targets.length / 2);
  const [x, y] = [beta * Math.cos(angle), beta * Math.sin(angle)];
  for (let i = 0; i < scores.length; i++) scores[i] = x * targets[2 * i]! + y * targets[2 * i + 1]!;
  const max = scores.reduce((a, b) => Math.max(a, b));
  const logZ = max + Math.log(scores.reduce((sum, s) => sum + Math.exp(s - max), 0));
  return scores.map((s) => s - logZ);
}

/**
 * Computes the mean KL(P ‖ P̃) over evenly spaced queries, where P is the distribution over the fresh
 * targets.
 */
export function meanDivergence(
  fresh: Float32Array,
  other: Float32Array,
  { queries, inverseTemperature }: Pick<CircleConfig, 'queries' | 'inverseTemperature'>,
): number {
  let total = 0;
  for (let q = 0; q < queries; q++) {
    const angle = (2 * Math.PI * q) / queries;
    const truth = logProbabilities(fresh, angle, inverseTemperature);
    const found = logProbabilities(other, angle, inverseTemperature);
    for (let i = 0; i < truth.length; i++) total += Math.exp(truth[i]!) * (truth[i]! - found[i]!);
  }
  return total / queries;
}

/** Returns the angles of points f32[n, 2] in degrees, in [0, 360). */
export const degreesOf = (points: Float32Array): number[] =>
  Array.from({ length: points.length / 2 }, (_, i) => {
    const degrees = (Math.atan2(points[2 * i + 1]!, points[2 * i]!) * 180) / Math.PI;
    return (degrees + 360) % 360;
  });
