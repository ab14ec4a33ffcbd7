/**
 * Process of a `BackgroundEncoder`, started with the folder of its files. It compiles an encoder once and
 * embeds texts with the weights of each job. When the other end of its channel closes, it removes the files
 * and exits.
 */
import { rmSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { setPriority } from 'node:os';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { programOf } from '../../runtime/program-message.ts';
import { TokenStore } from '../../text/token-store.ts';
import { readAt } from '../../util/files.ts';
import { encodeRows, type RowEncoder } from '../retriever/encode-rows.ts';
import { encoderFeeds } from '../retriever/encoder-inputs.ts';
import {
  type EncodeJob,
  type EncoderAnswer,
  type EncoderRequest,
  type EncoderStart,
  jobFile,
  withFile,
} from './encode-job.ts';

/** Shortest time between two progress messages: passes of a static encoder take only a few milliseconds. */
const PROGRESS_MS = 100;

process.title = 'undrift encoder';
const folder = process.argv[2]!;
let dimension = 0;
let encoder: Omit<RowEncoder, 'weights'> | undefined;

const leave = () => {
  rmSync(folder, { recursive: true, force: true });
  process.exit();
};
const answer = (message: EncoderAnswer) => process.send!(message, () => {});

// The training process decides what happens at Ctrl-C and at the end of a terminal, so this one ignores them.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
process.on('disconnect', leave);
let last = Promise.resolve();
process.on('message', (request: EncoderRequest) => {
  last = last
    .then(() => (request.kind === 'start' ? prepare(request) : embed(request)))
    .catch((error: unknown) => {
      answer({ kind: 'failed', reason: error instanceof Error ? error.message : String(error) });
    });
});
if (!process.connected) leave();

async function prepare(request: EncoderStart): Promise<void> {
  dimension = request.dimension;
  try {
    // Set before threads exist, because threads inherit the priority.
    setPriority(request.niceness);
  } catch {
    // Some systems forbid this. The cores are then shared evenly.
  }
  const program = await programOf(request.program, request.compute);
  encoder = { program, feeds: encoderFeeds(program, request.inputs), padId: request.padId };
  answer({ kind: 'ready' });
}

async function embed(job: EncodeJob): Promise<void> {
  const file = (part: 'weights' | 'tokens' | 'embeddings') => jobFile(folder, job.id, part);
  const weights = await withFile(file('weights'), 'r', (from) => readWeights(from, file('weights'), job));
  await withFile(file('tokens'), 'r', (tokens) =>
    withFile(file('embeddings'), 'r+', async (embeddings) => {
      let lastMs = performance.now();
      for await (const { first, store } of blocks(tokens, file('tokens'), job)) {
        const rows = Uint32Array.from({ length: store.rows }, (_, row) => row);
        const out = new Float32Array(store.rows * dimension);
        await encodeRows({ ...encoder!, weights }, { store, rows }, out, (done) => {
          const nowMs = performance.now();
          if (nowMs - lastMs < PROGRESS_MS) return;
          lastMs = nowMs;
          answer({ kind: 'progress', id: job.id, rows: first + done, written: first });
        });
        const position = first * dimension * out.BYTES_PER_ELEMENT;
        for (let done = 0; done < out.byteLength; ) {
          const { bytesWritten } = await embeddings.write(
            new Uint8Array(out.buffer),
            done,
            out.byteLength - done,
            position + done,
          );
          done += bytesWritten;
        }
        const written = first + store.rows;
        answer({ kind: 'progress', id: job.id, rows: written, written });
      }
    }),
  );
  answer({ kind: 'done', id: job.id });
}

async function readWeights(
  file: FileHandle,
  path: string,
  { weights }: EncodeJob,
): Promise<Record<string, HostTensor>> {
  const read: Record<string, HostTensor> = {};
  let position = 0;
  for (const { name, dims } of weights) {
    const bytes = dims.reduce((product, size) => product * size, 4);
    const { buffer } = await readAt(file, path, position, bytes);
    read[name] = hostTensor('f32', dims, new Float32Array(buffer));
    position += bytes;
  }
  return read;
}

/** Yields the texts of a job that are not embedded yet, one block at a time. */
async function* blocks(
  file: FileHandle,
  path: string,
  { rows, ends, done, tokens }: EncodeJob,
): AsyncGenerator<{ first: number; store: TokenStore }> {
  const lengths = new Int32Array((await readAt(file, path, 0, rows * 4)).buffer);
  const Tokens = tokens === 'u16' ? Uint16Array : Int32Array;
  let position = lengths.byteLength;
  let first = 0;
  for (const end of ends) {
    const own = lengths.subarray(first, end);
    const bytes = own.reduce((sum, length) => sum + length, 0) * Tokens.BYTES_PER_ELEMENT;
    if (first >= done) {
      const ids = new Tokens((await readAt(file, path, position, bytes)).buffer);
      yield { first, store: TokenStore.of(own, ids) };
    }
    position += bytes;
    first = end;
  }
}
