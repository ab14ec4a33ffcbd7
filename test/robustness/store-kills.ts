/**
 * Kills a process that changes a store at random moments, and checks after each kill what the next process finds:
 *
 *     npx tsx test/robustness/store-kills.ts [trials] [seed]
 *
 * The process indexes, changes, removes, migrates, refreshes and compacts without end, and prints a line before each operation and for
 * each commit that it was told of. Each kill has an operation, drawn with equal chances, and hits a random moment of it: so each is hit
 * as often on a slow machine as on a fast one.
 * After a kill the store must open, hold all that was printed, have no vector of a former text, no wrong stamp and no passage twice, and
 * take further commits.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { backfill } from '../../src/migration/backfill.ts';
import { LazyRefresh } from '../../src/migration/lazy-refresh.ts';
import { cutOver, rollBack, startMigration } from '../../src/migration/migrate-store.ts';
import { storeKeeper } from '../../src/migration/row-keeper.ts';
import { embeddingSpaceId } from '../../src/models/retriever/embedding-space.ts';
import { indexPassages } from '../../src/store/index-passages.ts';
import { removePassages } from '../../src/store/maintain.ts';
import { Store } from '../../src/store/store.ts';
import { formatDuration } from '../../src/util/format.ts';
import { phraseText, smallRetriever } from '../small-models.ts';

const TERMS = { language: 'any', stem: false, stopWords: false };
const compute = { threads: 1 };
/** Passages of the store; round r of passage p has a text of its own. */
const PASSAGES = 120;
const textOf = (p: number, round: number): string =>
  phraseText([p, p * 7 + round, p * 13, p * 29 + 3 * round, p >> 3]);
const modelOf = (round: number) => smallRetriever({ kind: 'static', seed: 3 + round });
/** Operations in which processes are killed. */
const OPERATIONS = [
  'index',
  'remove',
  'roll back',
  'migrate',
  'backfill',
  'refresh',
  'cut over',
  'compact',
] as const;
type Operation = (typeof OPERATIONS)[number];
/** Time that an operation takes, in milliseconds, before one was measured. */
const FIRST_MS = 200;

/** Lines that the process prints after commits: all of them must be found again. */
type Told =
  | { readonly told: 'indexed'; readonly from: number; readonly round: number }
  | { readonly told: 'removed'; readonly p: number }
  | { readonly told: 'migrating' | 'rolled back' | 'cut over'; readonly space: string };

/** Line that the process prints before an operation, so that kills can be counted by what they hit. */
interface Doing {
  readonly doing: Operation;
}

/** Work of the process that is killed. */
async function work(folder: string, start: number): Promise<never> {
  const tell = (line: Told | Doing) => process.stdout.write(`${JSON.stringify(line)}\n`);
  const store = await Store.open(folder, { create: TERMS });
  let retriever = modelOf(0);
  const spaceNow = store.head.current;
  for (let m = 0; m < 2; m++) if (spaceNow === embeddingSpaceId(modelOf(m))) retriever = modelOf(m);
  for (let round = start; ; round++) {
    for (let from = 0; from < PASSAGES; from += 30) {
      const part = Array.from({ length: 30 }, (_, i) => ({
        id: `p${from + i}`,
        text: textOf(from + i, round),
      }));
      tell({ doing: 'index' });
      await indexPassages(store, retriever, part, compute);
      tell({ told: 'indexed', from, round });
    }
    tell({ doing: 'remove' });
    await removePassages(store, [`p${round % PASSAGES}`]);
    tell({ told: 'removed', p: round % PASSAGES });
    if (store.head.migration) {
      tell({ doing: 'roll back' });
      await rollBack(store, modelOfSpace(store.head.migration.from), compute);
      retriever = modelOfSpace(store.head.current!);
      tell({ told: 'rolled back', space: store.head.current! });
    }
    const next = modelOf(
      retriever.trainedSteps === 0 && store.head.current === embeddingSpaceId(modelOf(0)) ? 1 : 0,
    );
    tell({ doing: 'migrate' });
    await startMigration(store, next, { sample: 40, correctors: ['ridge'], ...compute });
    retriever = next;
    tell({ told: 'migrating', space: store.head.current! });
    tell({ doing: 'backfill' });
    await backfill(store, next, { until: 0.7, commitRows: 20, ...compute });
    tell({ doing: 'compact' });
    await store.optimize();
    if (round % 2 === 0) continue;
    tell({ doing: 'refresh' });
    await refresh(store, next);
    tell({ doing: 'cut over' });
    await cutOver(store);
    tell({ told: 'cut over', space: store.head.current! });
  }
}

