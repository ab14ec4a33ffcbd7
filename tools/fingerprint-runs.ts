import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { permutation, rngKey } from '../src/util/rng.ts';
import { swiftShaderEnvironment } from '../test/swiftshader.ts';

/*
 * Trains short runs of every method and of options that affect many parts of the code. Prints the SHA-256 of
 * the output of each run: the weights of the model, and the log without times.
 *
 * A change that should not affect any result prints the same table as before:
 *
 *     npx tsx tools/fingerprint-runs.ts --out before.json              # at the old commit, after npm run build
 *     npx tsx tools/fingerprint-runs.ts --against before.json          # at the new one; exit code 1 if a run differs
 *
 * Compare only on the same machine: the last bits depend on the processor and the number of cores.
 */

interface Run {
  readonly name: string;
  readonly arguments: readonly string[];
  /** Environment of the run; undefined if this machine cannot provide it. */
  readonly environment?: () => Record<string, string> | undefined;
  /** Step at which the run is killed, once its checkpoint has reached that step. The run is then resumed. */
  readonly killedAtStep?: number;
}

interface Fingerprint {
  readonly model: string;
  readonly log: string;
}

const SMALL = ['--hidden', '16', '--vocab-size', '128', '--batch-size', '8', '--threads', '1'];
const STATIC = [...SMALL, '--data', 'pairs', '--steps', '24', '--eval-every', '12', '--negatives', '0'];
const TRANSFORMER = [
  ...STATIC,
  '--model',
  'transformer',
  '--layers',
  '1',
  '--heads',
  '2',
  '--dropout',
  '0.1',
];
const method = (id: string, ...options: string[]): Run => ({
  name: id,
  arguments: ['--method', id, ...STATIC, ...options],
});

const RUNS: readonly Run[] = [
  { name: 'in-batch', arguments: [...TRANSFORMER, '--method', 'in-batch', '--accumulate', '2'] },
  method('grad-cache', '--chunk-size', '3', '--learn-temperature'),
  method('bm25-negatives', '--rank-to', '40'),
  method('hard-negatives', '--mine-from', 'self', '--mine-every', '10', '--rank-to', '40'),
  method('momentum-queue', '--cache-size', '64', '--diagnose', '12'),
  method('snapshot', '--cache-size', '64', '--snapshot-every', '7'),
  method('async-index', '--refresh', 'async:5:wait', '--rank-to', '40', '--diagnose', '12'),
  { name: 'negative-cache', arguments: [...TRANSFORMER, '--method', 'negative-cache', '--cache-size', '64'] },
  method('exhaustive', '--refresh', 'every:7', '--uniform-samples', '2', '--loss', 'truncated'),
  method('corrector', '--refresh', 'auto:kl:0.01', '--diagnose', '12', '--corrected-rows', '60'),
  {
    name: 'crop',
    arguments: [...SMALL, '--method', 'crop', '--data', 'pairs', '--steps', '24', '--queue-size', '32'],
  },
  { name: 'distill', arguments: [...SMALL, '--method', 'distill', '--data', 'judged', '--steps', '24'] },
  {
    name: 'scored-pairs',
    arguments: [...SMALL, '--method', 'scored-pairs', '--data', 'scored', '--steps', '24'],
  },
  {
    name: 'lora',
    arguments: [
      '--method',
      'in-batch',
      '--batch-size',
      '8',
      '--threads',
      '1',
      '--data',
      'pairs',
      '--steps',
      '24',
      '--model',
      'in-batch',
      '--lora',
      '4',
    ],
  },
  method(
    'matryoshka',
    '--matryoshka',
    '8,4',
    '--method',
    'in-batch',
    '--towers',
    'separate',
    '--projection',
    '12',
  ),
  method('f16-cache', '--method', 'negative-cache', '--cache-storage', 'f16', '--refresh', 'fraction:0.1'),
  {
    name: 'resumed-in-mid-refresh',
    arguments: [
      ...[
        '--method',
        'async-index',
        ...SMALL,
        '--data',
        'pairs',
        '--steps',
        '100',
        '--refresh',
        'async:20:wait',
      ],
      ...['--rank-to', '40', '--eval-every', '100', '--save-every', '10'],
    ],
    killedAtStep: 30,
  },
  {
    name: 'webgpu',
    arguments: [...TRANSFORMER, '--method', 'negative-cache', '--device', 'webgpu', '--steps', '8'],
    environment: swiftShaderEnvironment,
  },
];

/**
 * Writes 120 documents of three "words" out of 40. Each query has the words of its document in another
 * language, and one of them in the same language.
 */
function writeData(folder: string): void {
  const rows = Array.from({ length: 120 }, (_, i) => [
    ...permutation(rngKey(5, i, 'words'), 40).subarray(0, 3),
  ]);
  const query = (i: number) => `${rows[i]!.map((word) => `ask${word}y`).join(' ')} doc${rows[i]![0]}x`;
  const document = (i: number) =>
    `${rows[i]!.map((word) => `doc${word}x`).join(' ')} and more of it. The end of ${i}.`;
  const others = (i: number) => [7, 31, 64, 99].map((step) => (i + step) % rows.length);
  const common = (i: number, j: number) => rows[i]!.filter((word) => rows[j]!.includes(word)).length;
  const each = <T>(make: (i: number) => T) => rows.map((_, i) => make(i));
  const qrels = (keep: (i: number) => boolean) =>
    `query-id\tcorpus-id\tscore\n${rows.flatMap((_, i) => (keep(i) ? `q${i}\td${i}\t1\n` : [])).join('')}`;
  const judged = each((i) => ({
    query: query(i),
    positive: document(i),
    negative: others(i).map(document),
    scores: [10, ...others(i).map((j) => 3 * common(i, j))],
  }));
  const scored = each((i) =>
    [i, ...others(i)].map((j) => ({ sentence1: query(i), sentence2: document(j), score: common(i, j) / 3 })),
  ).flat();
  const files: Record<string, string | readonly unknown[]> = {
    'pairs/corpus.jsonl': each((i) => ({ _id: `d${i}`, text: document(i) })),
    'pairs/queries.jsonl': each((i) => ({ _id: `q${i}`, text: query(i) })),
    'pairs/qrels/train.tsv': qrels((i) => i % 10 > 0),
    'pairs/qrels/dev.tsv': qrels((i) => i % 10 === 0),
    'judged/train.jsonl': judged.slice(0, 100),
    'judged/dev.jsonl': judged.slice(100),
    'scored/train.jsonl': scored.slice(0, 500),
    'scored/dev.jsonl': scored.slice(500),
  };
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    const text =
      typeof content === 'string' ? content : content.map((row) => `${JSON.stringify(row)}\n`).join('');
    writeFileSync(join(folder, name), text);
  }
}

