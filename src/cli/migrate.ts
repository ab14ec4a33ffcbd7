import { STORE_CLUSTER_OPTIONS } from '../cluster/embed-store.ts';
import type { ClusterOutcome } from '../cluster/run-options.ts';
import { CORRECTOR_KINDS } from '../correctors/corrector.ts';
import { loadData } from '../data/load.ts';
import { DATA_HELP, FAULT_OPTIONS } from '../data/load-options.ts';
import { isPostgres } from '../foreign/postgres-address.ts';
import { backfill } from '../migration/backfill.ts';
import type { MigrationOptions } from '../migration/choose-corrector.ts';
import { REFRESH_OPTIONS } from '../migration/lazy-refresh.ts';
import { cutOver, rollBack, startMigration, underWay } from '../migration/migrate-store.ts';
import { migrationReport } from '../migration/migration-report.ts';
import { planMigration } from '../migration/plan-migration.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { SPLIT_OPTIONS } from '../retrieval/retrieval-options.ts';
import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { Store } from '../store/store.ts';
import { ADAPTERS, type Adapter } from '../store/store-head.ts';
import { STORE_OPTION } from '../store/store-options.ts';
import { loadEncoder } from '../store/stored-encoder.ts';
import { COMMON_RANGES } from '../util/common-options.ts';
import { UsageError } from '../util/errors.ts';
import { count } from '../util/format.ts';
import type { OptionValues } from '../util/option-table.ts';
import { embedOverCluster, givenUpText, withCluster } from './cluster-embedding.ts';
import { defineCommand } from './command.ts';
import { formatChosen, formatPlan, formatReport } from './format-migration.ts';
import type { Io } from './io.ts';
import {
  cutoverPostgres,
  type OriginOptions,
  planPostgres,
  reportPostgres,
  rollbackPostgres,
  startPostgres,
} from './migrate-postgres.ts';
import { loadModel, MODEL_HELP, readOptions, showProgress } from './model-source.ts';
import { refuseOthers } from './refuse-others.ts';
import { computeOptions } from './shared-options.ts';

const STORE = {
  store: {
    ...STORE_OPTION.store,
    required: true,
    help: 'folder of the store, or table of PostgreSQL: postgres://user@host/database?table=passages',
  },
} as const;

const ORIGIN_OPTIONS = {
  from: {
    type: 'text',
    value: 'model',
    help: `PostgreSQL: model that made the vectors of the table, ${MODEL_HELP}; needed for its first migration`,
  },
  fromSpace: {
    type: 'text',
    value: 'name',
    nonEmpty: true,
    help: 'PostgreSQL: name for the vectors of the table, where the model that made them is not at hand',
  },
} as const;

const SAMPLE_OPTIONS = {
  sample: {
    type: 'integer',
    min: 10,
    default: 2000,
    help: 'passages that both models embed, to fit the corrector to',
  },
  corrector: {
    type: 'list',
    choices: CORRECTOR_KINDS,
    help: 'correctors to choose from by their error on held-out passages (default: procrustes, ridge, mlp)',
  },
  seed: { ...COMMON_RANGES.seed, help: 'seed of the sample' },
} as const;

const BACKFILL_OPTIONS = {
  until: {
    type: 'number',
    min: 0,
    max: 1,
    default: 1,
    help: 'share of the passages at which the backfill stops; 0 embeds the sample only',
  },
  ...REFRESH_OPTIONS,
} as const;

const open = (folder: string, io: Io): Promise<Store> =>
  Store.open(folder, { onNote: (note) => io.log(`note: ${note}`) });

/** Settings of the sample and of the fit. */
const fitOptions = (
  options: OptionValues<typeof SAMPLE_OPTIONS> & Parameters<typeof computeOptions>[0],
): MigrationOptions => ({
  sample: options.sample,
  correctors: options.corrector,
  seed: options.seed,
  ...computeOptions(options),
});

