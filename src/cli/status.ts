import { isPostgres } from '../foreign/postgres-address.ts';
import { readCanaries } from '../store/canaries.ts';
import type { AgeQuantiles } from '../store/staleness.ts';
import { Store } from '../store/store.ts';
import { STORE_OPTION } from '../store/store-options.ts';
import { type StoreStatus, storeStatus } from '../store/store-status.ts';
import { loadEncoder } from '../store/stored-encoder.ts';
import { DataError } from '../util/errors.ts';
import { count, formatBytes, formatDuration, percent, plural } from '../util/format.ts';
import { defineCommand } from './command.ts';
import { statusPostgres } from './store-postgres.ts';

/** The command `undrift status`: describes a store. */
export const statusCommand = defineCommand({
  description:
    'The model of the current space is loaded to check that it still gives the vectors of its canary texts. If it does not, the exit code ' +
    'is 1.',
  options: {
    store: { ...STORE_OPTION.store, required: true },
    check: { type: 'switch', negative: true, help: 'do not load the model to check its canary texts' },
  },
  examples: [
    '--store stores/docs',
    '--store stores/docs --no-check --json',
    "--store 'postgres://me@localhost/app?table=passages'",
  ],
  async run(options, io) {
    if (isPostgres(options.store)) return await statusPostgres(options.store);
    const store = await Store.open(options.store, { onNote: (note) => io.log(`note: ${note}`) });
    const status = await storeStatus(store);
    const canaries = (options.check ?? true) ? await canaryStatus(store) : null;
    await store.close();
    return {
      json: { store: options.store, ...status, canaries },
      text: formatStatus(status) + formatCanaries(canaries),
      ...(canaries?.problem && { exitCode: 1 as const }),
    };
  },
});

/** Canary texts of the current space. */
interface CanaryStatus {
  /** Number of texts. */
  readonly texts: number;
  /** Why their vectors are not reproduced; null if they are. */
  readonly problem: string | null;
}

/** Loads the model of the current space, which checks its canary texts; null if there are none. */
async function canaryStatus(store: Store): Promise<CanaryStatus | null> {
  const { current } = store.head;
  if (current === null) return null;
  try {
    const known = await readCanaries(store, current);
    if (!known) return null;
    await (await loadEncoder(store, current)).dispose();
    return { texts: known.texts.length, problem: null };
  } catch (error) {
    if (error instanceof DataError) return { texts: 0, problem: error.message };
    throw error;
  }
}

const formatCanaries = (canaries: CanaryStatus | null): string =>
  canaries === null
    ? ''
    : canaries.problem === null
      ? `model: reproduces its ${plural(canaries.texts, 'canary text')}\n`
      : `model: ${canaries.problem}\n`;

function formatStatus(status: StoreStatus): string {
  const { passages, bytes, spaces } = status;
  const lines = spaces.map(({ id, model, dimension, rows, share, approximate, current }) => {
    const facts = [
      `${count(rows)} vectors (${percent(share)})`,
      `D ${dimension}`,
      ...(approximate ? [`approximate: ${approximate}`] : []),
    ];
    return `${current ? '*' : ' '} ${id}  ${facts.join(', ')}  ${model}`;
  });
  return [
    `${count(passages)} passages, ${formatBytes(bytes)} on the disk`,
    ...lines,
    ...formatAges(status),
    '',
  ].join('\n');
}

/** Formats what searches find passages by, how old it is, and what is left to embed. */
function formatAges({ staleness, migration, refresh }: StoreStatus): string[] {
  if (!staleness || !refresh) return [];
  const { versions, corrected, missing, ageSteps, ageMs } = staleness;
  const { stale, queue, rate, secondsLeft } = refresh;
  const found = versions.map(
    ({ space, step, passages, share }) =>
      `  ${space} step ${count(step)}: ${plural(passages, 'passage')} (${percent(share)})`,
  );
  const ages = (of: AgeQuantiles, format: (age: number) => string) =>
    `median ${format(of.median)}, p90 ${format(of.p90)}, oldest ${format(of.oldest)}`;
  return [
    'searched by version:',
    ...found,
    ...(corrected > 0 ? [`  ${plural(corrected, 'passage')} moved by a corrector`] : []),
    ...(missing > 0 ? [`  ${plural(missing, 'passage')} without a vector`] : []),
    ...(ageMs ? [`age: ${ages(ageMs, formatDuration)}`] : []),
    ...(ageSteps && ageSteps.oldest > 0 ? [`age in steps: ${ages(ageSteps, count)}`] : []),
    ...(migration
      ? [
          `migration from ${migration.from} to ${migration.to}: ` +
            (migration.adapter === 'queries'
              ? 'queries are moved, vectors stay'
              : `${percent(migration.share)} embedded by the new model`),
        ]
      : []),
    ...(stale === 0
      ? []
      : [
          `to embed: ${plural(stale, 'passage')}, ${count(queue)} of them found by searches` +
            (rate && secondsLeft !== null
              ? `; ${formatDuration(1000 * secondsLeft)} at ${rate.passagesPerSecond.toFixed(1)} a second`
              : '; no rate was measured yet'),
        ]),
  ];
}
