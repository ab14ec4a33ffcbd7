import { readFileSync, readlinkSync } from 'node:fs';
import { UndriftError } from '../util/errors.ts';
import { fileError } from '../util/files.ts';

/** Failure to write the result of a command. It cannot be reported on standard output itself. */
export class OutputError extends UndriftError {}

const NAME = 'standard output';

/**
 * Writes text to standard output, and waits until the system has taken it. A reader that has closed the pipe, as `head` does, has what
 * it wants: that is no error.
 *
 * @throws OutputError if the text cannot be written, as on a full disk
 */
export async function writeOut(text: string): Promise<void> {
  const { stdout } = process;
  const failure = await new Promise<Error | null | undefined>((done) => {
    stdout.write(text, (error) => done(stdout.errored ?? error));
  });
  if (!failure || (failure as NodeJS.ErrnoException).code === 'EPIPE') return;
  const { message } = fileError(failure, NAME, 'write') as Error;
  throw new OutputError(message.split('\n')[0]!, {
    help: 'nothing or only a part of the result was printed: free some space, or send it elsewhere',
    cause: failure,
  });
}

/** Flags of an open file: for reading and writing. */
const READ_WRITE = 0o2;
const ACCESS = 0o3;
const SHELLS = ['sh', 'bash', 'dash', 'zsh', 'ksh', 'mksh', 'ash', 'busybox', 'fish'];

/**
 * Checks that standard output is open.
 *
 * Node opens /dev/null for reading and writing in its place if it is closed, and everything printed is lost. Programs that want no
 * output may open it likewise, so that alone is no error. It is one if the parent process has no standard output itself, or is a shell
 * with another one. The check is made on Linux only.
 *
 * @throws OutputError if it is closed
 */
export function checkOutputOpen(): void {
  if (!isReplaced('self')) return;
  const parent = `${process.ppid}`;
  const output = outputOf(parent);
  const isShell = SHELLS.includes(textOf(`/proc/${parent}/comm`)?.trim() ?? '');
  if (output === 'closed' || (output === 'open' && isShell && !isReplaced(parent))) {
    throw new OutputError(`cannot write ${NAME}: it is closed`, {
      help: 'leave it open, or send it to a file or to /dev/null',
    });
  }
}

/** Tells whether the standard output of a process is /dev/null, open for reading and writing. */
function isReplaced(pid: string): boolean {
  const flags = /flags:\s*([0-7]+)/.exec(textOf(`/proc/${pid}/fdinfo/1`) ?? '')?.[1];
  if (flags === undefined || (Number.parseInt(flags, 8) & ACCESS) !== READ_WRITE) return false;
  return linkOf(pid) === '/dev/null';
}

function outputOf(pid: string): 'open' | 'closed' | 'unknown' {
  try {
    readlinkSync(`/proc/${pid}/fd/1`);
    return 'open';
  } catch (error) {
    const isClosed = (error as NodeJS.ErrnoException).code === 'ENOENT' && textOf(`/proc/${pid}/comm`);
    return isClosed ? 'closed' : 'unknown';
  }
}

function linkOf(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/fd/1`);
  } catch {
    return undefined;
  }
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