/** Embeds what is stale, that which searches have found first. */
async function refresh(store: Store, model: ReturnType<typeof modelOf>): Promise<void> {
  const work = new LazyRefresh(storeKeeper(store, model, embeddingSpaceId(model), compute), {
    commitRows: 10,
    pieceMs: 5,
    workShare: 0.8,
  });
  await work.load();
  work.notice(Array.from({ length: 50 }, (_, i) => i * 7));
  await work.run();
}

const modelOfSpace = (space: string) => {
  const found = [0, 1].map(modelOf).find((model) => embeddingSpaceId(model) === space);
  if (!found) throw new Error(`no model of space ${space}`);
  return found;
};

/** State that a store must have, from what was told. */
class Expected {
  readonly rounds = new Map<number, number>();
  readonly removed = new Set<number>();
  space: string | undefined;
  migrating = false;
  round = 0;

  take(line: Told): void {
    if (line.told === 'indexed') {
      this.round = line.round;
      for (let p = line.from; p < line.from + 30; p++) {
        this.rounds.set(p, line.round);
        this.removed.delete(p);
      }
    } else if (line.told === 'removed') this.removed.add(line.p);
    else {
      this.space = line.space;
      this.migrating = line.told === 'migrating';
    }
  }
}

/** Operations that begin or end a migration before they tell it. */
const MIGRATING: readonly Operation[] = ['roll back', 'migrate', 'cut over'];

async function check(folder: string, expected: Expected, doing: Operation): Promise<string[]> {
  const faults: string[] = [];
  const notes: string[] = [];
  const store = await Store.open(folder, { onNote: (note) => notes.push(note) });
  const { passages, embeddings, head } = await store.snapshot();
  const found = new Map<number, { pid: number; text: string }>();
  for await (const { pid, id, text } of passages.stream()) {
    const p = Number(id.slice(1));
    if (found.has(p)) faults.push(`passage ${id} is there twice`);
    found.set(p, { pid, text });
  }
  for (const [p, round] of expected.rounds) {
    const passage = found.get(p);
    // Commits after the last line may be whole, though they were not told: a later text is right, an earlier one is a loss.
    const allowed = Array.from({ length: expected.round + 2 - round }, (_, i) => textOf(p, round + i));
    if (passage && !allowed.includes(passage.text))
      faults.push(`p${p} has an earlier text than that of round ${round}`);
    if (!passage && !expected.removed.has(p) && p !== expected.round % PASSAGES) faults.push(`p${p} is lost`);
  }
  for (const { id } of head.spaces) {
    const model = modelOfSpace(id);
    const seen = new Set<number>();
    const texts = new Map([...found.values()].map(({ pid, text }) => [pid, text]));
    for await (const { pids, vectors, steps } of embeddings(id).stream()) {
      const known = [...pids].map((pid) => texts.get(pid));
      const right = await model.encode(
        'document',
        known.map((text) => text ?? ''),
        compute,
      );
      const D = model.dimension;
      for (const [row, pid] of pids.entries()) {
        if (seen.has(pid)) faults.push(`passage ${pid} has two vectors in ${id}`);
        seen.add(pid);
        if (known[row] === undefined) {
          faults.push(`a vector of ${id} belongs to no passage (${pid})`);
          continue;
        }
        let dot = 0;
        for (let d = 0; d < D; d++) dot += right[row * D + d]! * vectors[row * D + d]!;
        if (Math.abs(dot - 1) > 1e-4)
          faults.push(`the vector of ${pid} in ${id} is not that of its text (${dot})`);
        if (steps[row] !== model.trainedSteps) faults.push(`a stamp of ${id} is ${steps[row]}`);
      }
    }
  }
  if (head.current !== null && !head.spaces.some(({ id }) => id === head.current))
    faults.push('the current space is gone');
  const migrating = Boolean(head.migration);
  if (expected.space !== undefined && !MIGRATING.includes(doing)) {
    if (head.current !== expected.space)
      faults.push(`the current space is ${head.current}, not ${expected.space}`);
    if (migrating !== expected.migrating)
      faults.push(migrating ? 'an ended migration goes on' : 'a migration is lost');
  }
  // A change that was not told may have been committed; the next kill finds it.
  expected.space = head.current ?? undefined;
  expected.migrating = migrating;
  await store.close();
  return faults;
}