/** Refuses options about the table of a database where the store is a folder. */
function refuseOrigin({ from, fromSpace }: OriginOptions): void {
  const given = from === undefined ? fromSpace && '--from-space' : '--from';
  if (given) throw new UsageError(`${given} is about tables of PostgreSQL: a store knows its models`);
}

/** Refuses what has no meaning for tables of PostgreSQL, whose own searches see no moved queries. */
function refuseForTables({
  adapter,
  cluster,
  refreshOrder,
}: {
  adapter?: string | undefined;
  cluster?: string | undefined;
  refreshOrder: string;
}): void {
  if (adapter === 'queries')
    throw new UsageError(
      '--adapter queries is about stores: searches of PostgreSQL take queries as they are',
    );
  if (cluster !== undefined)
    throw new UsageError('--cluster is about stores: tables of PostgreSQL are embedded by this machine');
  if (refreshOrder !== 'numbers')
    throw new UsageError('--refresh-order drift is about stores: tables of PostgreSQL are embedded by id');
}

/** Refuses what has no meaning for a backfill by the workers of a cluster: a part of it, a pace, and an order. */
const refuseBesideCluster = (given: OptionValues<typeof BACKFILL_OPTIONS>): void =>
  refuseOthers(BACKFILL_OPTIONS, given, {
    allowed: [],
    purpose: 'a backfill over a cluster, whose workers embed all passages in their order',
  });

const THRESHOLD_OPTION = {
  threshold: {
    type: 'number',
    help: 'threshold of scores in use with the present model, to be mapped to the new scores',
  },
} as const;

export const planCommand = defineCommand({
  options: {
    ...STORE,
    to: { type: 'text', value: 'model', required: true, help: `new model: ${MODEL_HELP}` },
    ...ORIGIN_OPTIONS,
    ...SAMPLE_OPTIONS,
    ...THRESHOLD_OPTION,
    pricePerHour: { type: 'number', min: 0, help: 'price of an hour of this machine, in any currency' },
    ...COMPUTE_OPTIONS,
  },
  examples: [
    '--store stores/docs --to runs/new',
    '--store stores/docs --to runs/new --price-per-hour 0.4 --threshold 0.62',
    "--store 'postgres://me@localhost/app?table=passages' --from runs/old --to runs/new",
  ],
  async run(options, io) {
    const { threshold, pricePerHour } = options;
    const settings = { ...fitOptions(options), threshold, pricePerHour };
    if (isPostgres(options.store)) return await planPostgres(options, settings, io);
    refuseOrigin(options);
    const store = await open(options.store, io);
    const retriever = await loadModel(options.to, io, [], { option: 'to' });
    const plan = await planMigration(store, retriever, {
      ...settings,
      model: options.to,
      onProgress: showProgress(io),
    });
    io.finishProgress();
    await retriever.dispose();
    await store.close();
    return {
      json: { store: options.store, ...plan },
      text: `${formatPlan(plan)}next: undrift migrate start --store ${options.store} --to ${options.to}\n`,
    };
  },
});

