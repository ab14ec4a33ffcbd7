import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** Identity of a process, by which another process can tell later whether it has ended. */
export interface ProcessIdentity {
  /** Process id. */
  readonly pid: number;
  /** Name of the machine. */
  readonly host: string;
  /** Digest of the machine and of its process namespace. Process ids can be compared only where it is equal. */
  readonly machine: string;
  /** Id of the machine's last boot; null where the system has none. */
  readonly boot: string | null;
  /** Start of the process in a unit of the system. It differs between processes of one id; null where it is not known. */
  readonly mark: string | null;
  /** Start of the process, in ISO 8601. */
  readonly started: string;
}

/** Facts of a process's identity that tell whether the process has ended. */
export type ProcessTrace = Pick<ProcessIdentity, 'pid' | 'machine' | 'boot' | 'mark'>;

/** Whether a process runs. `unknown`: it belongs to another machine or container, whose processes cannot be seen from here. */
export type ProcessState = 'runs' | 'ended' | 'unknown';

let identity: ProcessIdentity | undefined;

/** Returns the identity of this process. */
export function thisProcess(): ProcessIdentity {
  identity ??= {
    pid: process.pid,
    host: hostname(),
    machine: createHash('sha256')
      .update([hostname(), textOf('/etc/machine-id'), linkOf('/proc/self/ns/pid')].join('\n'))
      .digest('hex')
      .slice(0, 8),
    boot: textOf('/proc/sys/kernel/random/boot_id') ?? null,
    mark: runningProcess(process.pid)?.mark ?? null,
    started: new Date(Math.floor(performance.timeOrigin / 1000) * 1000).toISOString().replace('.000', ''),
  };
  return identity;
}

/** Tells whether a process runs. A process of the same id that started at another time is another process. */
export function processState(process: ProcessTrace): ProcessState {
  const own = thisProcess();
  if (process.machine !== own.machine) return 'unknown';
  if (process.boot !== null && own.boot !== null && process.boot !== own.boot) return 'ended';
  const running = runningProcess(process.pid);
  if (running === undefined) return 'ended';
  const isOther = process.mark !== null && running.mark !== null && process.mark !== running.mark;
  return isOther ? 'ended' : 'runs';
}

/** Checks a parsed JSON value. */
export function isProcessIdentity(value: unknown): value is ProcessIdentity {
  if (typeof value !== 'object' || value === null) return false;
  const { pid, host, machine, boot, mark, started } = value as Record<string, unknown>;
  const isTextOrNull = (each: unknown) => each === null || typeof each === 'string';
  return (
    Number.isSafeInteger(pid) &&
    (pid as number) > 0 &&
    [host, machine, started].every((each) => typeof each === 'string') &&
    [boot, mark].every(isTextOrNull)
  );
}

/** Looks up a process of this machine; undefined if there is none, or only its exit status is left. */
function runningProcess(pid: number): { readonly mark: string | null } | undefined {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: a process of another user.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return undefined;
  }
  const status = textOf(`/proc/${pid}/stat`);
  if (status !== undefined) {
    // The name of the program, in parentheses, may hold anything. State and start are fields 1 and 20 after it.
    const fields = status.slice(status.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : { mark: Number(fields[19]).toString(36) };
  }
  if (process.platform === 'win32' || process.platform === 'linux') return { mark: null };
  try {
    const start = execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], {
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return { mark: Math.floor(Date.parse(`${start.trim()} UTC`) / 1000).toString(36) };
  } catch {
    return { mark: null };
  }
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return undefined;
  }
}

function linkOf(file: string): string | undefined {
  try {
    return readlinkSync(file);
  } catch {
    return undefined;
  }
}
