import { execFileSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { bytesOf, trained, within } from '../../../test/refresh-runs.ts';
import { type ToyOptions, ToyRun } from '../../../test/toy-training.ts';
import type { BackgroundLimits } from '../../models/background/background-encoder.ts';
import { processEmbedder } from '../../models/background/process-embedder.ts';
import type { Weights } from '../../models/retriever/retriever.ts';
import { hostTensor } from '../../runtime/host-tensor.ts';
import { NONE } from '../../util/vector-rows.ts';
import { asyncIndex } from '../async-index.ts';
import type { Method } from '../contract/method.ts';
import { AsyncRefresh } from './async-refresh.ts';
import { TableMethod } from './table-method.ts';

/** Processes that this one has started. */
const workers = (): number[] => {
  try {
    const text = execFileSync('pgrep', ['-P', String(process.pid), '-f', 'encode'], { encoding: 'utf8' });
    return text.trim().split('\n').map(Number);
  } catch {
    return [];
  }
};

/** The refresh of `async:3:wait` in this process, from the description: no worker, no files, nothing at the same time. */
const inThisProcess = (refresh: string): Method => ({
  ...asyncIndex,
  async start(context) {
    const running = await TableMethod.start('async-index', {
      ...context,
      options: { ...context.options, refresh },
    });
    let pending: { version: number; weights: Weights; documents: Int32Array } | undefined;
    const updated = async (step: number) => {
      await running.updated(step);
      if (step % 3 !== 0) return {};
      const { table } = running;
      if (pending) {
        const { version, weights, documents } = pending;
        const rows = Uint32Array.from(documents);
        const { retriever, documents: store, compute } = context;
        const made = await retriever.encodeTokens('document', store, { rows, weights, ...compute });
        for (const [i, document] of documents.entries()) {
          const slot = table.slotOf(document);
          if (slot === NONE || table.versions[slot]! > version) continue;
          const D = table.dimension;
          table.refresh([slot], made.slice(i * D, (i + 1) * D), { version });
        }
      }
      const copies = Object.entries(context.retriever.weights).map(([name, { dims, data }]) => [
        name,
        hostTensor('f32', dims, data.slice()),
      ]);
      const documents = table.documents.filter((document) => document !== NONE);
      pending = { version: step, weights: Object.fromEntries(copies), documents };
      return {};
    };
    return Object.assign(Object.create(running), { updated });
  },
});

const BERT: ToyOptions = {
  model: { kind: 'transformer', towers: 'separate' },
  dropoutRatio: 0.1,
  accumulate: 2,
};

describe('an awaited refresh', () => {
  it.each([
    ['static', 'async:3:wait', 'never', {}],
    ['with rows that are written back meanwhile', 'write-back,async:3:wait', 'write-back', {}],
    [
      'of a cache that documents come into and leave',
      'write-back,stream,async:3:wait',
      'write-back,stream',
      { options: { cacheSize: 40, rankTo: 20 } },
    ],
    ['transformer', 'async:3:wait', 'never', BERT],
    ['transformer, two threads', 'async:3:wait', 'never', { ...BERT, threads: 2 }],
  ] as const)('makes the bits of one in this process: %s', async (_, refresh, here, settings) => {
    const given: ToyOptions = settings;
    const options = { ...given.options, refresh };
    const beside = await trained(asyncIndex, { ...given, options }, 10);
    expect(beside).toEqual(await trained(inThisProcess(here), given, 10));
    // Without a refresh, other negatives are drawn.
    const without = await trained(asyncIndex, { ...given, options: { ...given.options, refresh: here } }, 10);
    expect(without).not.toEqual(beside);
    expect(workers()).toEqual([]);
  });
});

/** A method with a refresh whose limits are short. */
const withLimits = (limits: Partial<BackgroundLimits>): Method => ({
  ...asyncIndex,
  async start(context) {
    const options = { ...context.options, refresh: 'never' };
    const running = await TableMethod.start('async-index', { ...context, options });
    const openEmbedder = processEmbedder(limits);
    const refresh = new AsyncRefresh(running.table, { ...context, openEmbedder }, { every: 3, wait: true });
    return Object.assign(Object.create(running), {
      async updated(step: number) {
        await running.updated(step);
        return await refresh.settle();
      },
      async dispose() {
        await refresh.dispose();
        await running.dispose();
      },
    });
  },
});

describe('a worker that fails', () => {
  it.each([
    ['dies', 'SIGKILL', 'was killed (SIGKILL)'],
    ['hangs', 'SIGSTOP', 'said nothing for'],
  ] as const)('is replaced when it %s, and the run is the same to the byte', async (_, signal, reason) => {
    const limits = { firstSilenceMs: 4000 };
    const expected = await trained(withLimits(limits), {}, 10);
    const notes: string[] = [];
    const run = await ToyRun.begin(within({ onNote: (note) => notes.push(note) }, withLimits(limits)), {});
    await run.train(4);
    const [worker] = workers();
    process.kill(worker!, signal);
    await run.train(6);
    expect(bytesOf(run)).toEqual(expected);
    expect(notes).toHaveLength(1);
    expect(notes[0]).toContain(`refresh of step 3: the process ${reason}`);
    expect(notes[0]).toMatch(/after \d+ of 60 documents; another one takes over$/);
    expect(workers()).not.toContain(worker);
    await run.dispose();
    expect(workers()).toEqual([]);
  });

  it('is given up after several failures: training keeps its table until the next refresh', async () => {
    const notes: string[] = [];
    const events: Readonly<Record<string, number>>[] = [];
    const method = within(
      { onNote: (note) => notes.push(note), onEvent: (_, values) => events.push(values) },
      withLimits({ failures: 2 }),
    );
    const run = await ToyRun.begin(method, {});
    const reports = await run.train(3);
    const { folder } = run.context;
    for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
      if (name.endsWith('.tokens')) rmSync(join(folder, name));
    }
    reports.push(...(await run.train(7)));
    await run.dispose();
    expect(reports.map(({ metrics }) => metrics.refreshVersion)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 6, 6]);
    expect(notes).toHaveLength(2);
    expect(notes[0]).toMatch(/step 3: the process failed: .*no such file.*; another one takes over/s);
    expect(notes[1]).toMatch(/step 3: the process failed: .*; given up after 2 failures, training goes on/s);
    expect(events).toMatchObject([
      { version: 3, lagSteps: 3, rows: 0, newerRows: 0, workerFailures: 2 },
      { version: 6, lagSteps: 3, rows: 60, newerRows: 0, workerFailures: 0 },
    ]);
  });
});

