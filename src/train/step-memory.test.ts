import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { TokenStore } from '../text/token-store.ts';
import { OutOfMemoryError, RuntimeError } from '../util/errors.ts';
import { memoryNotes, type StepSize, withMemoryError } from './step-memory.ts';

const GIB = 2 ** 30;
/** Address space of a run: enough for Node and onnxruntime, and far too little for the step. */
const LIMIT_KIB = 3 * 2 ** 20;

/** Texts of the given numbers of tokens. */
const store = (...lengths: number[]) =>
  TokenStore.of(Int32Array.from(lengths), new Uint16Array(lengths.reduce((a, b) => a + b, 0)));
const size = (more: Partial<StepSize['settings']> = {}, memory: StepSize['memory'] = {}): StepSize => ({
  memory,
  settings: { method: 'in-batch', batchSize: 32, negatives: 0, chunkSize: 32, ...more },
  tokens: { queries: store(3, 9), documents: store(200, 17) },
});

describe('the note of a step that needs more than there is', () => {
  const noted = (available: number, of = size()) => {
    const notes: string[] = [];
    const listener = memoryNotes(
      of,
      (note) => notes.push(note),
      () => available,
    );
    return { notes, listener };
  };

  it('names batch, lengths, need, what is left, and the remedy', () => {
    const { notes, listener } = noted(2 * GIB);
    listener({ program: 'step', bytes: 3 * GIB, moreBytes: 3 * GIB });
    expect(notes).toEqual([
      'batches of 32 queries of up to 9 tokens and documents of up to 200: a step takes about 3.00 GiB of memory besides the ' +
        "weights, and 2.00 GiB are left for it; take gradientCheckpointing: true (a quarter more time), or method: 'grad-cache', which has the same loss, or batchSize: 8, or " +
        'shorten the texts by maxDocTokens',
    ]);
    // A step that is a little larger says nothing new; one that is much larger does.
    listener({ program: 'step', bytes: 3.1 * GIB, moreBytes: 3.1 * GIB });
    expect(notes).toHaveLength(1);
    listener({ program: 'step', bytes: 6 * GIB, moreBytes: 3 * GIB });
    expect(notes[1]).toContain('about 6.00 GiB');
  });

  it('is absent where memory suffices, also for what a step adds to earlier ones', () => {
    const { notes, listener } = noted(2 * GIB);
    listener({ program: 'step', bytes: 1.9 * GIB, moreBytes: 1.9 * GIB });
    listener({ program: 'step', bytes: 3 * GIB, moreBytes: 1.1 * GIB });
    expect(notes).toEqual([]);
  });

  it('adds up the programs of a step, and knows what is left to try', () => {
    const { notes, listener } = noted(
      2 * GIB,
      size({ method: 'grad-cache', chunkSize: 8 }, { gradientCheckpointing: true }),
    );
    listener({ program: 'encode', bytes: GIB, moreBytes: GIB });
    listener({ program: 'backward', bytes: 3 * GIB, moreBytes: 3 * GIB });
    expect(notes[0]).toContain('about 4.00 GiB');
    expect(notes[0]).toContain('take chunkSize: 2, or shorten');
    expect(notes[0]).not.toContain('grad-cache');
  });
});

describe('the error of memory that runs out', () => {
  it('names batch, need and remedy, and leaves other errors alone', async () => {
    const fail = (error: Error) => withMemoryError(size({ negatives: 2 }), () => Promise.reject(error));
    const error = await fail(new OutOfMemoryError('x', { neededBytes: GIB })).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(OutOfMemoryError);
    expect(String(error)).toMatch(
      /memory ran out in training, with batches of 32 queries of up to 9 tokens and documents \(each with 2 negatives\) of up to 200, for which a step takes about 1\.00 GiB besides the weights; .* are available now\n {2}help: take gradientCheckpointing: true \(a quarter more time\), or method: 'grad-cache'/,
    );
    const other = new RuntimeError('x');
    await expect(fail(other)).rejects.toBe(other);
  });

  it.runIf(process.platform === 'linux')(
    'is given by a run that the system refuses memory',
    async () => {
      const rows = Array.from({ length: 600 }, (_, i) =>
        JSON.stringify({
          query: `ask${i}`,
          positive: Array.from({ length: 400 }, (_, j) => `w${(i * j) % 97}`).join(' '),
        }),
      );
      const folder = tempFiles({ 'pairs.jsonl': `${rows.join('\n')}\n` });
      const main = join(fileURLToPath(new URL('../..', import.meta.url)), 'dist', 'cli', 'main.js');
      const argv = [
        'train',
        '--data',
        'pairs.jsonl',
        '--out',
        'run',
        '--model',
        'transformer',
        '--batch-size',
        '512',
      ];
      const sizes = [
        '--hidden',
        '128',
        '--layers',
        '4',
        '--max-doc-tokens',
        '512',
        '--threads',
        '1',
        '--steps',
        '2',
      ];
      const script = `ulimit -v ${LIMIT_KIB}; exec ${[process.execPath, main, ...argv, ...sizes].join(' ')}`;
      const result = await new Promise<{ code: unknown; stderr: string }>((resolve) => {
        execFile('bash', ['-c', script], { cwd: folder }, (error, _, stderr) =>
          resolve({ code: error?.code, stderr }),
        );
      });
      expect(result.stderr).toMatch(
        /a step takes about [\d.]+ GiB of memory besides the weights, and [\d.]+ [GM]iB are left/,
      );
      expect(result.stderr).toMatch(/error: memory ran out in training, with batches of 512 queries/);
      expect(result.stderr).toContain('--method grad-cache');
      expect(result.code).toBe(1);
    },
    120_000,
  );
});
