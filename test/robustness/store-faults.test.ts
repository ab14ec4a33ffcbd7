import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { saveRetriever } from '../../src/models/folder/model-folder.ts';
import { smallRetriever } from '../small-models.ts';
import { tempFiles } from '../temp-files.ts';
import { undrift } from './drills.ts';

const lines = (prefix: string, count: number, width = 3) =>
  Array.from({ length: count }, (_, i) => {
    const text = Array.from({ length: width }, (_, w) => `word${(i * 7919 + w * 104729) % 99991}`).join(' ');
    return JSON.stringify({ _id: `${prefix}${i}`, text: `${prefix} ${text}` });
  }).join('\n');

const folder = tempFiles({
  'a.jsonl': lines('a', 40),
  'b.jsonl': lines('b', 40),
  'big.jsonl': lines('c', 12_000, 12),
});
const at = (...names: string[]) => join(folder, ...names);
const index = (store: string, corpus: string, ...more: string[]) =>
  undrift(folder, ['index', '--model', 'model', '--corpus', corpus, '--store', store, '--threads', '1', ...more]);

/** Runs a command and returns its exit code, its output and its errors. */
function run(words: readonly string[], { prefix = [], env = {} }: { prefix?: string[]; env?: object } = {}) {
  const main = new URL('../../dist/cli/main.js', import.meta.url).pathname;
  const [command, ...rest] = [...prefix, process.execPath, main, ...words];
  const { status, stdout, stderr } = spawnSync(command!, rest, {
    cwd: folder,
    env: { ...process.env, ...env },
    encoding: 'utf8',
  });
  return { code: status, stdout, stderr };
}

/** Number of passages that the store has, and of those that BM25 finds by a word of all of their kind. */
function found(store: string): { rows: number; vectors: number } {
  const { code, stdout, stderr } = run(['status', '--store', store, '--json']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const { passages, spaces } = JSON.parse(stdout);
  return { rows: passages, vectors: spaces[0].vectors };
}

beforeAll(async () => {
  await saveRetriever(at('model'), smallRetriever({ kind: 'static' }), { onnx: false });
  expect(await index('store', 'a.jsonl')).toMatchObject({ code: 0 });
});
