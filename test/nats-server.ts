import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cacheFolder } from '../src/util/cache-folder.ts';

/** Paths at which the program may lie: the one of the environment, else what tools/nats-server.sh fetched, else those of the system. */
const candidates = (): string[] => {
  const { UNDRIFT_NATS_SERVER, PATH = '' } = process.env;
  if (UNDRIFT_NATS_SERVER) return [UNDRIFT_NATS_SERVER];
  // Folders of administrators are not in every user's PATH.
  const folders = [join(cacheFolder(), 'nats-server'), ...PATH.split(delimiter), '/usr/sbin'];
  return folders.map((folder) => join(folder, 'nats-server')).filter((path) => existsSync(path));
};

/** Version of a program as [major, minor]; undefined where it does not run. */
function versionOf(program: string): readonly [number, number] | undefined {
  try {
    const match = /v(\d+)\.(\d+)\./.exec(execFileSync(program, ['--version'], { encoding: 'utf8' }));
    return match ? [Number(match[1]), Number(match[2])] : undefined;
  } catch {
    return undefined;
  }
}

/** Tells whether a version is new enough for a cluster: 2.10, better 2.11. */
const isNew = ([major, minor]: readonly [number, number]): boolean =>
  major > 2 || (major === 2 && minor >= 10);

const found = candidates().map((program) => ({ program, version: versionOf(program) }));

/** Program of a server that clusters accept; undefined where there is none. */
export const natsProgram: string | undefined = found.find(
  ({ version }) => version && isNew(version),
)?.program;

/** Why there is no server of NATS for tests; undefined where there is one. */
export const noNats: string | undefined =
  natsProgram !== undefined
    ? undefined
    : found[0]?.version
      ? `${found[0].program} is version ${found[0].version.join('.')}, and 2.10 is the least (tools/nats-server.sh fetches a newer one)`
      : found[0]
        ? `${found[0].program} does not run`
        : 'nats-server is not installed (tools/nats-server.sh fetches it)';

/** What can be chosen of servers for tests. */
export interface NatsOptions {
  /** One server, or three that replicate streams; one by default. */
  readonly servers?: 1 | 3;
  /** Further lines of the configuration, such as users and TLS. */
  readonly config?: string;
  /** Room for streams of each server, in bytes; 1 GiB by default. */
  readonly room?: number;
  /**
   * User id of the first server; that of the next is one more. Each then runs under an account of its own, by which the network rules of a
   * drill tell servers apart. Takes root. Servers run under the user of the tests if it is not given.
   */
  readonly firstUser?: number;
}

/** One server of those that a test started. */
export interface NatsServer {
  /** Name that JetStream reports, for example as leader of a stream: `n1`, `n2`, `n3`. */
  readonly name: string;
  /** Port of the server on 127.0.0.1, for clients. It stays the same over restarts. */
  readonly port: number;
  /** Port of its monitoring, over HTTP. */
  readonly monitor: number;
  /** Process of the server; undefined while it is down. */
  readonly pid: number | undefined;
  /** Kills the server as `kill -9` does. */
  kill(): Promise<void>;
  /**
   * Starts the server again on the files that it left, and waits until JetStream answers. That takes two servers of three: where all are
   * down, start them at once.
   */
  start(): Promise<void>;
  /** Stops the process in time, as a machine that hangs: connections stay open and nothing is answered. Returns when it has stopped. */
  freeze(): Promise<void>;
  /** Lets a frozen process go on. */
  wake(): void;
  /** What the server logged. */
  log(): string;
}

/** Servers that belong to one test file. */
export interface NatsServers {
  /** Address for clients: `nats://127.0.0.1:PORT[,nats://127.0.0.1:PORT…]`. */
  readonly address: string;
  readonly servers: readonly NatsServer[];
  /** Server by its name. */
  named(name: string): NatsServer;
  /** Stops all servers and removes their files. */
  stop(): Promise<void>;
}

/** Processes that run. They are killed when the test process ends, however it does. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Longest time until a server answers, in milliseconds; long enough for a busy machine. */
const START_MS = 60_000;

/**
 * Starts servers with JetStream in a temporary folder, at free ports of this machine. They write to the disk before they acknowledge, as
 * servers of a cluster should.
 */
