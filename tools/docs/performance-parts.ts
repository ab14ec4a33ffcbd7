import type { SideSummary } from '../../bench/comparison.ts';
import type { Machine } from '../../bench/result-file.ts';
import type { WithQuartiles } from '../../bench/statistics.ts';
import { hasResult, readResult } from './page.ts';

export { NOT_MEASURED } from './page.ts';

/** Reads a result file of bench/results/ by its name without ending; undefined if there is none. */
export const measured = <T>(name: string): T | undefined =>
  hasResult(`${name}.json`) ? readResult<T>(`${name}.json`) : undefined;

/** Formats a whole number with separators. */
export const count = (value: number): string => Math.round(value).toLocaleString('en-US');

/** Formats a rate with three digits. Further digits are not reproducible. */
export const rate = (value: number): string => count(Number(value.toPrecision(3)));

/** Formats a time in milliseconds, with a digit after the point below 100. */
export const ms = (value: number): string => value.toFixed(value < 100 ? 1 : 0);

/** Formats memory in megabytes. */
export const megabytes = (bytes: number): string => `${count(bytes / 1e6)} MB`;

/** Formats a share as a percentage. */
export const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;

/** Formats a ratio with two digits. */
export const ratio = (value: number): string => value.toFixed(2);

/** Formats the bounds of several measurements in parentheses; nothing for a single one. */
const range = ([low, high]: readonly [number, number], format: (value: number) => string): string =>
  low === high ? '' : ` (${format(low)}–${format(high)})`;

/**
 * Formats a median with its quartiles in parentheses, where the result has them.
 *
 * @param field  name of the median
 * @param strong  whether the median is printed in bold
 */
export function spread<Result extends WithQuartiles>(
  result: Result,
  field: keyof Result & string,
  format: (value: number) => string,
  { strong = false }: { readonly strong?: boolean } = {},
): string {
  const value = format(result[field] as number);
  const around = result.quartiles?.[field];
  return `${strong ? `**${value}**` : value}${around ? range(around, format) : ''}`;
}

/** Makes the line below a table that names machine, load and result file. */
export function origin(
  { processor = 'Processor not recorded', threads, node, load, date }: Machine,
  name: string,
  versions: readonly string[] = [],
): string {
  const parts = [
    processor,
    `${threads} ${threads === 1 ? 'thread' : 'threads'}`,
    ...(node ? [`Node ${node}`] : []),
    ...versions,
  ];
  const after = load?.after === undefined ? '' : ` before, ${load.after.toFixed(1)} after`;
  const loads = load ? `; load of the machine ${load.before.toFixed(1)}${after}` : '';
  const day = date ? `; ${date}` : '';
  return `${parts.join(', ')}${loads}${day}. From [\`bench/results/${name}.json\`](../bench/results/${name}.json).`;
}

/** Cells of a side's time and memory relative to the first side, which is ours. */
export function besideOurs(
  side: SideSummary,
  index: number,
): { readonly time: string; readonly memory: string } {
  if (index === 0) return { time: '', memory: '' };
  const { timeRatio, timeRatioRange } = side;
  return {
    time: `× ${ratio(timeRatio)}${range(timeRatioRange, ratio)}`,
    memory: `× ${ratio(side.memoryRatio)}`,
  };
}

/** Name of a side: Undrift first, and others by their names. */
export const sideName = ({ name }: SideSummary): string => (name === 'undrift' ? 'Undrift' : name);
