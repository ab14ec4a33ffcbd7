import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { readSafetensors, writeSafetensors } from '../io/safetensors.ts';
import { lockInside, takeLock } from '../util/lock.ts';
import type { TrainOptions } from './settings.ts';
import { trainRetriever } from './train-retriever.ts';

const pairs = Array.from({ length: 24 }, (_, i) => ({
  query: `ask ${i}`,
  positive: `answer ${i} of ${i % 5}`,
}));
const files = tempFiles({ 'pairs.jsonl': pairs.map((pair) => `${JSON.stringify(pair)}\n`).join('') });
const data = join(files, 'pairs.jsonl');
const at = (out: string): string => join(files, out);
const options = (out: string, more: Partial<TrainOptions> = {}) => ({
  data,
  out: at(out),
  batchSize: 4,
  steps: 4,
  hidden: 8,
  vocabSize: 64,
  evalSplit: 'none',
  threads: 1,
  ...more,
});
const model = (out: string): Buffer => readFileSync(join(at(out), 'model/model.safetensors'));

beforeAll(async () => {
  await trainRetriever(options('whole'));
});

describe('a folder that a killed process was setting up', () => {
  const RESULT = ['checkpoint', 'metrics.jsonl', 'model', 'settings.json', 'tensorboard', 'tokenizer.json'];
  const settings = () => readFileSync(join(at('whole'), 'settings.json'));

  /** Folders as kills leave them, by name: their content. */
  const LEFT: Record<string, Record<string, () => string | Buffer>> = {
    'nothing but the folder': {},
    'a half-written settings.json': { 'settings.json.12ab34cd.tmp': () => '{' },
    'a lock': { '.lock': () => '{}' },
    'settings alone': { 'settings.json': settings },
    'a beginning set-up': { 'starting.json': settings, '.lock': () => '' },
    'an earlier run whose removal had begun': {
      'starting.json': settings,
      'tokenizer.json': () => '{}',
      'checkpoint/state.json': () => '{}',
      'model/undrift.json': () => '{}',
    },
    'a set-up without its last rename': {
      'starting.json': settings,
      'tokenizer.json': () => readFileSync(join(at('whole'), 'tokenizer.json')),
    },
    'a scratch folder of encoding': { 'refresh/job': () => '' },
  };

  for (const how of ['plain', 'resume', 'overwrite'] as const) {
    // Some of them wait a second for a lock that another process may be writing.
    it.concurrent.each(Object.keys(LEFT))(`is completed ${how}: %s`, async (name) => {
      if (name === 'settings alone' && how === 'plain') return; // that is a run, which may be resumed
      const out = `left ${how} ${name}`;
      mkdirSync(at(out));
      for (const [file, content] of Object.entries(LEFT[name]!)) {
        mkdirSync(join(at(out), file, '..'), { recursive: true });
        writeFileSync(join(at(out), file), content());
      }
      await trainRetriever({ ...options(out), ...(how !== 'plain' && { [how]: true }) });
      expect(model(out).equals(model('whole'))).toBe(true);
      expect(readdirSync(at(out)).sort()).toEqual(RESULT);
    });
  }

  it('keeps the earlier run where the new one had not begun to remove it', async () => {
    cpSync(at('whole'), at('kept'), { recursive: true });
    writeFileSync(join(at('kept'), 'starting.json'), settings());
    await expect(trainRetriever(options('kept'))).rejects.toThrow(/already holds a run/);
    await trainRetriever({ ...options('kept'), resume: true });
    expect(existsSync(join(at('kept'), 'starting.json'))).toBe(false);
  });
});

it('replaces a run that has lost its settings only when asked to', async () => {
  cpSync(at('whole'), at('lost'), { recursive: true });
  rmSync(join(at('lost'), 'settings.json'));
  await expect(trainRetriever(options('lost'))).rejects.toThrow(
    /holds \S+, a part of a run that has lost its settings\.json\n.*overwrite: true/,
  );
  await expect(trainRetriever({ ...options('lost'), resume: true })).rejects.toThrow(/no run to resume/);
  await trainRetriever({ ...options('lost'), overwrite: true });
  expect(model('lost').equals(model('whole'))).toBe(true);
});

it.each(['scores', 'reader-scores'])('replaces a run with a folder %s, which stays', async (scores) => {
  cpSync(at('whole'), at(scores), { recursive: true });
  mkdirSync(join(at(scores), scores));
  await trainRetriever({ ...options(scores), overwrite: true });
  expect(existsSync(join(at(scores), scores))).toBe(true);
  expect(model(scores).equals(model('whole'))).toBe(true);
});

it('cleans what a kill left, and gives a run its tokenizer', async () => {
  cpSync(at('whole'), at('untidy'), { recursive: true });
  const left = ['checkpoint.old', 'checkpoint.tmp', 'model.old', 'metrics.jsonl.12ab34cd.tmp'];
  for (const name of left) mkdirSync(join(at('untidy'), name));
  writeFileSync(join(at('untidy'), 'starting.json'), '');
  rmSync(join(at('untidy'), 'tokenizer.json'));
  await trainRetriever({ ...options('untidy'), resume: true });
  expect(readdirSync(at('untidy')).sort()).toEqual(readdirSync(at('whole')).sort());
  expect(readFileSync(join(at('untidy'), 'tokenizer.json'))).toEqual(
    readFileSync(join(at('whole'), 'tokenizer.json')),
  );
});

