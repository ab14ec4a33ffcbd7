import type { Cluster } from '../cluster/cluster.ts';
import { STORE_CLUSTER_OPTIONS } from '../cluster/embed-store.ts';
import type { ClusterOutcome } from '../cluster/run-options.ts';
import { PART_OPTION } from '../data/corpus-part.ts';
import { readLines } from '../data/lines.ts';
import { DOCUMENT_OPTIONS } from '../data/load-options.ts';
import { streamDocuments } from '../data/stream-documents.ts';
import { isPostgres } from '../foreign/postgres-address.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { type IndexCounts, indexPassages } from '../store/index-passages.ts';
import { buildApproximateIndex, removePassages } from '../store/maintain.ts';
import { Store } from '../store/store.ts';
import type { StoredTerms } from '../store/store-head.ts';
import { STORE_OPTION } from '../store/store-options.ts';
import { encoderFolder } from '../store/stored-encoder.ts';
import { TERM_OPTIONS } from '../text/bm25-options.ts';
import { UsageError } from '../util/errors.ts';
import { count, formatDuration } from '../util/format.ts';
import { type OptionTable, type OptionValues, optionValues } from '../util/option-table.ts';
import { embedOverCluster, givenUpText, withCluster } from './cluster-embedding.ts';
import { type CommandResult, defineCommand } from './command.ts';
import type { Io } from './io.ts';
import { loadFolder, loadModel, MODEL_HELP, type ModelChoices, streamOptions } from './model-source.ts';
import { refuseOthers } from './refuse-others.ts';
import { computeOptions, ENCODING_OPTIONS, PROMPT_OPTIONS } from './shared-options.ts';
import { indexPostgres } from './store-postgres.ts';

const OPTIONS = {
  ...STORE_OPTION,
  store: {
    ...STORE_OPTION.store,
    required: true,
    help: 'folder of the store, made if it does not exist; or table of PostgreSQL whose texts to embed',
  },
  model: {
    type: 'text',
    value: 'model',
    help: MODEL_HELP,
    defaultHelp: 'that of the store, if it has one',
  },
  data: { type: 'text', value: 'folder', help: 'data set or file whose documents to store' },
  corpus: { type: 'text', value: 'path', help: 'file of documents to store, or a folder of them' },
  remove: { type: 'text', value: 'file', help: 'ids of passages to remove, one per line' },
  canaries: {
    type: 'text',
    value: 'file',
    help: 'up to 8 texts, one per line, whose vectors any later load of the model must reproduce (default: passages)',
  },
  approximate: {
    type: 'choice',
    choices: ['ivf', 'hnsw'],
    help: 'build an index for approximate search: inverted lists of bits, or a graph (slower to build, larger)',
  },
  ...PART_OPTION,
  ...DOCUMENT_OPTIONS,
  ...ENCODING_OPTIONS,
  ...PROMPT_OPTIONS,
  ...TERM_OPTIONS,
  ...COMPUTE_OPTIONS,
  ...STORE_CLUSTER_OPTIONS,
} as const satisfies OptionTable;

/** The command `undrift index`: stores passages and their vectors. */
export const indexCommand = defineCommand({
  description:
    'A passage of a known id is replaced if it has changed and skipped if it has not, so that a command that was stopped goes on when ' +
    'it is given again. Memory is bounded whatever the number of passages. A second model adds vectors of its own; those of two ' +
    'models are never mixed.',
  options: OPTIONS,
  stopsGracefully: true,
  examples: [
    '--model runs/first --data data/api-docs --store stores/docs',
    '--model runs/first --corpus notes/ --store stores/notes --approximate ivf',
    '--store stores/docs --remove withdrawn.txt',
    '--model runs/first --corpus wiki.jsonl.gz --store stores/wiki-1 --part 1/4',
    '--model runs/first --corpus wiki.jsonl.gz --store stores/wiki --cluster nats://head:4222',
    "--model runs/first --store 'postgres://me@localhost/app?table=passages'",
  ],
  async run(options, io) {
    const { model, data, corpus, remove, approximate, canaries } = options;
    if (isPostgres(options.store)) {
      const allowed = ['store', 'model', ...Object.keys(COMPUTE_OPTIONS)];
      refuseOthers(OPTIONS, options, {
        allowed,
        purpose: 'a table of PostgreSQL, whose texts are there already',
      });
      if (model === undefined) throw new UsageError('--model is missing');
      return await indexPostgres(options.store, model, computeOptions(options), io);
    }
    if (data !== undefined && corpus !== undefined)
      throw new UsageError('--data and --corpus exclude each other');
    const source = data ?? corpus;
    if (source === undefined && remove === undefined && approximate === undefined) {
      throw new UsageError('nothing to do: --data, --corpus, --remove or --approximate is missing');
    }
    if (canaries !== undefined && source === undefined)
      throw new UsageError(
        '--canaries needs --data or --corpus: canary texts belong to the model that indexes',
      );
    if (options.part !== undefined && source === undefined)
      throw new UsageError('--part needs --data or --corpus');
    if (options.cluster !== undefined) checkShared(options, source);
    return await withCluster(options, io, (cluster) => indexDocuments(options, cluster, io));
  },
});

