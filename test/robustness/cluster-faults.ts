import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { headers as makeHeaders } from '@nats-io/transport-node';
import { ShardCoordinator } from '../../src/cluster/coordinator.ts';
import type { NatsServer } from '../nats-server.ts';
import { type ClusterDrill, DrillProcess, type Role } from './cluster-drill.ts';
import { ACK_WAIT_MS, LEASE_MS } from './cluster-drill-settings.ts';
import type { DrillShard } from './cluster-process.ts';

/** Something that happens to a cluster while it works. */
export interface Fault {
  /** What it is, in a few words. */
  readonly title: string;
  /** Servers of the cluster. */
  readonly servers: 1 | 3;
  /** Role of the process that owns the store: `owner` by default. */
  readonly owner?: 'owner' | 'trainer';
  /** Whether it takes a network and accounts of its own: Linux and root. */
  readonly partition?: boolean;
  /** Whether the stores lie on a small file system of their own: Linux and root. */
  readonly smallDisk?: boolean;
  /**
   * Lets it happen, and mends what does not mend by itself.
   *
   * @param random  uniform in [0, 1)
   */
  happen(drill: ClusterDrill, shard: DrillShard, random: () => number): Promise<void>;
}

/** First user id of the servers in a network of their own. */
export const FIRST_USER = 2001;
/** Longest time from the first stored rows until a fault, in milliseconds. */
const UNTIL_MS = 500;

const killAndStart = async (drill: ClusterDrill, role: Role, pauseMs: number): Promise<void> => {
  const [victim] = drill.of(role);
  const { shard } = victim!;
  await victim!.kill();
  await sleep(pauseMs);
  const next = await DrillProcess.start(drill, role);
  if (shard) next.tell({ own: shard });
};

/** Finds the server that leads a stream. */
async function leaderOf({ cluster, servers }: ClusterDrill, stream: string): Promise<NatsServer> {
  for (;;) {
    const info = await cluster.manager.streams.info(stream).catch(() => undefined);
    if (info?.cluster?.leader) return servers.named(info.cluster.leader);
    await sleep(100);
  }
}

/** Sends messages of results once more, as they are, damaged, and under the name of another version. */
async function publishAgain({ cluster, published }: ClusterDrill, random: () => number): Promise<void> {
  for (const { subject, data, headers } of [...published]) {
    const same = makeHeaders();
    for (const [name, values] of headers!) same.set(name, values[0]!);
    const [damaged, other] = [makeHeaders(), makeHeaders()];
    for (const [name, values] of headers!) {
      damaged.set(name, values[0]!);
      other.set(name, name === 'Undrift-Version' ? 'another' : values[0]!);
    }
    const bytes = Uint8Array.from(data);
    bytes[Math.floor(random() * bytes.length)]! ^= 0x40;
    await cluster.stream.publish(subject, Uint8Array.from(data), { headers: same });
    await cluster.stream.publish(subject, Uint8Array.from(data), { headers: other });
    if (random() < 0.2) await cluster.stream.publish(subject, bytes, { headers: damaged });
  }
}