it('refuses a folder that another process, or another call, trains in', async () => {
  const lock = await takeLock(lockInside(at('taken')));
  for (const how of [{}, { resume: true }, { overwrite: true }]) {
    await expect(trainRetriever({ ...options('taken'), ...how })).rejects.toThrow(
      new RegExp(`taken is being written by this process \\(${process.pid}\\), started 20`),
    );
  }
  await lock.release();
  const two = await Promise.allSettled([
    trainRetriever(options('twice', { seed: 3 })),
    trainRetriever(options('twice', { seed: 4 })),
  ]);
  expect(two.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
});

it('ends with an error when its folder is removed, and does not make it again', async () => {
  const removed = trainRetriever(options('removed', { steps: 8, saveEvery: 4 }), {
    onStep: ({ step }) => {
      if (step === 6) rmSync(at('removed'), { recursive: true });
    },
  });
  await expect(removed).rejects.toThrow(/removed was removed or renamed while this process was writing it/);
  expect(existsSync(at('removed'))).toBe(false);
});

describe('a resumed run', () => {
  const copyOf = (out: string) => {
    rmSync(at(out), { recursive: true, force: true });
    cpSync(at('whole'), at(out), { recursive: true });
  };
  const resumed = () => trainRetriever({ ...options('copy'), resume: true });
  const inCopy = (file: string) => join(at('copy'), file);

  it('refuses settings that were edited', async () => {
    copyOf('copy');
    const text = readFileSync(inCopy('settings.json'), 'utf8');
    writeFileSync(inCopy('settings.json'), text.replace('"weightDecay": 0.01', '"weightDecay": 0.5'));
    await expect(trainRetriever({ ...options('copy', { weightDecay: 0.5 }), resume: true })).rejects.toThrow(
      /checkpoint in .*copy is that of another run\n {2}weightDecay: 0\.01 in the checkpoint, 0\.5 in the run/,
    );
  });

  it('goes on from a checkpoint of an early version with a note, and checks what can be checked', async () => {
    const early = () => {
      copyOf('copy');
      rmSync(inCopy('checkpoint/manifest.json'));
      const { format: _, ...state } = JSON.parse(readFileSync(inCopy('checkpoint/state.json'), 'utf8'));
      writeFileSync(inCopy('checkpoint/state.json'), JSON.stringify(state));
      return state;
    };
    early();
    const notes: string[] = [];
    await trainRetriever({ ...options('copy'), resume: true }, { onNote: (note) => notes.push(note) });
    expect(notes.join()).toMatch(/written by an earlier version, without digests/);
    expect(model('copy').equals(model('whole'))).toBe(true);

    const state = early();
    writeFileSync(inCopy('checkpoint/state.json'), JSON.stringify({ ...state, step: 1000 }));
    await expect(resumed()).rejects.toThrow(/state\.json: step 1000 is after the last step 4 of the run/);

    early();
    const file = inCopy('checkpoint/parameters.safetensors');
    const { tensors } = await readSafetensors(file);
    const [name, tensor] = Object.entries(tensors)[0]!;
    const integers = new Int32Array(tensor.data.length);
    await writeSafetensors(file, { ...tensors, [name]: { ...tensor, dtype: 'i32', data: integers } });
    await expect(resumed()).rejects.toThrow(
      new RegExp(`the tensor "${name}" of the checkpoint is i32, not f32`),
    );
  });
});

it('two processes that begin a run at once: one trains, the other names it', {
  timeout: 60_000,
}, async () => {
  const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
  const flags = ['--data', data, '--out', at('race'), '--batch-size', '4', '--steps', '40', '--hidden', '8'];
  const runs = ['3', '4'].map((seed) => {
    const child = spawn(process.execPath, [
      main,
      'train',
      ...flags,
      '--vocab-size',
      '64',
      '--seed',
      seed,
      '--quiet',
    ]);
    let error = '';
    child.stderr.on('data', (chunk) => {
      error += chunk;
    });
    return once(child, 'exit').then(([code]) => ({ code, error, pid: child.pid, seed: Number(seed) }));
  });
  const [first, second] = (await Promise.all(runs)).sort((a, b) => a.code - b.code);
  expect([first!.code, second!.code], second!.error).toEqual([0, 1]);
  expect(second!.error).toMatch(
    new RegExp(`is being written by process ${first!.pid}, started|already holds a run`),
  );
  const read = (file: string) => JSON.parse(readFileSync(join(at('race'), file), 'utf8'));
  expect(read('settings.json').settings.seed).toBe(first!.seed);
  expect(read('checkpoint/manifest.json').run.seed).toBe(first!.seed);
});
