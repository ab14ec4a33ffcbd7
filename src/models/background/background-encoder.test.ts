import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { tempFiles } from '../../../test/temp-files.ts';
import { hostTensor } from '../../runtime/host-tensor.ts';
import { Tokenizer } from '../../text/tokenizer.ts';
import { trainVocabulary } from '../../text/train-vocabulary.ts';
import { permutation, rngKey } from '../../util/rng.ts';
import { createRetriever, type NewRetrieverOptions } from '../retriever/create-retriever.ts';
import type { Retriever, Weights } from '../retriever/retriever.ts';
import { BackgroundEncoder, type BackgroundOptions } from './background-encoder.ts';

const TEXTS = 200;
const text = (row: number): string =>
  Array.from(permutation(rngKey(3, row, 'words'), 40).subarray(0, 1 + (row % 9)), (word) => `w${word}x`).join(
    ' ',
  );
const tokenizer = Tokenizer.fromJson(
  trainVocabulary(
    Array.from({ length: TEXTS }, (_, row) => text(row)),
    { model: 'wordpiece', vocabSize: 90, minFrequency: 1, alphabetLimit: 40 },
  ),
);
const make = (options: Partial<NewRetrieverOptions> = {}) =>
  createRetriever({ kind: 'static', tokenizer, hidden: 16, maxDocTokens: 24, seed: 2, ...options });
const bert = {
  kind: 'transformer',
  layers: 1,
  heads: 2,
  intermediate: 32,
  towers: 'separate',
} as const;

const all = Uint32Array.from({ length: TEXTS }, (_, row) => row);
const copyOf = (weights: Weights): Weights =>
  Object.fromEntries(
    Object.entries(weights).map(([name, { dims, data }]) => [name, hostTensor('f32', dims, data.slice())]),
  );

/** A background encoder, and what is left of the folder that it works in. */
function encoderOf(retriever: Retriever, options: Partial<BackgroundOptions> = {}) {
  const folder = tempFiles({});
  const store = retriever.tokenize('document', TEXTS, text);
  const encoder = new BackgroundEncoder(retriever, 'document', store, {
    folder,
    blockSize: { rows: 30, tokens: 200_000 },
    threads: 1,
    ...options,
  });
  encoders.push(encoder);
  /** What `Retriever.encodeTokens` gives, a block at a time. */
  const here = async (rows: Uint32Array, blockRows = 30) => {
    const made: number[] = [];
    for (let first = 0; first < rows.length; first += blockRows) {
      const { threads = 1 } = options;
      const block = rows.subarray(first, first + blockRows);
      made.push(...(await retriever.encodeTokens('document', store, { rows: block, threads })));
    }
    return made;
  };
  const files = () => readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return { encoder, here, folder, files };
}
const encoders: BackgroundEncoder[] = [];
afterEach(async () => {
  for (const encoder of encoders.splice(0)) await encoder.dispose();
});

