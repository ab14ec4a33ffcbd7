import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { permutation, rngKey } from '../src/util/rng.ts';
import { tempFiles } from './temp-files.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const run = promisify(execFile);

/** Makes a document that names three things in one language, and a query with the same three in another. */
const pair = (i: number) => {
  const words = [...permutation(rngKey(5, i, 'words'), 40).subarray(0, 3)];
  return {
    query: words.map((w) => `ask${w}y`).join(' '),
    positive: words.map((w) => `doc${w}x`).join(' '),
  };
};
const lines = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => `${JSON.stringify(pair(from + i))}\n`).join('');
const folder = tempFiles({ 'data/train.jsonl': lines(0, 640), 'data/dev.jsonl': lines(640, 720) });

/** Runs an example in a separate process, with the built package and the toy data. */
async function example(name: string): Promise<string> {
  const tsx = fileURLToPath(import.meta.resolve('tsx'));
  const argv = ['--import', tsx, join(root, 'examples', name), join(folder, 'data'), join(folder, name)];
  return (await run(process.execPath, argv, { cwd: root })).stdout;
}

describe('examples that users copy', () => {
  it.each(['own-loss.ts', 'own-method.ts'])('%s has fewer than 60 lines', (name) => {
    const source = readFileSync(join(root, 'examples', name), 'utf8');
    expect(source.trimEnd().split('\n').length).toBeLessThan(60);
  });

  it('own-loss.ts trains with its loss, beside the in-batch softmax', async () => {
    const stdout = await example('own-loss.ts');
    expect(stdout).toMatch(/^in-batch +nDCG@10 0\.\d{3}\ndecoupled +nDCG@10 0\.\d{3}\n$/);
    const log = readFileSync(join(folder, 'own-loss.ts-decoupled', 'metrics.jsonl'), 'utf8');
    expect(JSON.parse(log.split('\n')[0]!)).toHaveProperty('hardest');
    const card = readFileSync(join(folder, 'own-loss.ts-decoupled', 'model', 'README.md'), 'utf8');
    expect(card).toContain('Decoupled Contrastive Learning (2022)');
  });

  it('own-method.ts trains with its method, its option and its memory', async () => {
    expect(await example('own-method.ts')).toMatch(/^cross-batch-memory: nDCG@10 0\.\d{3} on the dev split/);
    const out = join(folder, 'own-method.ts');
    const { settings } = JSON.parse(readFileSync(join(out, 'settings.json'), 'utf8'));
    expect(settings).toMatchObject({ method: 'cross-batch-memory', memorySize: 512 });
    const log = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
    const trained = log.map((line) => JSON.parse(line)).filter(({ kind }) => kind === 'train');
    expect(trained.at(-1).memoryRows).toBeGreaterThan(trained[0].memoryRows);
    expect(existsSync(join(out, 'checkpoint', 'method.safetensors'))).toBe(true);
  });
});
