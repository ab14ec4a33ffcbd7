import { UsageError } from '../util/errors.ts';

/**
 * Which rows of a table are embedded again, and when. Parts combine: `write-back,every:500`.
 *
 * - `never`: the table stays as it was filled
 * - `write-back`: embeddings that a step makes anyway, of positives and sampled negatives in the table, go into it
 * - `stream`: positives of the batch enter the table, the oldest rows leave it
 * - `fraction:p[:random]`: after each update the share p of the rows, oldest first or at random
 * - `every:n`: after every n updates all rows, before training goes on
 * - `async:n[:wait]`: from every n-th update on a worker embeds all rows with the weights of that moment, while training goes
 *   on; the new table is swapped in when it is ready, or with `wait` always right before the next refresh begins, so that a run
 *   can be repeated
 * - `auto[:kl:T[:n]]`: every n updates (default 50) KL(P‖P̃) of the distribution that negatives are drawn from is measured on a
 *   probe set; above T nats (default 2) all rows are embedded again
 * - `auto:ess:T[:n]`: likewise where the mean effective sample size of the k draws, since the last look, is below the share T of k
 */
export interface RefreshPolicy {
  readonly writeBack: boolean;
  readonly stream: boolean;
  readonly fraction?: { readonly ratio: number; readonly order: 'oldest' | 'random' };
  readonly every?: number;
  readonly async?: { readonly every: number; readonly wait: boolean };
  readonly auto?: AutoRefresh;
}

/** When all rows are embedded again, by what has been measured. */
export interface AutoRefresh {
  /** KL(P‖P̃) in nats, or effective sample size of the draws as a share of their number. */
  readonly evidence: 'kl' | 'ess';
  /** Refresh above (`kl`) or below (`ess`). */
  readonly threshold: number;
  /** Updates between two looks. */
  readonly every: number;
}

const AUTO: AutoRefresh = { evidence: 'kl', threshold: 2, every: 50 };

export const REFRESH_HELP =
  'never, or a list of write-back, stream, fraction:P[:random], every:N, async:N[:wait], auto[:kl|ess:T[:N]]';

/** The policy in words, one part each. */
export function describeRefresh({
  writeBack,
  stream,
  fraction,
  every,
  async,
  auto,
}: RefreshPolicy): string[] {
  const steps = (n: number) => (n === 1 ? 'every step' : `every ${n.toLocaleString('en-US')} steps`);
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

/** Most values that a part takes. */
const VALUES: Readonly<Record<string, number>> = {
  never: 0,
  'write-back': 0,
  stream: 0,
  fraction: 2,
  every: 1,
  async: 2,
  auto: 3,
};

/** @throws UsageError saying which part is wrong */
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