/** Stores documents, and has the workers of a cluster embed them where there is one. */
async function indexDocuments(
  options: OptionValues<typeof OPTIONS>,
  cluster: Cluster | undefined,
  io: Io,
): Promise<CommandResult> {
  const source = options.data ?? options.corpus;
  const { model, remove, approximate, canaries } = options;
  const startMs = performance.now();
  const compute = computeOptions(options);
  const given = model === undefined ? undefined : await loadModel(model, io, [], options);
  const documents = source === undefined ? undefined : streamDocuments(source, streamOptions(io, options));
  const terms: StoredTerms = optionValues(TERM_OPTIONS, options);
  const store = await Store.open(options.store, {
    create: given === undefined ? undefined : terms,
    onNote: (note) => io.log(`note: ${note}`),
  });
  checkTerms(store, terms, options.store);
  const retriever = given ?? (documents && (await loadStored(store, options, io)));
  const removed = remove === undefined ? 0 : await removeListed(store, remove);
  let counts: IndexCounts = { read: 0, added: 0, changed: 0, unchanged: 0, embedded: 0 };
  if (retriever && documents) {
    counts = await indexPassages(store, retriever, documents, {
      ...compute,
      model: model ?? store.space(store.head.current!)!.model,
      part: options.part,
      embeds: cluster === undefined,
      canaries: canaries === undefined ? undefined : await linesOf(canaries),
      signal: io.signal,
      onProgress: ({ stage, done, total, unit }) => io.progress(stage, done, { total, unit }),
    });
  }
  const space = retriever ? embeddingSpaceId(retriever) : store.head.current;
  let outcome: ClusterOutcome | undefined;
  if (cluster && retriever && !io.signal.aborted) {
    const of = { shard: options.shard, model: retriever, space: space! };
    outcome = await embedOverCluster(store, options.store, cluster, of, io);
    counts = { ...counts, embedded: outcome.stored };
  }
  if (approximate !== undefined && space !== null && !io.signal.aborted) {
    io.log(`building the index for approximate search (${approximate})`);
    await buildApproximateIndex(store, space, approximate);
  }
  io.finishProgress();
  await retriever?.dispose();
  const rows = await (await store.snapshot()).passages.count();
  await store.close();
  const seconds = (performance.now() - startMs) / 1000;
  const stopped = io.signal.aborted;
  return {
    json: {
      store: options.store,
      rows,
      space,
      ...counts,
      removed,
      ...(outcome && { missing: outcome.stale, givenUp: outcome.givenUp }),
      seconds: Number(seconds.toFixed(3)),
      stopped,
    },
    text:
      `${count(rows)} passages in ${options.store} (space ${space ?? 'none'})\n` +
      `${describe(counts, removed)}, ${formatDuration(seconds * 1000)}\n` +
      givenUpText(outcome) +
      (stopped
        ? 'stopped: give the command again to go on\n'
        : `next: undrift search --store ${options.store} "…"\n`),
    ...((stopped || (outcome?.givenUp ?? 0) > 0) && { exitCode: 1 as const }),
  };
}

/**
 * Loads the model of a store's current vectors, which the store keeps.
 *
 * @throws UsageError if the store has no vectors yet, and for options that make another model of it
 */
async function loadStored(store: Store, options: ModelChoices, io: Io): Promise<Retriever> {
  const { current } = store.head;
  if (current === null)
    throw new UsageError('--model is missing', { help: 'the store has no model of its own yet' });
  io.log(`note: the model of the store embeds: ${store.space(current)!.model}`);
  const retriever = await loadFolder(await store.files.open(encoderFolder(current)), io, options);
  if (embeddingSpaceId(retriever) === current) return retriever;
  await retriever.dispose();
  throw new UsageError('the options make another model of that of the store', {
    help: 'name a model by --model: its vectors are then stored beside the others',
  });
}

/**
 * Checks the options of work that a cluster shares.
 *
 * @throws UsageError for options about embedding on this machine
 */
function checkShared(
  { workers, device }: { readonly workers: number; readonly device: string },
  source: string | undefined,
): void {
  if (source === undefined)
    throw new UsageError('--cluster needs --data or --corpus: nothing else is embedded');
  if (workers > 1 || device !== COMPUTE_OPTIONS.device.default) {
    throw new UsageError(
      `${workers > 1 ? '--workers' : '--device'} is about embedding on this machine, and --cluster embeds elsewhere`,
      { help: 'give it to undrift cluster worker' },
    );
  }
}

const removeListed = async (store: Store, file: string): Promise<number> =>
  await removePassages(store, await linesOf(file));

/** Reads the lines of a file that are not empty. */
async function linesOf(file: string): Promise<string[]> {
  const lines: string[] = [];
  for await (const { text } of readLines(file)) if (text !== '') lines.push(text);
  return lines;
}

/** Checks that the index terms are those that the store was made with. */
function checkTerms(store: Store, wanted: StoredTerms, name: string): void {
  const { terms } = store.head;
  const differs = (Object.keys(terms) as (keyof StoredTerms)[]).find((key) => wanted[key] !== terms[key]);
  const isDefault = Object.entries(optionValues(TERM_OPTIONS, {})).every(
    ([key, value]) => wanted[key as 'stem'] === value,
  );
  if (differs === undefined || isDefault) return;
  throw new UsageError(`the store ${name} was made with another --${differs}: ${terms[differs]}`, {
    help: 'the words of a store are split in one way: make a new store for another',
  });
}

const describe = ({ added, changed, unchanged, embedded }: IndexCounts, removed: number): string =>
  `${count(added)} added, ${count(changed)} changed, ${count(unchanged)} unchanged, ${count(removed)} removed; ` +
  `${count(embedded)} embedded`;