async function embeddingsOf(job: Awaited<ReturnType<BackgroundEncoder['encode']>>): Promise<number[]> {
  const made: number[] = [];
  await job.read((first, embeddings) => {
    expect(made.length % embeddings.length === 0 || made.length > embeddings.length).toBe(true);
    expect(first).toBe(made.length / 16);
    made.push(...embeddings);
  });
  return made;
}
const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe('an encoder in a process of its own', () => {
  it.each([
    ['static', {}, 1],
    ['static, more threads', {}, 3],
    ['transformer, two towers', bert, 2],
  ])(
    'makes the bits that the retriever makes, with the weights of the moment: %s',
    async (_, model, threads) => {
      const retriever = make(model);
      const { encoder, here } = encoderOf(retriever, { threads });
      const expected = await here(all);
      const job = await encoder.encode(retriever.sideWeights('document'), all);
      for (const { data } of Object.values(retriever.weights)) (data as Float32Array).fill(0.5);
      await job.settled;
      expect([job.outcome, job.done, job.written, job.failures]).toEqual(['done', TEXTS, TEXTS, 0]);
      expect(await embeddingsOf(job)).toEqual(expected);

      // The same process, other weights, rows in an order of their own.
      const rows = Uint32Array.from(permutation(rngKey(1, 0, 'rows'), TEXTS).subarray(0, 71));
      const { pid } = encoder;
      const again = await encoder.encode(retriever.sideWeights('document'), rows);
      await again.settled;
      expect(await embeddingsOf(again)).toEqual(await here(rows));
      expect(encoder.pid).toBe(pid);
    },
  );

  it('embeds no rows', async () => {
    const { encoder } = encoderOf(make());
    const job = await encoder.encode(make().weights, new Uint32Array());
    await job.settled;
    expect([job.outcome, await embeddingsOf(job)]).toEqual(['done', []]);
  });

  it('replaces a process that was killed, and goes on after the last block', async () => {
    const retriever = make(bert);
    const failures: unknown[] = [];
    let killed = 0;
    const { encoder, here } = encoderOf(retriever, {
      blockSize: { rows: 1, tokens: 200_000 },
      onProgress: ({ done }) => {
        if (killed > 0 || done < 20) return;
        killed = encoder.pid!;
        process.kill(killed, 'SIGKILL');
      },
      onFailure: (failure) => failures.push(failure),
    });
    const job = await encoder.encode(retriever.weights, all);
    await job.settled;
    expect(failures).toMatchObject([
      { reason: 'was killed (SIGKILL)', rows: TEXTS, failures: 1, willRetry: true },
    ]);
    expect([job.outcome, job.failures, isAlive(killed)]).toEqual(['done', 1, false]);
    expect(encoder.pid).not.toBe(killed);
    expect(await embeddingsOf(job)).toEqual(await here(all, 1));
  });

  it('replaces a process that hangs', async () => {
    const retriever = make();
    const failures: { reason: string }[] = [];
    let stopped = 0;
    const { encoder, here } = encoderOf(retriever, {
      blockSize: { rows: 1, tokens: 200_000 },
      limits: { silenceMs: 2000 },
      onProgress: () => {
        if (stopped > 0) return;
        stopped = encoder.pid!;
        process.kill(stopped, 'SIGSTOP');
      },
      onFailure: (failure) => failures.push(failure),
    });
    const job = await encoder.encode(retriever.weights, all);
    await job.settled;
    expect(failures.map(({ reason }) => reason)).toEqual([
      expect.stringMatching(/^said nothing for [\d.]+ s$/),
    ]);
    expect(await embeddingsOf(job)).toEqual(await here(all, 1));
    expect([job.outcome, job.failures, isAlive(stopped)]).toEqual(['done', 1, false]);
  });

  it('does not count time in which this process is blocked as a hang', async () => {
    const retriever = make(bert);
    const { encoder } = encoderOf(retriever, { limits: { silenceMs: 1000 } });
    const job = await encoder.encode(retriever.weights, all);
    while (job.longestPassMs === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    // Blocks this process, as a native run does.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2500);
    await job.settled;
    expect([job.outcome, job.failures]).toEqual(['done', 0]);
  });

  it('gives up a job after several failures, and accepts the next', async () => {
    const retriever = make();
    const retries: boolean[] = [];
    const { encoder, here, folder, files } = encoderOf(retriever, {
      limits: { failures: 2 },
      onFailure: ({ willRetry }) => retries.push(willRetry),
    });
    const job = await encoder.encode(retriever.weights, all);
    rmSync(join(folder, files().find((name) => name.endsWith('tokens'))!));
    await job.settled;
    expect([job.outcome, retries]).toEqual(['failed', [true, false]]);
    const next = await encoder.encode(retriever.weights, all);
    await next.settled;
    expect(await embeddingsOf(next)).toEqual(await here(all));
  });

  it('reports errors of the runtime, and reasons why the process cannot start', async () => {
    const retriever = make();
    const reasons: string[] = [];
    const { encoder } = encoderOf(retriever, {
      limits: { failures: 1 },
      onFailure: ({ reason }) => reasons.push(reason),
    });
    const damaged = copyOf(retriever.weights);
    const [name] = Object.keys(damaged);
    const job = await encoder.encode(
      { ...damaged, [name!]: hostTensor('f32', [1], new Float32Array(1)) },
      all,
    );
    await job.settled;
    expect(reasons).toEqual([expect.stringMatching(/^failed: .*encoder\/embedding\.weight/)]);
    const { encoder: elsewhere } = encoderOf(retriever, {
      device: 'cuda',
      limits: { failures: 1 },
      onFailure: ({ reason }) => reasons.push(reason),
    });
    await (await elsewhere.encode(retriever.weights, all)).settled;
    expect(reasons[1]).toMatch(/^failed: .*could not be loaded on cuda/);
  });

  it('leaves neither a process nor a file behind, even if it is working', async () => {
    const retriever = make(bert);
    const { encoder, files } = encoderOf(retriever);
    const job = await encoder.encode(retriever.weights, all);
    const { pid } = encoder;
    expect(files()).toHaveLength(4);
    await encoder.dispose();
    await job.settled;
    expect([job.outcome, isAlive(pid!), files()]).toEqual(['failed', false, []]);
  });
});
