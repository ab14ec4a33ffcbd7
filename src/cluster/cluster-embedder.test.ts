import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startWorkers } from '../../test/cluster-workers.ts';
import { type NatsServers, noNats, startNats } from '../../test/nats-server.ts';
import { bytesOf, trained, within } from '../../test/refresh-runs.ts';
import { phraseText, smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { type ToyOptions, ToyRun } from '../../test/toy-training.ts';
import { asyncIndex } from '../methods/async-index.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { clusterEmbedder } from './cluster-embedder.ts';

const BERT: ToyOptions = {
  model: { kind: 'transformer', towers: 'separate' },
  dropoutRatio: 0.1,
  options: { refresh: 'async:3:wait' },
};
const STATIC: ToyOptions = { options: { refresh: 'write-back,async:3:wait' } };

/** Embedder without a server, whose model does something else. */
async function alone(encodeTokens: (retriever: Retriever) => Promise<Float32Array>) {
  const retriever = smallRetriever({ kind: 'static' });
  const store = retriever.tokenize('document', 3, (row) => phraseText([row, row + 1]));
  const other: Retriever = Object.assign(Object.create(retriever), {
    encodeTokens: () => encodeTokens(retriever),
  });
  const notes: string[] = [];
  const place = { address: 'nats://127.0.0.1:1/none', connection: {} };
  const embedder = clusterEmbedder(place, { stallMs: 1 })(other, 'document', store, {
    folder: tempFiles(),
    onTrouble: (note) => notes.push(note),
  });
  const job = await embedder.encode(retriever.encodeWeights('document'), Uint32Array.of(0, 1, 2), 1);
  job.hurry!();
  return { embedder, job, notes };
}

it('a refresh that cannot be embedded here either fails, and training goes on', async () => {
  const { embedder, job, notes } = await alone(async () => {
    throw new Error('out of memory');
  });
  await job.settled;
  expect(job.outcome).toBe('failed');
  expect(notes.at(-1)).toContain("the cluster's part failed: out of memory; training goes on");
  await embedder.dispose();
});

it('an embedder ends when its model is used no more', async () => {
  let uses = 0;
  let begin = () => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const { embedder } = await alone(async ({ dimension }) => {
    uses += 1;
    begin();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    uses -= 1;
    return new Float32Array(3 * dimension);
  });
  await begun;
  await embedder.dispose();
  expect(uses).toBe(0);
});

describe.skipIf(noNats !== undefined)(`a refresh over a cluster${noNats ? `: ${noNats}` : ''}`, () => {
  let servers: NatsServers;
  beforeAll(async () => {
    servers = await startNats();
  });
  afterAll(() => servers.stop());

  /** Makes a cluster with workers, and what a run needs of it. */
  async function clusterOf(name: string, workers: number, { stallMs }: { stallMs?: number } = {}) {
    const { address, join, leave } = await startWorkers(servers.address, name, workers);
    const notes: string[] = [];
    const events: Readonly<Record<string, number>>[] = [];
    const openEmbedder = clusterEmbedder({ address, connection: {} }, { stallMs });
    return {
      notes,
      events,
      method: within({
        openEmbedder,
        onNote: (note) => notes.push(note),
        onEvent: (kind, values) => kind === 'refresh' && events.push(values),
      }),
      ...{ join, leave },
    };
  }

  it.each([
    ['static', STATIC],
    ['transformer', BERT],
  ])('that is awaited makes the bits of one on this machine: %s', async (name, settings) => {
    const cluster = await clusterOf(name, 2);
    const beside = await trained(cluster.method, settings, 10);
    await cluster.leave();
    expect(beside).toEqual(await trained(asyncIndex, settings, 10));
    expect(cluster.notes).toEqual([]);
    expect(cluster.events).toMatchObject([
      { version: 3, lagSteps: 3, workerFailures: 0, hereRows: 0 },
      { version: 6, lagSteps: 3, workerFailures: 0, hereRows: 0 },
    ]);
  });

  it('that is awaited goes on without workers, with the same bits', async () => {
    const cluster = await clusterOf('alone', 0, { stallMs: 300 });
    const alone = await trained(cluster.method, BERT, 10);
    expect(alone).toEqual(await trained(asyncIndex, BERT, 10));
    expect(cluster.events).toMatchObject([
      { version: 3, rows: 60, workerFailures: 1, hereRows: 60 },
      { version: 6, rows: 60, workerFailures: 1, hereRows: 60 },
    ]);
    expect(cluster.notes).toHaveLength(2);
    expect(cluster.notes[0]).toMatch(
      /^refresh of step 3: no worker has embedded anything for 300ms after 0 of 60 documents; this process embeds/,
    );
  });

  it('that is not awaited never waits for a worker, and takes in the table when one has come', async () => {
    const cluster = await clusterOf('free', 0, { stallMs: 300 });
    const run = await ToyRun.begin(cluster.method, { options: { refresh: 'async:2' } });
    const reports = await run.train(8);
    expect(reports.map(({ metrics }) => metrics.refreshVersion)).toEqual(new Array(8).fill(0));
    cluster.join();
    while (cluster.events.length === 0) {
      await run.train(1);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(cluster.events[0]).toMatchObject({ version: 2, rows: 60, hereRows: 0 });
    await run.dispose();
    await cluster.leave();
  });

  it('begins again with the weights that it had after a run was stopped', async () => {
    const expected = await trained(asyncIndex, BERT, 10);
    const cluster = await clusterOf('resumed', 0);
    const run = await ToyRun.begin(cluster.method, BERT);
    await run.train(4);
    const folder = await run.save();
    await run.dispose();
    cluster.join();
    const again = await ToyRun.resume(cluster.method, BERT, folder);
    await again.train(6);
    expect(bytesOf(again)).toEqual(expected);
    expect(cluster.events.map(({ hereRows }) => hereRows)).toEqual([0, 0]);
    await again.dispose();
    await cluster.leave();
  });
});
