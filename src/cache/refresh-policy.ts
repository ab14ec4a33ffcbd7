import { UsageError } from '../util/errors.ts';
import { count } from '../util/format.ts';

/**
 * Refresh policy: which rows of a table are re-encoded, and when. Parts are combined with commas:
 * `write-back,every:500`.
 *
 * - `never`: keep the table as it was filled
 * - `write-back`: store the embeddings that a step computes anyway, of positives and sampled negatives in the
 *   table
 * - `stream`: insert the positives of the batch and evict the oldest rows
 * - `fraction:p[:random]`: after each update, re-encode the share p of the rows, oldest first or at random
 * - `every:n`: after every n updates, re-encode all rows before training continues
 * - `async:n[:wait]`: every n updates, a worker starts to re-encode all rows with the current weights while
 *   training continues. The new table is swapped in when it is ready. With `wait` it is swapped in right
 *   before the next refresh begins, so that a run can be repeated
 * - `auto[:kl:T[:n]]`: every n updates (default 50), measure KL(P‖P̃) of the sampling distribution on a probe
 *   set; above T nats (default 2), re-encode all rows
 * - `auto:ess:T[:n]`: every n updates (default 50), re-encode all rows if the effective sample size of the k
 *   draws, averaged since the last check, is below the share T of k
 */
export interface RefreshPolicy {
  /** Store embeddings that a step computes anyway. */
  readonly writeBack: boolean;
  /** Insert the positives of the batch and evict the oldest rows. */
  readonly stream: boolean;
  /** Share of the rows to re-encode after each update, in [0, 1], and their order. Default none. */
  readonly fraction?: { readonly ratio: number; readonly order: 'oldest' | 'random' };
  /** Re-encode all rows after every so many updates, ≥ 1. Default never. */
  readonly every?: number;
  /**
   * Re-encode all rows in a worker after every `every` updates; `wait`: swap the table in right before the
   * next refresh. Default never.
   */
  readonly async?: { readonly every: number; readonly wait: boolean };
  /** Re-encode all rows when a measurement calls for it. Default never. */
  readonly auto?: AutoRefresh;
}

/** Refresh of all rows triggered by a measurement. */
export interface AutoRefresh {
  /**
   * Quantity measured: `kl`, KL(P‖P̃) in nats, or `ess`, effective sample size of the draws as a share of
   * their number.
   */
  readonly evidence: 'kl' | 'ess';
  /** Threshold: refresh above it (`kl`, > 0 nats) or below it (`ess`, in (0, 1]). */
  readonly threshold: number;
  /** Updates between two measurements, ≥ 1. */
  readonly every: number;
}

const AUTO: AutoRefresh = { evidence: 'kl', threshold: 2, every: 50 };

/** Short description of the accepted policies, for help texts and errors. */
export const REFRESH_HELP =
  'never, or a list of write-back, stream, fraction:P[:random], every:N, async:N[:wait], auto[:kl|ess:T[:N]]';

/** Describes a policy in words, one string per part. */
export function describeRefresh({
  writeBack,
  stream,
  fraction,
  every,
  async,
  auto,
}: RefreshPolicy): string[] {
  const steps = (n: number) => (n === 1 ? 'every step' : `every ${count(n)} steps`);
  const parts = [
    ...(writeBack ? ['what a step embeds is written back'] : []),
    ...(stream ? ['positives of the batch enter as the oldest rows leave'] : []),
    ...(fraction && fraction.ratio > 0
      ? [
          `${Number((100 * fraction.ratio).toPrecision(3))} % of the rows are embedded again after each step, ` +
            `${fraction.order === 'oldest' ? 'the oldest first' : 'at random'}`,
        ]
      : []),
    ...(every ? [`all rows are embedded again ${steps(every)}`] : []),
    ...(async
      ? [
          `a worker embeds all rows ${steps(async.every)} while training goes on` +
            `${async.wait ? ', and is waited for before the next time' : ''}`,
        ]
      : []),
    ...(auto
      ? [
          `all rows are embedded again when ${auto.evidence === 'kl' ? `KL(P‖P̃) is above ${auto.threshold}` : `the effective sample size is below ${auto.threshold} of the draws`}` +
            `, looked at ${steps(auto.every)}`,
        ]
      : []),
  ];
  return parts.length > 0 ? parts : ['nothing in it is embedded again'];
}

/** Largest number of values of each part. */
const VALUES: Readonly<Record<string, number>> = {
  never: 0,
  'write-back': 0,
  stream: 0,
  fraction: 2,
  every: 1,
  async: 2,
  auto: 3,
};

/**
 * Parses a refresh policy such as `write-back,every:500`; see {@link RefreshPolicy}.
 *
 * @throws UsageError that names the invalid part
 */
export function parseRefreshPolicy(text: string): RefreshPolicy {
  let policy: RefreshPolicy = { writeBack: false, stream: false };
  const parts = text.split(',').map((part) => part.trim());
  const seen = new Set<string>();
  for (const part of parts) {
    const [name = '', value = '', word, last] = part.split(':');
    const wrong = (why: string) =>
      new UsageError(`refresh policy "${text}": ${why}`, { help: `give ${REFRESH_HELP}` });
    const steps = (given = value): number => {
      const n = Number(given);
      if (!Number.isSafeInteger(n) || n < 1)
        throw wrong(`"${part}" needs a whole number of steps, at least 1`);
      return n;
    };
    const endsIn = (known: string): boolean => {
      if (word !== undefined && word !== known) throw wrong(`"${part}" ends in "${word}"`);
      return word === known;
    };
    const most = VALUES[name];
    if (most === undefined) throw wrong(`there is no "${name}"`);
    if (part.split(':').length - 1 > most) throw wrong(`"${part}" has too many values`);
    if (seen.has(name)) throw wrong(`"${name}" is given twice`);
    seen.add(name);
    if (name === 'never' && parts.length > 1) throw wrong('"never" stands alone');
    if (name === 'write-back') policy = { ...policy, writeBack: true };
    if (name === 'stream') policy = { ...policy, stream: true };
    if (name === 'every') policy = { ...policy, every: steps() };
    if (name === 'async') policy = { ...policy, async: { every: steps(), wait: endsIn('wait') } };
    if (name === 'auto') {
      const evidence = value === '' ? AUTO.evidence : value;
      if (evidence !== 'kl' && evidence !== 'ess') throw wrong(`"${part}" goes by "${evidence}"`);
      if (evidence === 'ess' && word === undefined) throw wrong(`"${part}" needs a share of the draws`);
      const threshold = word === undefined ? AUTO.threshold : Number(word);
      const inRange = threshold > 0 && threshold <= (evidence === 'ess' ? 1 : Number.MAX_VALUE);
      if (word === '' || !inRange)
        throw wrong(
          `"${part}" needs ${evidence === 'ess' ? 'a share in (0, 1]' : 'a number of nats above 0'}`,
        );
      policy = {
        ...policy,
        auto: { evidence, threshold, every: last === undefined ? AUTO.every : steps(last) },
      };
    }
    if (name === 'fraction') {
      const ratio = Number(value);
      if (value === '' || !(ratio >= 0 && ratio <= 1)) throw wrong(`"${part}" needs a share in [0, 1]`);
      policy = { ...policy, fraction: { ratio, order: endsIn('random') ? 'random' : 'oldest' } };
    }
  }
  const wholes = (['every', 'async', 'auto'] as const).filter((name) => policy[name] !== undefined);
  if (wholes.length > 1) {
    throw new UsageError(`refresh policy "${text}": ${wholes.join(' and ')} both refresh all rows`, {
      help: 'give one of them',
    });
  }
  return policy;
}
