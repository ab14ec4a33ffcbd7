import { normal, rngKey, uniform } from '../../src/util/rng.ts';

/** What bench/corrector/circle.json holds. */
export interface CircleConfig {
  readonly points: number;
  /** Directions, evenly spaced, over which divergences are averaged. */
  readonly queries: number;
  /** β */
  readonly inverseTemperature: number;
  /** Amplitudes of the drift, in radians. */
  readonly drift: readonly number[];
  /** Standard deviations of what moves each point by itself, in radians. */
  readonly noise: readonly number[];
  /** Pairs that correctors are fitted to. */
  readonly pairs: readonly number[];
  /** Hidden widths of `mlp`. */
  readonly widths: readonly number[];
  readonly seeds: readonly number[];
  readonly fit: { readonly steps: number; readonly learningRate: number; readonly loss: 'regression' };
  /** What the chart shows. */
  readonly example: {
    readonly drift: number;
    readonly noise: number;
    readonly pairs: number;
    readonly width: number;
    readonly shown: number;
    readonly queryDegrees: number;
  };
}

/** One corrector in one setting: mean and standard deviation over the seeds, in nats. */
export interface CircleEntry {
  readonly corrector: string;
  readonly drift: number;
  readonly noise: number;
  /** 0 for no corrector. */
  readonly pairs: number;
  readonly parameters: number;
  readonly kl: number;
  readonly sd: number;
}

export interface CircleResults {
  readonly config: CircleConfig;
  readonly entries: readonly CircleEntry[];
  readonly example: CircleExample;
}

/** Angles in degrees of some targets, and the distribution of one query over all of them. */
export interface CircleExample {
  readonly stale: readonly number[];
  readonly fresh: readonly number[];
  readonly corrected: Readonly<Record<string, readonly number[]>>;
  /** Of the probability, by intervals of 5° of where the targets truly are. */
  readonly distribution: Readonly<Record<string, readonly number[]>>;
}

/** f32[points, 2] twice: targets at random angles θ, and the same at  θ + drift · (0.6 + 0.4 sin 2θ) + noise · z. */
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

/** f32[n, 2] */
export const pointsAt = (angles: readonly number[]): Float32Array<ArrayBuffer> =>
  Float32Array.from(angles.flatMap((angle) => [Math.cos(angle), Math.sin(angle)]));

/** Log-probabilities of targets, f32[n, 2], for a query in the direction of an angle. */
export function logProbabilities(targets: Float32Array, angle: number, beta: number): Float64Array {
  const scores = new Float64Array(targets.length / 2);
  const [x, y] = [beta * Math.cos(angle), beta * Math.sin(angle)];
  for (let i = 0; i < scores.length; i++) scores[i] = x * targets[2 * i]! + y * targets[2 * i + 1]!;
  const max = scores.reduce((a, b) => Math.max(a, b));
  const logZ = max + Math.log(scores.reduce((sum, s) => sum + Math.exp(s - max), 0));
  return scores.map((s) => s - logZ);
}

/** Mean KL(P ‖ P̃) over evenly spaced queries, P of the fresh targets. */
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

/** Angles of points f32[n, 2] in [0, 360). */
export const degreesOf = (points: Float32Array): number[] =>
  Array.from({ length: points.length / 2 }, (_, i) => {
    const degrees = (Math.atan2(points[2 * i + 1]!, points[2 * i]!) * 180) / Math.PI;
    return (degrees + 360) % 360;
  });
