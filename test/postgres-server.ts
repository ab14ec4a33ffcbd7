import { execFileSync, type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectPostgres, type OwnedSqlClient } from '../src/foreign/sql-client.ts';
import { memoryFolder } from './memory-folder.ts';

/** Folders in which Debian's packages and others have the programs of the server. */
const folders = (): string[] => {
  const debian = '/usr/lib/postgresql';
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  return [
    ...versions.map((version) => join(debian, version, 'bin')),
    ...(process.env.PATH ?? '').split(delimiter),
  ];
};

/** Folder of `initdb` and `postgres`; undefined where PostgreSQL is not installed. */
const programs = folders().find(
  (folder) => existsSync(join(folder, 'initdb')) && existsSync(join(folder, 'postgres')),
);

/** Account that the server runs under: it refuses to run as root. Undefined where there is none. */
function account(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n');
  const line =
    lines.find((each) => each.startsWith('postgres:')) ?? lines.find((each) => each.startsWith('nobody:'));
  const [, , uid, gid] = line?.split(':') ?? [];
  return uid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) };
}

/** Why there is no server for tests; undefined where there is one. */
export const noPostgres: string | undefined =
  programs === undefined
    ? 'PostgreSQL is not installed (apt-get install postgresql)'
    : account() === undefined
      ? 'there is no account that PostgreSQL could run under'
      : undefined;

/** Server of PostgreSQL that belongs to one test file. */
export interface TestServer {
  /** Address of its database, `postgres://tester@127.0.0.1:PORT/postgres`. */
  readonly address: string;
  /** Opens a connection. */
  connect(): Promise<OwnedSqlClient>;
  /** Kills the server as a loss of power does, and starts it again. */
  crash(): Promise<void>;
  /** Stops the server and removes its files. */
  stop(): Promise<void>;
}

/** Starts a server in a temporary folder, at a free port of this machine. */
export async function startPostgres(): Promise<TestServer> {
  const user = account()!;
  // Short, because the name of a socket has at most 107 bytes.
  const folder = mkdtempSync(`${memoryFolder ?? '/tmp'}/undrift-pg-`);
  chownSync(folder, user.uid, user.gid);
  const data = join(folder, 'data');
  const options = { ...user, cwd: folder, stdio: 'pipe' as StdioOptions };
  execFileSync(
    join(programs!, 'initdb'),
    ['-D', data, '-U', 'tester', '--auth=trust', '--no-sync', '-E', 'UTF8', '--locale=C'],
    options,
  );
  const port = await freePort();
  const address = `postgres://tester@127.0.0.1:${port}/postgres`;
  const connect = () => connectPostgres(address, address);
  const start = async () => {
    const child = spawn(
      join(programs!, 'postgres'),
      ['-D', data, '-p', String(port), '-h', '127.0.0.1', '-k', folder, '-c', 'shared_buffers=16MB'],
      { ...user, cwd: folder, stdio: 'ignore' },
    );
    for (const began = Date.now(); ; await sleep(50)) {
      try {
        await (await connect()).end();
        return child;
      } catch (error) {
        if (Date.now() - began > 60_000 || child.exitCode !== null) throw error;
      }
    }
  };
  let running = await start();
  const kill = async (signal: NodeJS.Signals) => {
    if (running.exitCode !== null || running.signalCode !== null) return;
    const ended = once(running, 'exit');
    running.kill(signal);
    await ended;
  };
  return {
    address,
    connect,
    async crash() {
      await kill('SIGQUIT');
      running = await start();
    },
    async stop() {
      await kill('SIGINT');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