/**
 * Runs a command of the build. With `killAt`, kills it as soon as the checkpoint of the run has reached that
 * step.
 */
async function undrift(
  cli: string,
  argv: readonly string[],
  options: { folder: string; environment: Record<string, string>; killAt?: { out: string; step: number } },
): Promise<void> {
  const { folder, environment, killAt } = options;
  const child = spawn(process.execPath, [cli, ...argv], {
    cwd: folder,
    env: { ...process.env, ...environment },
  });
  let errors = '';
  child.stderr.on('data', (text) => {
    errors += text;
  });
  child.stdout.resume();
  const state = killAt && join(folder, killAt.out, 'checkpoint', 'state.json');
  const watch =
    killAt &&
    setInterval(() => {
      if (!existsSync(state!)) return;
      try {
        const { step } = JSON.parse(readFileSync(state!, 'utf8')) as { step: number };
        if (step >= killAt.step) child.kill('SIGKILL');
      } catch {
        // The folder is being replaced at this moment.
      }
    }, 2);
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  clearInterval(watch);
  if (killAt ? code !== null : code !== 0) {
    const fault = killAt ? 'ended before it could be killed' : `failed with exit code ${code}`;
    throw new Error(`undrift ${argv.join(' ')} ${fault}\n${errors}`);
  }
}

/** Returns the lines of a log without values that depend on the clock. */
function logWithoutTimes(file: string): string {
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  const isTime = (key: string) => /Ms$|PerSecond$/.test(key);
  return lines
    .map((line) => {
      const entries = Object.entries(JSON.parse(line) as object).filter(([key]) => !isTime(key));
      return `${JSON.stringify(Object.fromEntries(entries))}\n`;
    })
    .join('');
}

/** Concatenates all weight files of a model folder. A model with two towers has one file for each. */
const weightFiles = (folder: string): Buffer =>
  Buffer.concat(
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('model.safetensors'))
      .sort()
      .map((name) => readFileSync(join(folder, name))),
  );

const sha256 = (content: string | Buffer): string => createHash('sha256').update(content).digest('hex');

async function fingerprint(cli: string, folder: string, run: Run): Promise<Fingerprint | undefined> {
  const environment = run.environment ? run.environment() : {};
  if (!environment) return undefined;
  const out = run.name;
  const argv = ['train', ...run.arguments, '--out', out, '--json', '--quiet'];
  const { killedAtStep } = run;
  if (killedAtStep === undefined) await undrift(cli, argv, { folder, environment });
  else {
    await undrift(cli, argv, { folder, environment, killAt: { out, step: killedAtStep } });
    const resume = ['train', '--out', out, '--resume', '--threads', '1', '--json', '--quiet'];
    await undrift(cli, resume, { folder, environment });
  }
  return {
    model: sha256(weightFiles(join(folder, out, 'model'))),
    log: sha256(logWithoutTimes(join(folder, out, 'metrics.jsonl'))),
  };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      cli: { type: 'string', default: fileURLToPath(new URL('../dist/cli/main.js', import.meta.url)) },
      out: { type: 'string' },
      against: { type: 'string' },
      only: { type: 'string' },
      keep: { type: 'string' },
    },
  });
  const before = values.against
    ? (JSON.parse(readFileSync(values.against, 'utf8')) as Record<string, Fingerprint>)
    : undefined;
  const folder = values.keep ?? mkdtempSync(join(tmpdir(), 'undrift-fingerprints-'));
  mkdirSync(folder, { recursive: true });
  const found: Record<string, Fingerprint> = {};
  let differing = 0;
  try {
    writeData(folder);
    for (const run of RUNS) {
      if (values.only !== undefined && !values.only.split(',').includes(run.name)) continue;
      const now = await fingerprint(values.cli, folder, run);
      if (!now) {
        console.log(`${run.name.padEnd(24)} not made: this machine has no software GPU`);
        continue;
      }
      found[run.name] = now;
      const then = before?.[run.name];
      const verdict = !then ? '' : then.model === now.model && then.log === now.log ? '  same' : '  DIFFERS';
      if (verdict === '  DIFFERS') differing++;
      console.log(`${run.name.padEnd(24)} ${now.model.slice(0, 16)}  ${now.log.slice(0, 16)}${verdict}`);
    }
  } finally {
    if (values.keep === undefined) rmSync(folder, { recursive: true, force: true });
  }
  if (values.out) writeFileSync(values.out, `${JSON.stringify(found, null, 2)}\n`);
  if (differing > 0) {
    console.log(`${differing} runs differ`);
    process.exitCode = 1;
  }
}

await main();
