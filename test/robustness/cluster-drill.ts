import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Msg } from '@nats-io/transport-node';
import { type Cluster, connectCluster } from '../../src/cluster/cluster.ts';
import { readDeadLetters } from '../../src/cluster/dead-letters.ts';
import { removeShard } from '../../src/cluster/shard-record.ts';
import { storeShard } from '../../src/cluster/store-shard.ts';
import { type ClusterStreams, ensureStreams } from '../../src/cluster/streams.ts';
import { Store } from '../../src/store/store.ts';
import { loadEncoder } from '../../src/store/stored-encoder.ts';
import { clusterPassages, storeWithoutVectors } from '../cluster-stores.ts';
import { type NatsServers, startNats } from '../nats-server.ts';
import { nodeScript } from '../plain-script.ts';
import { smallRetriever } from '../small-models.ts';
import { ACK_WAIT_MS, LEASE_MS, ROWS, TASK_ROWS } from './cluster-drill-settings.ts';
import type { DrillShard, Order, Told } from './cluster-process.ts';

export type Role = 'worker' | 'owner' | 'coordinator' | 'trainer';

const SCRIPT = nodeScript(fileURLToPath(new URL('cluster-process.ts', import.meta.url)));
const WORKERS = 3;
/** Longest time until nothing is stale after a fault, in milliseconds. */
const ROUND_MS = 120_000;

/** Process of a cluster that belongs to a drill. */
export class DrillProcess {
  readonly role: Role;
  readonly child: ChildProcess;
  /** Shard that it was told to own. */
  shard: DrillShard | undefined;
  private readonly drill: ClusterDrill;

