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
 */
export interface RefreshPolicy {
  readonly writeBack: boolean;
  readonly stream: boolean;
  readonly fraction?: { readonly ratio: number; readonly order: 'oldest' | 'random' };
  readonly every?: number;
  readonly async?: { readonly every: number; readonly wait: boolean };
}

export const REFRESH_HELP =
  'never, or a list of write-back, stream, fraction:P[:random], every:N, async:N[:wait]';

/** The policy in words, one part each. */
export function describeRefresh({ writeBack, stream, fraction, every, async }: RefreshPolicy): string[] {
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
};

/** @throws UsageError saying which part is wrong */
export function parseRefreshPolicy(text: string): RefreshPolicy {
  let policy: RefreshPolicy = { writeBack: false, stream: false };
  const parts = text.split(',').map((part) => part.trim());
  const seen = new Set<string>();
  for (const part of parts) {
    const [name = '', value = '', word] = part.split(':');
    const wrong = (why: string) =>
      new UsageError(`refresh policy "${text}": ${why}`, { help: `give ${REFRESH_HELP}` });
    const steps = (): number => {
      const n = Number(value);
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
    if (name === 'fraction') {
      const ratio = Number(value);
      if (value === '' || !(ratio >= 0 && ratio <= 1)) throw wrong(`"${part}" needs a share in [0, 1]`);
      policy = { ...policy, fraction: { ratio, order: endsIn('random') ? 'random' : 'oldest' } };
    }
  }
  if (policy.every !== undefined && policy.async) {
    throw new UsageError(`refresh policy "${text}": every and async both refresh all rows`, {
      help: 'give one of them',
    });
  }
  return policy;
}