export const startCommand = defineCommand({
  description:
    'Fits a corrector from the stored vectors to those of the new model, on a sample of passages. From then on, queries are embedded by ' +
    'the new model, and passages that it has not embedded are found by their corrected vectors. The backfill embeds them in small ' +
    'commits; when it is stopped, the same command goes on with it.',
  options: {
    ...STORE,
    to: {
      type: 'text',
      value: 'model',
      help: `new model: ${MODEL_HELP}; not needed to go on with a backfill`,
    },
    adapter: {
      type: 'choice',
      choices: ADAPTERS,
      help:
        'documents: move old vectors to the new space until they are embedded; queries: move new queries to the old space and leave the ' +
        'vectors as they are (default: documents)',
    },
    ...ORIGIN_OPTIONS,
    ...SAMPLE_OPTIONS,
    ...BACKFILL_OPTIONS,
    ...COMPUTE_OPTIONS,
    ...STORE_CLUSTER_OPTIONS,
  },
  stopsGracefully: true,
  examples: [
    '--store stores/docs --to runs/new',
    '--store stores/docs --to runs/new --until 0.1 --work-share 0.5',
    '--store stores/docs --to runs/new --adapter queries',
    "--store 'postgres://me@localhost/app?table=passages&vector=embedding' --from runs/old --to runs/new",
  ],
  async run(options, io) {
    const fit = fitOptions(options);
    if (options.cluster !== undefined) refuseBesideCluster(options);
    if (isPostgres(options.store)) {
      const { until, workShare, rowsPerMinute } = options;
      refuseForTables(options);
      const backfill = { until, workShare, rowsPerMinute, ...computeOptions(options) };
      return await startPostgres(options, { fit, backfill }, io);
    }
    refuseOrigin(options);
    const store = await open(options.store, io);
    const { migration } = store.head;
    const compute = computeOptions(options);
    if (!migration && options.to === undefined) throw new UsageError('--to is missing');
    const retriever =
      options.to === undefined
        ? await loadEncoder(store, migration!.to, compute)
        : await loadModel(options.to, io, [], { option: 'to' });
    const isUnderWay = migration?.to === embeddingSpaceId(retriever);
    const adapter = options.adapter ?? (isUnderWay ? migration.adapter : 'documents');
    if (options.cluster !== undefined && adapter === 'queries')
      throw new UsageError('--adapter queries embeds no passages, and --cluster embeds passages');
    const embeds = options.cluster === undefined && adapter === 'documents';
    const [started, shared] = await withCluster(options, io, async (cluster) => {
      const started =
        isUnderWay && migration.adapter === adapter
          ? undefined
          : await startMigration(store, retriever, {
              model: options.to ?? migration!.to,
              adapter,
              ...fit,
              onProgress: showProgress(io),
            });
      if (started) {
        io.finishProgress();
        io.log(formatChosen(started[adapter]).trimEnd());
      }
      if (!cluster || io.signal.aborted) return [started, undefined];
      const of = { shard: options.shard, model: retriever, space: store.head.migration!.to };
      return [started, await embedOverCluster(store, options.store, cluster, of, io)];
    });
    const work = embeds
      ? await backfill(store, retriever, {
          until: options.until,
          workShare: options.workShare,
          rowsPerMinute: options.rowsPerMinute,
          refreshOrder: options.refreshOrder,
          signal: io.signal,
          ...compute,
          onProgress: showProgress(io),
        })
      : shared && { embedded: shared.stored, missing: shared.stale };
    io.finishProgress();
    await retriever.dispose();
    await store.close();
    const stopped = io.signal.aborted;
    return {
      json: {
        ...{ store: options.store, ...store.head.migration, adapter, ...started?.[adapter] },
        ...{ embedded: work?.embedded ?? 0, missing: work?.missing ?? null, stopped },
        ...(shared && { givenUp: shared.givenUp }),
      },
      text: startText({ store: options.store, adapter, work, shared }),
      ...((stopped || (shared?.givenUp ?? 0) > 0) && { exitCode: 1 as const }),
    };
  },
});

/** Tells what a migration that was started has come to, and what follows. */
function startText({
  store,
  adapter,
  work,
  shared,
}: {
  readonly store: string;
  readonly adapter: Adapter;
  readonly work: { readonly embedded: number; readonly missing: number } | undefined;
  readonly shared: ClusterOutcome | undefined;
}): string {
  if (adapter === 'queries') {
    return (
      'queries are embedded by the new model and moved to the old space\n' +
      `to embed the passages too: undrift migrate start --store ${store} --adapter documents\n`
    );
  }
  const goOn = `go on: undrift migrate start --store ${store}\n`;
  if (!work) return `stopped before passages were embedded\n${goOn}`;
  return (
    `${count(work.embedded)} passages embedded, ${count(work.missing)} missing\n` +
    givenUpText(shared) +
    (work.missing > 0 ? goOn : `next: undrift migrate cutover --store ${store}\n`)
  );
}

