import { parentPort, workerData } from 'node:worker_threads';
import type { Cluster } from './cluster.ts';
import { connectPlace } from './cluster-options.ts';
import { runOverCluster } from './cluster-run.ts';
import type { TableAnswer, TableRequest, TableThreadData } from './table-messages.ts';
import { type TableRows, TableShard } from './table-shard.ts';
import { pause, reasonOf } from './waiting.ts';

// A thread of its own that owns the rows of a refresh: training blocks the event loop for a step at a time, and workers wait for nobody.

/** Pause before the server is tried again. */
const RETRY_MS = 5000;

/** Job that runs. */
interface Running {
  readonly id: number;
  readonly shard: TableShard;
  /** Aborted when all rows are stored. */
  readonly stop: AbortController;
}

const place = workerData as TableThreadData;
const port = parentPort!;
const answer = (message: TableAnswer) => port.postMessage(message);
const note = (text: string) => answer({ kind: 'note', text });
const closing = new AbortController();
let cluster: Cluster | undefined;
let running: Running | undefined;
/** End of the last job. */
let last: Promise<void> = Promise.resolve();
/** End of the last write of rows. */
let writing: Promise<void> = Promise.resolve();

port.on('message', (request: TableRequest) => {
  if (request.kind === 'job') last = last.then(() => runJob(request.id, request.table));
  else if (request.kind === 'ask') {
    const { id } = request;
    answer({ kind: 'block', id, block: running?.id === id ? running.shard.lastStale : undefined });
  } else if (request.kind === 'rows') writing = writing.then(() => put(request));
  else void close();
});

async function runJob(id: number, table: TableRows): Promise<void> {
  try {
    const shard = await TableShard.open(table);
    running = { id, shard, stop: new AbortController() };
    try {
      await embed(running);
      await writing;
    } finally {
      running = undefined;
      await shard.close();
    }
  } catch (error) {
    answer({ kind: 'failed', id, reason: reasonOf(error) });
  }
}

async function embed({ id, shard, stop }: Running): Promise<void> {
  const signal = AbortSignal.any([stop.signal, closing.signal]);
  let givenUp = 0;
  while (!signal.aborted) {
    const connected = await connect(signal);
    if (!connected) break;
    const before = shard.done;
    const outcome = await runOverCluster(shard, connected, {
      temporary: true,
      signal,
      onProgress: () => progress(true),
      onNote: note,
    });
    if (outcome.givenUp > 0 && outcome.givenUp !== givenUp) {
      givenUp = outcome.givenUp;
      answer({ kind: 'given up', id, rows: givenUp });
    }
    // A run ends early where this process stood still and lost its lease. Rows that were given up come from the other side.
    if (shard.done === before) await pause(RETRY_MS, signal);
  }
  if (stop.signal.aborted) answer({ kind: 'done', id });
}

/** Reports what is stored, and ends the job when that is everything. */
function progress(byWorker: boolean): void {
  if (!running) return;
  const { id, shard, stop } = running;
  answer({ kind: 'progress', id, done: shard.done, byWorker });
  if (shard.lastStale === undefined) stop.abort();
}

async function put({ id, first, vectors }: TableRequest & { readonly kind: 'rows' }): Promise<void> {
  const shard = running?.shard;
  if (!shard || running?.id !== id) return;
  try {
    const { id: version, dimension } = await shard.wanted();
    const rows = Uint32Array.from({ length: vectors.length / dimension }, (_, i) => first + i);
    await shard.put([{ version, rows, marks: shard.marks(rows), vectors }]);
    progress(false);
  } catch (error) {
    note(reasonOf(error));
    await pause(RETRY_MS, closing.signal);
    // The other side waits for progress, and then makes the block again.
    progress(false);
  }
}

/** Connects to the server, as soon as it is there; undefined if the job is to end first. */
async function connect(signal: AbortSignal): Promise<Cluster | undefined> {
  let problem = '';
  while (!cluster && !signal.aborted) {
    try {
      cluster = await connectPlace(place, { onNote: note });
    } catch (error) {
      if (reasonOf(error) !== problem) note(reasonOf(error));
      problem = reasonOf(error);
      await pause(RETRY_MS, signal);
    }
  }
  return cluster;
}

async function close(): Promise<void> {
  closing.abort();
  await last;
  await cluster?.close();
  port.close();
}