describe('a free-running refresh', () => {
  it('swaps the table in when it is ready, with its version, and begins the next refresh', async () => {
    const events: Readonly<Record<string, number>>[] = [];
    const progress: number[] = [];
    const method = within({
      onEvent: (kind, values) => kind === 'refresh' && events.push(values),
      onBackground: ({ done }) => progress.push(done),
    });
    const run = await ToyRun.begin(method, { options: { refresh: 'write-back,async:2' } });
    const { table } = run.running as TableMethod;
    while (events.length < 2) {
      const [report] = await run.train(1);
      const { refreshVersion, refreshLagSteps } = report!.metrics;
      expect(refreshVersion! + refreshLagSteps!).toBe(run.learner.step);
      expect(refreshVersion).toBe(events.at(-1)?.version ?? 0);
    }
    const [first, second] = events as [Record<string, number>, Record<string, number>];
    expect(first.version).toBe(2);
    // The next refresh begins at once where a multiple of two has passed meanwhile.
    expect(second.version).toBe(2 + first.lagSteps!);
    expect(first.rows! + first.newerRows!).toBe(60);
    expect(second.newerRows).toBeGreaterThan(0);
    expect(second.workerMs).toBeGreaterThan(0);
    const { step } = run.learner;
    expect(table.versions.every((version) => version >= second.version! && version <= step)).toBe(true);
    expect(table.versions.filter((version) => version === second.version).length).toBe(second.rows);
    expect(progress).toContain(60);
    await run.dispose();
    expect(workers()).toEqual([]);
  });

  it('continues after a resumption with the weights that it had', async () => {
    const settings = { options: { refresh: 'async:2' } };
    const run = await ToyRun.begin(asyncIndex, settings);
    await run.train(2);
    const { retriever, documents, compute } = run.context;
    const expected = await retriever.encodeTokens('document', documents, compute);
    await run.train(1);
    const folder = await run.save();
    await run.dispose();
    const events: Readonly<Record<string, number>>[] = [];
    const again = await ToyRun.resume(
      within({ onEvent: (_, values) => events.push(values) }),
      settings,
      folder,
    );
    while (events.length === 0) await again.train(1);
    expect(events[0]).toMatchObject({ version: 2, rows: 60 });
    const { table } = again.running as TableMethod;
    const rows = table.read(Array.from({ length: 60 }, (_, document) => table.slotOf(document)));
    expect(rows).toEqual(expected);
    await again.dispose();
  });
});

describe('Ctrl-C', () => {
  it('ends the wait for a worker, and a resumed run waits again', async () => {
    const settings = { options: { refresh: 'async:3:wait' } };
    const expected = await trained(asyncIndex, settings, 10);
    const controller = new AbortController();
    const method = within({
      signal: controller.signal,
      onProgress: ({ stage }) => stage === 'wait for the refresh' && controller.abort(),
    });
    const run = await ToyRun.begin(method, settings);
    await run.train(3);
    process.kill(workers()[0]!, 'SIGSTOP');
    await run.train(3);
    expect(controller.signal.aborted).toBe(true);
    const folder = await run.save();
    await run.dispose();
    const again = await ToyRun.resume(asyncIndex, settings, folder);
    await again.train(4);
    expect(bytesOf(again)).toEqual(expected);
    await again.dispose();
    expect(workers()).toEqual([]);
  });
});
