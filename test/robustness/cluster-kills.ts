/**
 * Kills, freezes and cuts off parts of a cluster while it embeds stores, and compares every vector and every stamp with the truth:
 *
 *     npx tsx test/robustness/cluster-kills.ts [--rounds 20] [--seed 1] [--fault NAME,…] [--out FILE]
 *
 * Each round embeds a store of its own, of 4,000 passages in tasks of 256. The fault comes at a random moment. A round fails if a row is
 * missing, doubled or wrong in a byte, if it is not done within two minutes, or if what comes late changes it.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startMachine, writeResult } from '../../bench/result-file.ts';
import { median, table } from '../../bench/statistics.ts';
import { memoryFolder } from '../memory-folder.ts';
import { ClusterDrill, type Round } from './cluster-drill.ts';
import {
  atRandom,
  FAULTS,
  type Fault,
  FIRST_USER,
  IN_OWN_NETWORK,
  noNetwork,
  smallDisk,
} from './cluster-faults.ts';

/** Outcome of a fault's rounds. */
export interface FaultResult {
  readonly fault: string;
  readonly title: string;
  readonly rounds: number;
  /** Rounds in which rows were lost or wrong, or that did not end. */
  readonly failed: number;
  /** Median time from the first stored rows to the last, in seconds. */
  readonly seconds: number;
  /** Longest time in which no row was stored: median and largest of the rounds, in seconds. */
  readonly standstill: number;
  readonly longestStandstill: number;
  /** Tasks whose rows were published again, in all rounds. */
  readonly again: number;
  /** Dead letters of all rounds. */
  readonly deadLetters: number;
}

/** Runs some rounds of a fault. Prints the reason of each round that fails. */
export async function drill(name: string, rounds: number, seed: number): Promise<FaultResult> {
  const fault = FAULTS[name]!;
  let state = seed >>> 0;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const done: Round[] = [];
  let failed = 0;
  let deadLetters = 0;
  let running: ClusterDrill | undefined;
  let unmount: (() => void) | undefined;
  const end = async () => {
    try {
      deadLetters += (await running?.finish())?.deadLetters ?? 0;
    } finally {
      unmount?.();
      await running?.stop();
      running = undefined;
    }
  };
  const fails = (round: number, error: unknown) => {
    failed += 1;
    console.error(`${name}, round ${round}: ${error instanceof Error ? error.stack : error}`);
  };
  for (let round = 1; round <= rounds; round++) {
    try {
      if (!running) {
        running = await ClusterDrill.start({
          servers: fault.servers,
          ...(fault.partition && { firstUser: FIRST_USER }),
        });
        unmount = fault.smallDisk ? smallDisk(running.folder) : undefined;
      }
      const outcome = await running.round(fault.owner ?? 'owner', atRandom(fault, random));
      done.push(outcome);
      process.stderr.write(
        `${name} ${round}/${rounds}: ${outcome.seconds.toFixed(1)} s, ${outcome.again} again\n`,
      );
    } catch (error) {
      fails(round, error);
      // The next round begins with new processes.
      await end().catch(() => {});
    }
  }
  await end().catch((error) => fails(rounds, error));
  return {
    fault: name,
    title: fault.title,
    rounds,
    failed,
    seconds: done.length > 0 ? median(done.map(({ seconds }) => seconds)) : Number.NaN,
    standstill: done.length > 0 ? median(done.map(({ standstill }) => standstill)) : Number.NaN,
    longestStandstill: Math.max(...done.map(({ standstill }) => standstill)),
    again: done.reduce((sum, { again }) => sum + again, 0),
    deadLetters,
  };
}

/** Runs the rounds of a fault in a network of its own. */
function drillInNetwork(name: string, rounds: number, seed: number): FaultResult {
  const folder = mkdtempSync(join(tmpdir(), 'cluster-drill-'));
  const out = join(folder, 'result.json');
  const script = [process.execPath, '--import', 'tsx', fileURLToPath(import.meta.url)];
  const words = ['--fault', name, '--rounds', String(rounds), '--seed', String(seed), '--out', out];
  const [command, ...rest] = [...IN_OWN_NETWORK, ...script, ...words];
  spawnSync(command!, rest, { stdio: ['ignore', 2, 2], env: { ...process.env, DRILL_NETWORK: '1' } });
  try {
    return JSON.parse(readFileSync(out, 'utf8')).faults[0];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Why a fault cannot be tried on this machine; undefined if it can. */
export function whyNot({ partition, smallDisk: isSmall }: Fault): string | undefined {
  if (partition) return noNetwork();
  if (isSmall && process.getuid?.() !== 0) return 'a file system of its own takes root';
  return undefined;
}

/** Tries a fault, in a network of its own where it needs one. */
export const tryFault = async (name: string, rounds: number, seed: number): Promise<FaultResult> =>
  FAULTS[name]!.partition && process.env.DRILL_NETWORK === undefined
    ? drillInNetwork(name, rounds, seed)
    : await drill(name, rounds, seed);

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '20' },
      seed: { type: 'string', default: '1' },
      fault: { type: 'string', default: Object.keys(FAULTS).join(',') },
      out: { type: 'string' },
    },
  });
  // Stores and streams lie in memory, where there is room: what is written before a kill is there after it all the same.
  if (memoryFolder !== undefined) process.env.TMPDIR ??= memoryFolder;
  const machine = startMachine(1);
  const faults: FaultResult[] = [];
  for (const name of values.fault.split(',')) {
    const fault = FAULTS[name];
    if (!fault) throw new Error(`no fault ${name}: ${Object.keys(FAULTS).join(', ')}`);
    const reason = whyNot(fault);
    if (reason === undefined) faults.push(await tryFault(name, Number(values.rounds), Number(values.seed)));
    else console.error(`${name} is left out: ${reason}`);
    writeResult({ ...machine(), faults }, { out: values.out });
  }
  console.log(
    table([
      ['fault', 'rounds', 'failed', 'seconds', 'standstill', 'longest', 'again', 'dead letters'],
      ...faults.map(
        ({ fault, rounds, failed, seconds, standstill, longestStandstill, again, deadLetters }) => [
          ...[fault, String(rounds), String(failed), seconds.toFixed(1), standstill.toFixed(1)],
          ...[longestStandstill.toFixed(1), String(again), String(deadLetters)],
        ],
      ),
    ]),
  );
  process.exitCode = faults.some(({ failed }) => failed > 0) ? 1 : 0;
}
