/**
 * @file Progress of work that goes on in the background, from what `GET /status` says.
 */

/** Work that is under way. */
export interface Work {
  readonly done: number;
  readonly total: number;
  /** Passages per second; undefined where it is not known yet. */
  readonly rate: number | undefined;
  /** Time left in seconds; undefined where it is not known yet. */
  readonly secondsLeft: number | undefined;
}

/** Rate of work from its counts at several times, over about the last minute. */
export class RateMeter {
  private samples: { readonly ms: number; readonly done: number }[] = [];

  /** Adds a count, and returns the rate in counts per second; undefined before there are two different ones. */
  add(done: number, ms: number): number | undefined {
    const last = this.samples.at(-1);
    // Work that starts again, or other work.
    if (last && done < last.done) this.samples = [];
    this.samples = [...this.samples.filter((sample) => ms - sample.ms <= 60_000), { ms, done }];
    const [first] = this.samples;
    const seconds = (ms - first!.ms) / 1000;
    return seconds > 0 && done > first!.done ? (done - first!.done) / seconds : undefined;
  }
}

/** Describes work in words: `4,096 of 20,000 passages (20.5 %) · 310 per second · 51 s left`. */
export function workText({ done, total, rate, secondsLeft }: Work): string {
  const share = total === 0 ? 100 : (100 * done) / total;
  const parts = [`${grouped(done)} of ${grouped(total)} passages (${share.toFixed(1)} %)`];
  if (rate !== undefined && done < total) parts.push(`${grouped(Math.round(rate))} per second`);
  if (secondsLeft !== undefined && done < total) parts.push(`${duration(secondsLeft)} left`);
  return parts.join(' · ');
}

/** Formats a whole number with separators of thousands. */
export const grouped = (value: number): string => value.toLocaleString('en-US');

/** Formats a time: `51 s`, `3 min 20 s`, `2 h 5 min`, `3 days`. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 172_800) return `${Math.floor(whole / 3600)} h ${Math.round((whole % 3600) / 60)} min`;
  return `${Math.round(whole / 86_400)} days`;
}

/** Formats a number of bytes: `21.4 MB`. */
export function bytesText(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
