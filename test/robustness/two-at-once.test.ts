import { cpSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { readCheckpoint } from '../../src/train/checkpoint.ts';
import { tempFiles } from '../temp-files.ts';
import { filesOf, undrift, undriftHere } from './drills.ts';
import { dataFiles, train } from './scenarios.ts';

const whole = process.env.MODE === 'whole';
/** Pairs of processes of each kind. */
const PAIRS = whole ? 40 : 1;

const folder = tempFiles(dataFiles());
beforeAll(async () => {
  expect(await undriftHere(folder, train('begun', '--steps', '2'))).toMatchObject({ code: 0 });
  expect(await undriftHere(folder, train('model'))).toMatchObject({ code: 0 });
});

const LONG = ['--steps', '40', '--eval-every', '10'];
const encode = ['encode', '--model', 'model', '--data', 'data', '--out', 'docs.npy'];

/** Pairs of commands that write to one place. */
const KINDS: readonly { name: string; out: string; of: (seed: number) => readonly string[] }[] = [
  { name: 'train', out: 'run', of: (seed) => train('run', ...LONG, '--seed', String(seed)) },
  {
    name: 'train --overwrite',
    out: 'run',
    of: (seed) => train('run', ...LONG, '--seed', String(seed), '--overwrite'),
  },
  { name: 'train --resume', out: 'run', of: () => ['train', '--out', 'run', '--resume', '--threads', '1'] },
  { name: 'compare', out: 'compared', of: () => ['compare', 'comparison.json'] },
  { name: 'encode', out: 'docs.npy', of: () => encode },
  {
    name: 'mine',
    out: 'mined.jsonl',
    of: () => ['mine', '--model', 'bm25', '--data', 'data', '--out', 'mined.jsonl'],
  },
  { name: 'export', out: 'exported', of: () => ['export', '--model', 'model', '--out', 'exported'] },
  {
    name: 'correct',
    out: 'corrector',
    of: () => [
      'correct',
      '--from',
      'model',
      '--to',
      'begun',
      '--data',
      'data',
      '--corrector',
      'ridge',
      '--out',
      'corrector',
    ],
  },
];

describe('two processes that write to one place', () => {
  it.each(KINDS)(
    '$name: one works, the other names it or comes later',
    { timeout: 3_600_000 },
    async (kind) => {
      const { name, out, of } = kind;
      for (let pair = 0; pair < PAIRS; pair++) {
        for (const each of ['run', 'compared', 'exported', 'corrector'])
          rmSync(join(folder, each), { recursive: true, force: true });
        if (name === 'train --resume')
          cpSync(join(folder, 'begun'), join(folder, 'run'), { recursive: true });
        const delayMs = whole ? (pair * 500) / PAIRS : 0;
        const outcomes = await Promise.all(
          [3, 4].map(async (seed, i) => {
            if (i === 1) await new Promise((done) => setTimeout(done, delayMs));
            return { ...(await undrift(folder, of(seed))), seed };
          }),
        );
        const worked = outcomes.filter(({ code }) => code === 0);
        expect(worked.length, outcomes.map(({ stderr }) => stderr).join('\n')).toBeGreaterThan(0);
        for (const { code, stderr } of outcomes) {
          if (code === 0) continue;
          expect(code).toBe(1);
          expect(stderr).toMatch(
            new RegExp(
              `^error: ${out} (is being written by process ${worked[0]!.pid}, started \\S+Z\\n {2}help: |already holds a run)`,
            ),
          );
        }
        expect(filesOf(folder).filter((file) => /\.tmp|\.old|\.lock/.test(file))).toEqual([]);
        if (!name.startsWith('train')) continue;
        const json = (file: string) => JSON.parse(readFileSync(join(folder, 'run', file), 'utf8'));
        const { settings, fingerprint } = json('settings.json');
        const { data: _, out: __, saveEvery: ___, diagnose: ____, ...identity } = settings;
        await readCheckpoint(join(folder, 'run'), { ...identity, fingerprint });
        if (name !== 'train --resume') expect(worked.map(({ seed }) => seed)).toContain(settings.seed);
      }
    },
  );
});