const REPORT_OPTIONS = {
  ...STORE,
  data: { type: 'text', value: 'folder', required: true, help: DATA_HELP },
  split: { type: 'text', value: 'name', default: 'test', help: 'queries of this split' },
  metrics: { ...SPLIT_OPTIONS.metrics, default: ['ndcg@10', 'recall@100'] },
  topK: { type: 'integer', min: 1, default: 10, help: 'best passages whose overlap is computed' },
  limitQueries: SPLIT_OPTIONS.limitQueries,
  sample: {
    type: 'integer',
    min: 0,
    default: 0,
    help: 'passages to embed by the new model, relevant ones first, to compare with full re-embedding on these; stores nothing',
  },
  ...THRESHOLD_OPTION,
  seed: { ...COMMON_RANGES.seed, help: 'seed of the sample and of intervals' },
  ...FAULT_OPTIONS,
  ...COMPUTE_OPTIONS,
} as const;

/** Options of a report that tables of PostgreSQL do not have. */
const OF_STORES = ['topK', 'sample', 'threshold', 'seed'];

export const reportCommand = defineCommand({
  options: REPORT_OPTIONS,
  examples: [
    '--store stores/docs --data data/api-docs --split test --json',
    '--store stores/docs --data data/api-docs --sample 2000 --threshold 0.62',
  ],
  async run(options, io) {
    if (isPostgres(options.store)) {
      const { store, data, split, metrics, limitQueries } = options;
      const allowed = Object.keys(REPORT_OPTIONS).filter((name) => !OF_STORES.includes(name));
      refuseOthers(REPORT_OPTIONS, options, { allowed, purpose: 'tables of PostgreSQL' });
      const settings = { metrics, limitQueries, ...computeOptions(options) };
      return await reportPostgres({ store, data, split, faults: options }, settings, io);
    }
    const store = await open(options.store, io);
    const data = await loadData(options.data, { splits: [options.split], ...readOptions(io, options) });
    io.finishProgress();
    const report = await migrationReport(store, data, options.split, {
      metrics: options.metrics,
      topK: options.topK,
      limitQueries: options.limitQueries,
      sample: options.sample,
      threshold: options.threshold,
      seed: options.seed,
      ...computeOptions(options),
      onProgress: showProgress(io),
    });
    io.finishProgress();
    await store.close();
    return {
      json: { store: options.store, data: data.name, split: options.split, ...report },
      text: formatReport(report),
    };
  },
});

export const cutoverCommand = defineCommand({
  description:
    'If the former vectors have an index for approximate search, the new ones get one of the same kind.',
  options: STORE,
  examples: ['--store stores/docs'],
  async run(options, io) {
    if (isPostgres(options.store)) return await cutoverPostgres(options);
    const store = await open(options.store, io);
    const { from, to } = underWay(store);
    await cutOver(store, { onProgress: showProgress(io) });
    io.finishProgress();
    await store.close();
    return { json: { store: options.store, from, to }, text: `${options.store} holds space ${to} only\n` };
  },
});

export const rollbackCommand = defineCommand({
  options: { ...STORE, ...COMPUTE_OPTIONS },
  examples: ['--store stores/docs'],
  async run(options, io) {
    if (isPostgres(options.store)) return await rollbackPostgres(options, computeOptions(options), io);
    const store = await open(options.store, io);
    const { from, to } = underWay(store);
    const retriever = await loadEncoder(store, from, computeOptions(options));
    const embedded = await rollBack(store, retriever, {
      ...computeOptions(options),
      onProgress: showProgress(io),
    });
    io.finishProgress();
    await retriever.dispose();
    await store.close();
    return {
      json: { store: options.store, from: to, to: from, embedded },
      text: `${options.store} is back in space ${from}; ${count(embedded)} newer passages were embedded by its model\n`,
    };
  },
});
