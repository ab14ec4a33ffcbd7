import { largest, median, medians, minimum, table } from './statistics.ts';

/** Result of one side in one process. */
export interface Measurement {
  readonly timesMs: readonly number[];
  readonly peakResidentBytes: number;
  /** Largest resident memory before the model was created, in bytes. */
  readonly startResidentBytes: number;
  readonly version: string;
  /** Embeddings of the first texts, which must agree between the sides. */
  readonly sample?: readonly number[];
  readonly losses?: readonly number[];
}

/** One side over all rounds. Ratios are relative to the time and memory of the first side. */
export type SideSummary = ReturnType<typeof summary>;

/**
 * Runs every side in each round. The order turns around from round to round, so that a change in the speed of the machine favours no
 * side.
 *
 * @param sides sides by name; the first is ours
 */
export async function compareSides(
  sides: Readonly<Record<string, () => Promise<Measurement>>>,
  rounds: number,
): Promise<SideSummary[]> {
  const names = Object.keys(sides);
  const measured: Record<string, Measurement[]> = Object.fromEntries(names.map((side) => [side, []]));
  for (let round = 0; round < rounds; round++) {
    for (const side of round % 2 === 0 ? names : names.toReversed())
      measured[side]!.push(await sides[side]!());
  }
  return names.map((side) => summary(side, measured[side]!, measured[names[0]!]!));
}

/** Summarises one side over all rounds. Ratios are relative to Undrift's time and memory. */
function summary(name: string, own: readonly Measurement[], ours: readonly Measurement[]) {
  const ratios = own.map((m, round) => median(m.timesMs) / median(ours[round]!.timesMs));
  const times = own.flatMap((m) => m.timesMs);
  const peak = (list: readonly Measurement[]) => Math.max(...list.map((m) => m.peakResidentBytes));
  return {
    name,
    version: own[0]!.version,
    ...medians({ medianMs: times, timeRatio: ratios }),
    minMs: minimum(times),
    timeRatioRange: [minimum(ratios), Math.max(...ratios)] as const,
    peakResidentBytes: peak(own),
    startResidentBytes: Math.max(...own.map((m) => m.startResidentBytes)),
    memoryRatio: peak(own) / peak(ours),
    difference: largestDifference(own[0]!, ours[0]!),
  };
}

/**
 * Computes the largest absolute difference of embeddings, or relative difference of losses; null if the suite
 * compares neither.
 */
function largestDifference(own: Measurement, ours: Measurement): number | null {
  const { sample, losses } = own;
  if (sample) return largest(sample.map((value, i) => Math.abs(value - ours.sample![i]!)));
  if (losses) return largest(losses.map((value, i) => Math.abs(value / ours.losses![i]! - 1)));
  return null;
}

/** Formats summaries as a table. */
export function formatted(
  sides: readonly SideSummary[],
  unit?: string,
  rates?: Readonly<Record<string, number>>,
): string {
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;
  const compared = sides.some(({ difference }) => difference !== null);
  return table([
    [
      '',
      ...(unit ? [unit] : []),
      'median',
      'best',
      'time, × ours (rounds)',
      'peak memory',
      'of it before the model',
      '× ours',
      ...(compared ? ['difference'] : []),
      'version',
    ],
    ...sides.map((s) => [
      s.name,
      ...(rates ? [rates[s.name]!.toFixed(1)] : []),
      `${s.medianMs.toFixed(0)} ms`,
      `${s.minMs.toFixed(0)} ms`,
      `${s.timeRatio.toFixed(2)} (${s.timeRatioRange.map((r) => r.toFixed(2)).join('–')})`,
      megabytes(s.peakResidentBytes),
      megabytes(s.startResidentBytes),
      s.memoryRatio.toFixed(2),
      ...(compared ? [(s.difference ?? 0).toExponential(0)] : []),
      s.version,
    ]),
  ]);
}