/** Times that operations take on this machine, in milliseconds. */
const typicalMs = new Map<Operation, number>();

interface Trial {
  /** Acknowledged commits. */
  readonly lines: number;
  /** Operation that was killed. */
  readonly doing: Operation;
  readonly faults: string[];
}

/** Starts the process, kills it in an operation, and checks the store. */
async function trial(
  folder: string,
  expected: Expected,
  { operation, moment }: { operation: Operation; moment: number },
): Promise<Trial> {
  const script = fileURLToPath(import.meta.url);
  const argv = ['--import', 'tsx', script, '--work', folder, String(expected.round + 1)];
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
  let lines = 0;
  let doing: Operation = 'index';
  let sinceMs: number | undefined;
  let timer: NodeJS.Timeout | undefined;
  let stderr = '';
  child.stderr!.on('data', (data) => {
    stderr += data;
  });
  const begins = (next: Operation): void => {
    const nowMs = performance.now();
    if (sinceMs !== undefined) typicalMs.set(doing, nowMs - sinceMs);
    sinceMs = nowMs;
    doing = next;
    if (doing !== operation || timer !== undefined) return;
    timer = setTimeout(() => child.kill('SIGKILL'), moment * (typicalMs.get(doing) ?? FIRST_MS));
  };
  createInterface({ input: child.stdout! }).on('line', (line) => {
    const said = JSON.parse(line) as Told | Doing;
    if ('doing' in said) return begins(said.doing);
    lines += 1;
    expected.take(said);
  });
  const [code] = await once(child, 'close');
  clearTimeout(timer);
  if (code !== null)
    return { lines, doing, faults: [`the process ended by itself: ${stderr.slice(0, 500)}`] };
  return { lines, doing, faults: await check(folder, expected, doing) };
}

async function main(): Promise<void> {
  const [trials, seed] = [Number(process.argv[2] ?? 200), Number(process.argv[3] ?? 1)];
  let state = seed >>> 0;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  let bad = 0;
  let lines = 0;
  const byOperation = new Map<Operation, { kills: number; faults: number }>();
  const base = mkdtempSync(join(tmpdir(), 'store-kills-'));
  let expected = new Expected();
  let folder = join(base, 'store-0');
  const startMs = performance.now();
  for (let i = 0; i < trials; i++) {
    // A store is killed ten times before a new one begins.
    if (i % 10 === 0) {
      expected = new Expected();
      folder = join(base, `store-${i}`);
    }
    const operation = OPERATIONS[Math.floor(random() * OPERATIONS.length)]!;
    const found = await trial(folder, expected, { operation, moment: random() });
    lines += found.lines;
    const { kills, faults } = byOperation.get(found.doing) ?? { kills: 0, faults: 0 };
    byOperation.set(found.doing, { kills: kills + 1, faults: faults + Number(found.faults.length > 0) });
    if (found.faults.length > 0) {
      bad += 1;
      console.log(`trial ${i} (${found.doing}): ${found.faults.slice(0, 5).join('; ')}`);
      expected = new Expected();
      folder = join(base, `store-${i}-after`);
    }
    const left = ((performance.now() - startMs) / (i + 1)) * (trials - i - 1);
    if (i % 10 === 9) console.error(`${i + 1} of ${trials} kills, ${formatDuration(left)} left`);
  }
  console.log(`${trials} kills (seed ${seed}), ${lines} acknowledged commits, ${bad} with faults`);
  for (const [operation, { kills, faults }] of byOperation)
    console.log(`  ${operation}: ${kills} kills, ${faults} with faults`);
  if (bad === 0) rmSync(base, { recursive: true });
  else console.log(`stores are kept in ${base}`);
  process.exitCode = bad === 0 ? 0 : 1;
}

if (process.argv[2] === '--work') await work(process.argv[3]!, Number(process.argv[4]));
else await main();