export async function startNats({
  servers: count = 1,
  config = '',
  room = 2 ** 30,
  firstUser,
}: NatsOptions = {}): Promise<NatsServers> {
  if (noNats !== undefined) throw new Error(noNats);
  const folder = mkdtempSync(join(tmpdir(), 'undrift-nats-'));
  chmodSync(folder, 0o755);
  // Other users cannot read the cache of this one.
  const executable = firstUser === undefined ? natsProgram! : join(folder, 'nats-server');
  if (firstUser !== undefined) copyFileSync(natsProgram!, executable);
  const ports = await freePorts(3 * count);
  const [clients, routes, monitors] = [0, 1, 2].map((k) => ports.slice(k * count, (k + 1) * count)) as [
    number[],
    number[],
    number[],
  ];
  const peers = routes.map((port) => `nats://127.0.0.1:${port}`).join(', ');
  const servers = clients.map((port, i) => {
    const name = `n${i + 1}`;
    const data = join(folder, name);
    mkdirSync(data);
    if (firstUser !== undefined) chownSync(data, firstUser + i, firstUser + i);
    const cluster =
      count === 1 ? '' : `cluster { name: tests, listen: "127.0.0.1:${routes[i]}", routes: [${peers}] }\n`;
    const file = join(folder, `${name}.conf`);
    writeFileSync(
      file,
      `server_name: ${name}\nlisten: "127.0.0.1:${port}"\nhttp: "127.0.0.1:${monitors[i]}"\n${cluster}` +
        `jetstream { store_dir: "${data}", sync_interval: always, max_file_store: ${room}, max_memory_store: 67108864 }\n${config}\n`,
    );
    return server({
      executable,
      name,
      port,
      file,
      data,
      monitor: monitors[i]!,
      user: firstUser && firstUser + i,
    });
  });
  const stop = async () => {
    await Promise.all(servers.map((each) => each.kill()));
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await Promise.all(servers.map((each) => each.start()));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    address: clients.map((port) => `nats://127.0.0.1:${port}`).join(','),
    servers,
    named: (name) => servers.find((each) => each.name === name)!,
    stop,
  };
}

interface Files {
  readonly executable: string;
  readonly name: string;
  readonly port: number;
  readonly monitor: number;
  readonly file: string;
  readonly data: string;
  readonly user: number | undefined;
}

function server({ executable, name, port, monitor, file, data, user }: Files): NatsServer {
  const logFile = `${file}.log`;
  const log = () => (existsSync(logFile) ? readFileSync(logFile, 'utf8') : '');
  let child: ChildProcess | undefined;
  const isUp = () => child !== undefined && child.exitCode === null && child.signalCode === null;
  const signal = (name: NodeJS.Signals) => {
    if (!isUp()) throw new Error(`${data} has no server that runs`);
    child!.kill(name);
  };
  return {
    name,
    port,
    monitor,
    get pid() {
      return isUp() ? child!.pid : undefined;
    },
    log,
    async kill() {
      if (!isUp()) return;
      const ended = once(child!, 'exit');
      child!.kill('SIGKILL');
      await ended;
    },
    async freeze() {
      signal('SIGSTOP');
      while (isUp() && !isStopped(child!.pid!)) await sleep(5);
    },
    wake: () => signal('SIGCONT'),
    async start() {
      if (isUp()) return;
      const output = openSync(logFile, 'a');
      const account = user === undefined ? {} : { uid: user, gid: user };
      child = spawn(executable, ['-c', file], { ...account, cwd: data, stdio: ['ignore', output, output] });
      closeSync(output);
      const mine = child;
      running.add(mine);
      mine.once('exit', () => running.delete(mine));
      for (const began = Date.now(); !(await isHealthy(monitor)); await sleep(30)) {
        if (isUp() && Date.now() - began < START_MS) continue;
        const tail = log().split('\n').slice(-15).join('\n');
        throw new Error(`${name}: ${isUp() ? 'no answer' : 'the server ended'}\n${tail}`);
      }
    },
  };
}

/** Tells whether a process was stopped by a signal. */
function isStopped(pid: number): boolean {
  const file = `/proc/${pid}/stat`;
  if (existsSync(file)) return /\) [tT] /.test(readFileSync(file, 'utf8'));
  return execFileSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }).startsWith('T');
}

/** Tells whether JetStream answers, which among three servers takes a leader. */
async function isHealthy(monitor: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${monitor}/healthz`, { signal: AbortSignal.timeout(2000) })).ok;
  } catch {
    return false;
  }
}

/** Finds ports that are free now, all different. */
async function freePorts(count: number): Promise<number[]> {
  const holders = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(holders.map((holder) => once(holder, 'listening')));
  const ports = holders.map((holder) => (holder.address() as { port: number }).port);
  await Promise.all(holders.map((holder) => once(holder.close(), 'close')));
  return ports;
}
