/**
 * Kills `undrift train --refresh async:n:wait --cluster` at random moments, while workers come and go, and resumes it:
 *
 *     npm run build && npx tsx test/robustness/cluster-training.ts [--rounds 20] [--seed 1]
 *
 * Each round trains in a folder of its own. It fails unless the model that comes out has the bytes of one that was trained without a cluster
 * and without a kill.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { readEventLog } from '../../src/train/event-log.ts';
import { permutation, rngKey, uniform } from '../../src/util/rng.ts';
import { memoryFolder } from '../memory-folder.ts';
import { startNats } from '../nats-server.ts';
import { startUndrift, type UndriftProcess } from '../undrift-process.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '20' }, seed: { type: 'string', default: '1' } },
});
const [rounds, seed] = [Number(values.rounds), Number(values.seed)];

/** Documents, of which each has three words; a query has the same words in another language. Three blocks of a table. */
const DOCUMENTS = 3000;
const STEPS = 120;
const EVERY = 20;
const WORKERS = 2;

const folder = mkdtempSync(join(memoryFolder ?? tmpdir(), 'undrift-cluster-training-'));
const data = join(folder, 'data');
const writeData = (): void => {
  const rows = Array.from({ length: DOCUMENTS }, (_, i) => [
    ...permutation(rngKey(5, i, 'words'), 200).subarray(0, 3),
  ]);
  const lines = (items: readonly unknown[]) => items.map((item) => `${JSON.stringify(item)}\n`).join('');
  const texts = (prefix: string, word: (n: number) => string) =>
    lines(rows.map((words, i) => ({ _id: `${prefix}${i}`, text: words.map(word).join(' ') })));
  mkdirSync(join(data, 'qrels'), { recursive: true });
  writeFileSync(
    join(data, 'corpus.jsonl'),
    texts('d', (n) => `doc${n}x`),
  );
  writeFileSync(
    join(data, 'queries.jsonl'),
    texts('q', (n) => `ask${n}y`),
  );
  const judgements = rows.map((_, i) => `q${i}\td${i}\t1\n`).join('');
  writeFileSync(join(data, 'qrels', 'train.tsv'), `query-id\tcorpus-id\tscore\n${judgements}`);
};

const trainArguments = (out: string): string[] => [
  ...['train', '--data', data, '--out', out, '--method', 'async-index', '--refresh', `async:${EVERY}:wait`],
  ...['--steps', String(STEPS), '--model', 'transformer', '--layers', '1', '--hidden', '32'],
  ...['--vocab-size', '512', '--batch-size', '8', '--rank-to', '40', '--eval-split', 'none'],
  ...['--save-every', '10', '--threads', '1', '--seed', '3', '--json'],
];

/** Runs a command to its end. */
async function finished(run: UndriftProcess): Promise<void> {
  const code = await run.end();
  if (code !== 0) throw new Error(`ended with ${code}:\n${run.stderr}`);
}

const bytesOf = (out: string): string =>
  createHash('sha256')
    .update(readFileSync(join(out, 'model', 'model.safetensors')))
    .digest('hex');

const versionsOf = async (out: string): Promise<number[]> =>
  (await readEventLog(join(out, 'metrics.jsonl')))
    .filter(({ kind }) => kind === 'refresh')
    .map(({ values: { version = 0 } }) => version);

writeData();
const local = join(folder, 'local');
const startMs = performance.now();
await finished(startUndrift(trainArguments(local)));
const longestMs = 2 * (performance.now() - startMs);
const truth = bytesOf(local);

const servers = await startNats();
const cluster = `${servers.address}/training`;
const startWorker = () => startUndrift(['cluster', 'worker', '--nats', cluster, '--threads', '1', '--quiet']);
const workers = Array.from({ length: WORKERS }, startWorker);
let wrong = 0;
let kills = 0;
for (let round = 1; round <= rounds; round++) {
  const out = join(folder, `round-${round}`);
  const random = new Float32Array(3);
  uniform(rngKey(seed, round, 'training drill'), random);
  const argv = [...trainArguments(out), '--cluster', cluster];
  const first = startUndrift(argv);
  await Promise.race([sleep(random[0]! * longestMs), first.end()]);
  const isKilled = (await first.end('SIGKILL')) === null;
  if (isKilled) kills += 1;
  // A worker is killed, another leaves as by Ctrl-C, and one joins.
  const leaving = workers.splice(Math.floor(random[1]! * workers.length), 1)[0]!;
  const left = leaving.end(random[2]! < 0.5 ? 'SIGKILL' : 'SIGINT');
  workers.push(startWorker());
  const isBegun = existsSync(join(out, 'checkpoint'));
  await finished(startUndrift([...argv, isBegun ? '--resume' : '--overwrite']));
  await left;
  const isRight = bytesOf(out) === truth;
  if (!isRight) wrong += 1;
  const versions = await versionsOf(out);
  const end = isKilled ? `killed after ${Math.round(random[0]! * longestMs)} ms` : 'finished unharmed';
  const at = `${end}, ${isBegun ? 'resumed' : 'begun anew'}`;
  process.stderr.write(
    `${round}/${rounds}: ${at}; tables of steps ${versions.join(', ')}; ${isRight ? 'right' : 'WRONG'}\n`,
  );
  rmSync(out, { recursive: true });
}
await Promise.all(workers.map((worker) => worker.end('SIGINT')));
await servers.stop();
rmSync(folder, { recursive: true });
console.log(`${rounds} rounds, ${kills} kills of the trainer: ${wrong} wrong models`);
process.exitCode = wrong > 0 ? 1 : 0;