/** The faults of the drills, by name. */
export const FAULTS: Readonly<Record<string, Fault>> = {
  none: { title: 'nothing', servers: 1, happen: async () => {} },
  worker: {
    title: 'a worker is killed',
    servers: 1,
    happen: (drill) => killAndStart(drill, 'worker', 0),
  },
  owner: {
    title: 'the owner is killed',
    servers: 1,
    happen: (drill, _, random) => killAndStart(drill, 'owner', 1000 * random()),
  },
  trainer: {
    title: 'a process that runs over the cluster is killed, and started again',
    servers: 1,
    owner: 'trainer',
    happen: (drill, _, random) => killAndStart(drill, 'trainer', 1000 * random()),
  },
  coordinator: {
    title: 'the coordinator is killed',
    servers: 1,
    happen: (drill, _, random) => killAndStart(drill, 'coordinator', 1000 * random()),
  },
  server: {
    title: 'the only server is killed',
    servers: 1,
    async happen({ servers }, _, random) {
      const [server] = servers.servers;
      await server!.kill();
      await sleep(2000 * random());
      await server!.start();
    },
  },
  'frozen-worker': {
    title: 'a worker hangs for longer than its task is its own, and wakes',
    servers: 1,
    async happen(drill) {
      const [victim] = drill.of('worker');
      victim!.freeze();
      await sleep(2 * ACK_WAIT_MS);
      victim!.wake();
    },
  },
  'frozen-owner': {
    title: 'the owner hangs, another takes its place, and it wakes',
    servers: 1,
    async happen(drill, shard, random) {
      const [victim] = drill.of('owner');
      victim!.freeze();
      const next = await DrillProcess.start(drill, 'owner');
      next.tell({ own: shard });
      await sleep(2 * LEASE_MS + 3000 * random());
      victim!.wake();
      await sleep(1000);
      await victim!.kill();
    },
  },
  duplicates: {
    title: 'tasks and results come twice, late, damaged, and of another version',
    servers: 1,
    async happen(drill, { name }, random) {
      const second = new ShardCoordinator(drill.cluster, drill.streams, name);
      for (let looks = 0; looks < 3; looks++) await second.look();
      await publishAgain(drill, random);
    },
  },
  'full-disk': {
    title: 'the disk of the owner is full for some seconds',
    servers: 1,
    smallDisk: true,
    async happen({ folder }, _, random) {
      const { bavail, bsize } = statfsSync(folder);
      const filler = join(folder, 'filler');
      const left = 64_000 * random();
      try {
        writeFileSync(filler, new Uint8Array(Math.max(0, bavail * bsize - left)));
      } catch (error) {
        // The owner was quicker with what was left.
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
      await sleep(2000 + 2000 * random());
      rmSync(filler);
    },
  },
  leader: {
    title: 'the server that leads a stream is killed, of three',
    servers: 3,
    async happen(drill, _, random) {
      const { tasks, results } = drill.cluster.names;
      const leader = await leaderOf(drill, random() < 0.5 ? tasks : results);
      await leader.kill();
      await sleep(5000 * random());
      await leader.start();
    },
  },
  servers: {
    title: 'all three servers are killed',
    servers: 3,
    async happen({ servers: { servers } }, _, random) {
      await Promise.all(servers.map((server) => server.kill()));
      await sleep(2000 * random());
      await Promise.all(servers.map((server) => server.start()));
    },
  },
  partition: {
    title: 'the server that leads a stream is cut off for some seconds, of three',
    servers: 3,
    partition: true,
    async happen(drill, _, random) {
      const { tasks, results } = drill.cluster.names;
      const leader = await leaderOf(drill, random() < 0.5 ? tasks : results);
      const user = FIRST_USER + Number(leader.name.slice(1)) - 1;
      // All that this user's processes send is dropped.
      const rule = ['pref', '10', 'uidrange', `${user}-${user}`, 'blackhole'];
      ipRule(['add', ...rule]);
      await sleep(4000 + 6000 * random());
      ipRule(['del', ...rule]);
    },
  },
};

function ipRule(words: readonly string[]): void {
  const { status, stderr } = spawnSync('ip', ['rule', ...words], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip rule ${words.join(' ')}: ${stderr}`);
}

/** Lets a fault happen at a random moment. */
export const atRandom =
  ({ happen }: Fault, random: () => number) =>
  async (drill: ClusterDrill, shard: DrillShard): Promise<void> => {
    await sleep(UNTIL_MS * random());
    await happen(drill, shard, random);
  };

/** Mounts a small file system in memory at a folder. Returns the function that ends it; undefined where mounting is not permitted. */
export function smallDisk(folder: string): (() => void) | undefined {
  mkdirSync(folder, { recursive: true });
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', folder]).status !== 0) return undefined;
  return () => void spawnSync('umount', [folder]);
}

/** Why a network of its own cannot be had; undefined if it can. */
export function noNetwork(): string | undefined {
  return spawnSync('unshare', ['-n', 'ip', 'rule']).status === 0
    ? undefined
    : 'a network of its own takes Linux, root, and ip';
}

/** Words before a command that give it a network of its own, in which rules come before the delivery to this machine. */
export const IN_OWN_NETWORK: readonly string[] = [
  ...['unshare', '-n', 'bash', '-c'],
  'ip link set lo up && ip rule add pref 100 lookup local && ip rule del pref 0 lookup local && exec "$@"',
  'bash',
];
