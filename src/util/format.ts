/**
 * Formats a duration for people: `850ms`, `12.3s`, `2m 05s`, `3h 07m`, `4d 02h`; `?` if it is negative or not
 * finite.
 */
export function formatDuration(durationMs: number): string {
  if (!Number.isFinite(durationMs) || durationMs < 0) return '?';
  if (durationMs < 999.5) return `${Math.round(durationMs)}ms`;
  if (durationMs < 59_950) return `${(durationMs / 1000).toFixed(1)}s`;
  const seconds = Math.round(durationMs / 1000);
  if (seconds < 3600) return twoUnits(seconds, 60, 'm', 's');
  const minutes = Math.round(seconds / 60);
  if (minutes < 24 * 60) return twoUnits(minutes, 60, 'h', 'm');
  return twoUnits(Math.round(minutes / 60), 24, 'd', 'h');
}

function twoUnits(value: number, size: number, large: string, small: string): string {
  return `${Math.floor(value / size)}${large} ${String(value % size).padStart(2, '0')}${small}`;
}

/** Formats a count or rate for people, to three digits: `0`, `0.043`, `12`, `1.23k`, `45.6M`, `7.89G`. */
export function formatCount(count: number): string {
  return withPrefix(count, 1000, ['', 'k', 'M', 'G', 'T', 'P']);
}

/** Formats a size in bytes for people, to three digits, in powers of 1024: `512 B`, `1.50 KiB`, `346 MiB`. */
export function formatBytes(bytes: number): string {
  return withPrefix(bytes, 1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB', ' PiB']);
}

function withPrefix(value: number, base: number, prefixes: readonly string[]): string {
  if (!Number.isFinite(value)) return '?';
  let scaled = value;
  let i = 0;
  // 999.5 would be formatted as "1000", so it gets the next prefix.
  while (Math.abs(scaled) >= base - 0.5 && i < prefixes.length - 1) {
    scaled /= base;
    i++;
  }
  return `${threeDigits(scaled, i > 0)}${prefixes[i]}`;
}

function threeDigits(value: number, keepZeros: boolean): string {
  const size = Math.abs(value);
  if (!keepZeros && size < 1) return String(Number(value.toPrecision(3)));
  const text = value.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
  return keepZeros ? text : text.replace(/\.0*$|(\.[0-9]*?)0+$/, '$1');
}

/** Formats a whole number for people: `12,345`. */
export const count = (value: number): string => value.toLocaleString('en-US');

/** Formats a number of things: `1 step`, `2,000 steps`. */
export const plural = (value: number, one: string, many = `${one}s`): string =>
  `${count(value)} ${value === 1 ? one : many}`;

/** Formats a ratio as a percentage, `12.3 %`. */
export const percent = (ratio: number, digits = 1): string => `${(100 * ratio).toFixed(digits)} %`;