  private constructor(drill: ClusterDrill, role: Role) {
    this.drill = drill;
    this.role = role;
    this.child = fork(SCRIPT.script, [role, drill.address], {
      execArgv: [...SCRIPT.execArgv],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.child.on('message', (line: Told) => drill.told(this, line));
  }

  /** Starts a process, and waits until it is connected. */
  static async start(drill: ClusterDrill, role: Role): Promise<DrillProcess> {
    const process = new DrillProcess(drill, role);
    drill.processes.add(process);
    while (drill.isReady(process) === false) {
      if (!process.isUp) throw new Error(`a ${role} ended: ${drill.notes.slice(-3).join('\n')}`);
      await sleep(20);
    }
    return process;
  }

  get isUp(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  tell(order: Order): void {
    if ('own' in order) this.shard = order.own;
    this.child.send(order);
  }

  /** Kills it as `kill -9` does. */
  async kill(): Promise<void> {
    this.drill.processes.delete(this);
    if (!this.isUp) return;
    const ended = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await ended;
  }

  /** Stops it in time. */
  freeze(): void {
    this.child.kill('SIGSTOP');
  }

  wake(): void {
    this.child.kill('SIGCONT');
  }
}

/** What a round has come to. */
export interface Round {
  /** Time from the first task to the last stored row, in seconds. */
  readonly seconds: number;
  /** Longest time in which no row was stored, in seconds. */
  readonly standstill: number;
  /** Blocks whose rows were published more often than once. */
  readonly again: number;
}

/** Servers, processes and stores of a drill, and the truth that they are compared with. */
export class ClusterDrill {
  readonly servers: NatsServers;
  readonly address: string;
  readonly cluster: Cluster;
  readonly streams: ClusterStreams;
  readonly processes = new Set<DrillProcess>();
  /** What processes noted. */
  readonly notes: string[] = [];
  /** Results that were published in this round. */
  readonly published: Msg[] = [];
  /** Folder of the stores, which may be a file system of its own. */
  readonly folder: string;
  private readonly template: string;
  private readonly truth: ReadonlyMap<string, Float32Array>;
  private readonly ready = new Set<DrillProcess>();
  private readonly ended = new Set<string>();
  private storedAt: number[] = [];
  private readonly shards: DrillShard[] = [];
  private rounds = 0;

  private constructor(
    servers: NatsServers,
    address: string,
    cluster: Cluster,
    streams: ClusterStreams,
    folder: string,
    template: string,
    truth: ReadonlyMap<string, Float32Array>,
  ) {
    this.servers = servers;
    this.address = address;
    this.cluster = cluster;
    this.streams = streams;
    this.folder = folder;
    this.template = template;
    this.truth = truth;
    cluster.connection.subscribe(cluster.names.resultSubject(), {
      callback: (_, message) => void this.published.push(message),
    });
  }

  /** Starts servers, three workers, and a coordinator. */
  static async start({
    servers: count,
    firstUser,
  }: {
    servers: 1 | 3;
    firstUser?: number;
  }): Promise<ClusterDrill> {
    const retriever = smallRetriever({ kind: 'static' });
    const passages = clusterPassages(ROWS);
    const empty = await storeWithoutVectors(retriever, passages);
    await retriever.dispose();
    // As workers have it: a static model is saved with its weights multiplied, which changes last bits.
    const saved = await loadEncoder(empty, empty.head.current!);
    const truth = new Map<string, Float32Array>();
    for (let start = 0; start < ROWS; start += TASK_ROWS) {
      const some = passages.slice(start, start + TASK_ROWS);
      const texts = some.map(({ text }) => text);
      const vectors = await saved.encode('document', texts, { threads: 1 });
      const D = saved.dimension;
      for (const [i, { id }] of some.entries()) truth.set(id, vectors.slice(i * D, (i + 1) * D));
    }
    await saved.dispose();
    const servers = await startNats({ servers: count, ...(firstUser !== undefined && { firstUser }) });
    const address = `${servers.address}/drill`;
    const cluster = await connectCluster(address, { timeoutMs: 30_000 });
    const streams = await ensureStreams(cluster, { ackWaitMs: ACK_WAIT_MS, leaseMs: LEASE_MS });
    const folder = mkdtempSync(join(tmpdir(), 'cluster-drill-'));
    const template = empty.folder;
    await empty.close();
    const drill = new ClusterDrill(servers, address, cluster, streams, folder, template, truth);
    await Promise.all(Array.from({ length: WORKERS }, () => DrillProcess.start(drill, 'worker')));
    await DrillProcess.start(drill, 'coordinator');
    return drill;
  }

  /** Called by a process for what it tells. */
  told(process: DrillProcess, line: Told): void {
    if (line.told === 'ready') this.ready.add(process);
    else if (line.told === 'note') this.notes.push(`${process.role}: ${line.text}`);
    else if (line.told === 'ended') this.ended.add(line.name);
    else if (line.rows > 0) this.storedAt.push(performance.now());
  }

  isReady(process: DrillProcess): boolean {
    return this.ready.has(process);
  }

  /** Processes of a role that run. */
  of(role: Role): DrillProcess[] {
    return [...this.processes].filter((each) => each.role === role && each.isUp);
  }

  /**
   * Has one store embedded while something happens, and compares it with the truth.
   *
   * @param owner  role of the process that owns the store
   * @param happen  lets something happen when a part of the rows is stored; returns what mends it
   * @throws Error if rows are lost or wrong
   */
  async round(
    owner: 'owner' | 'trainer',
    happen: (drill: ClusterDrill, shard: DrillShard) => Promise<void>,
  ): Promise<Round> {
    this.rounds += 1;
    const shard = { name: `round${this.rounds}`, folder: join(this.folder, `store${this.rounds}`) };
    mkdirSync(this.folder, { recursive: true });
    cpSync(this.template, shard.folder, { recursive: true });
    this.shards.push(shard);
    this.published.length = 0;
    this.storedAt = [];
    const process = this.of(owner)[0] ?? (await DrillProcess.start(this, owner));
    process.tell({ own: shard });
    await this.until('the first rows are stored', () => this.storedAt.length > 0);
    const began = this.storedAt[0]!;
    await happen(this, shard);
    const keeper = storeShard(await Store.open(shard.folder), { name: shard.name });
    await this.until('nothing is stale', async () => (await keeper.counts()).stale === 0);
    const times = this.storedAt;
    const standstill = Math.max(...times.slice(1).map((time, i) => time - times[i]!), 0);
    const blocks = new Set(this.published.map(({ headers }) => headers!.get('Undrift-Attempt'))).size;
    await this.compare(shard);
    await this.release(shard);
    return {
      seconds: (times.at(-1)! - began) / 1000,
      standstill: standstill / 1000,
      again: blocks - Math.ceil(ROWS / TASK_ROWS),
    };
  }

  /** Gives a shard up, which the cluster forgets. */
  private async release({ name }: DrillShard): Promise<void> {
    const owners = [...this.of('owner'), ...this.of('trainer')].filter(({ shard }) => shard?.name === name);
    for (const process of owners) if (process.role === 'owner') process.tell({ release: name });
    await this.until('the shard is given up', () => owners.length === 0 || this.ended.has(name));
    await removeShard(this.streams, name);
  }

  /** Compares all vectors and stamps of a store with the truth. */
  private async compare({ folder, name }: DrillShard): Promise<void> {
    const store = await Store.open(folder);
    const { head, passages, embeddings } = await store.snapshot();
    const ids = new Map<number, string>();
    for await (const { pid, id } of passages.ids()) ids.set(pid, id);
    const table = embeddings(head.current!);
    const D = table.dimension;
    const seen = new Set<string>();
    const faults: string[] = [];
    for await (const { pids, vectors } of table.stream()) {
      for (const [row, pid] of pids.entries()) {
        const id = ids.get(pid)!;
        if (seen.has(id)) faults.push(`${id} has two vectors`);
        seen.add(id);
        const bytes = Buffer.from(vectors.slice(row * D, (row + 1) * D).buffer);
        if (!bytes.equals(Buffer.from(this.truth.get(id)!.buffer)))
          faults.push(`the vector of ${id} is wrong`);
      }
    }
    const steps = head.spaces.find(({ id }) => id === head.current)!.steps;
    for await (const stamps of table.stamps())
      for (const step of stamps.steps) if (step !== steps) faults.push(`a stamp is ${step}`);
    if (seen.size !== ROWS) faults.push(`${ROWS - seen.size} rows are lost`);
    await store.close();
    if (faults.length > 0)
      throw new Error(`${name}: ${faults.length} faults: ${faults.slice(0, 5).join('; ')}`);
  }

  /** Waits until all is quiet, and compares all stores again: what came late has changed nothing. */
  async finish(): Promise<{ readonly deadLetters: number }> {
    const { manager, names } = this.cluster;
    const left = async (stream: string, subject: string) =>
      (await manager.streams.info(stream, { subjects_filter: subject })).state.subjects ?? {};
    const owned = new Set<string>();
    await this.until('the streams are empty', async () => {
      const results = await left(names.results, names.resultSubject());
      // What came when its shard was given up already needs an owner.
      for (const shard of this.shards) {
        if (results[names.resultSubject(shard.name)] === undefined || owned.has(shard.name)) continue;
        owned.add(shard.name);
        (this.of('owner')[0] ?? (await DrillProcess.start(this, 'owner'))).tell({ own: shard });
      }
      const tasks = await left(names.tasks, names.taskSubject());
      return Object.keys(results).length + Object.keys(tasks).length === 0;
    });
    for (const shard of this.shards) await this.compare(shard);
    return { deadLetters: (await readDeadLetters(this.cluster)).length };
  }

  /** Waits until something is the case. */
  async until(what: string, isCase: () => boolean | Promise<boolean>): Promise<void> {
    for (const began = performance.now(); ; await sleep(50)) {
      if (await Promise.resolve(isCase()).catch(() => false)) return;
      if (performance.now() - began > ROUND_MS) {
        throw new Error(`${what}: not within ${ROUND_MS / 1000} s\n${this.notes.slice(-20).join('\n')}`);
      }
    }
  }

  /** Ends all processes and servers, and removes all files. */
  async stop(): Promise<void> {
    await Promise.all([...this.processes].map((each) => each.kill()));
    await this.cluster.connection.close();
    await this.servers.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
