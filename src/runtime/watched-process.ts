import { type ChildProcess, fork, type Serializable } from 'node:child_process';
import type { Socket } from 'node:net';

/** Options of a watched process. */
export interface WatchedProcessOptions<Answer> {
  /** Arguments of the script: `process.argv` from index 2 on. Default none. */
  readonly argv?: readonly string[];
  /** Called with each message of the process. */
  onMessage(message: Answer): void;
  /**
   * Called once, with the reason in words, when the process ends by itself or is killed after too long a
   * silence. Not called after `dispose`.
   */
  onEnd(reason: string): void;
}

/** Number of turns of the event loop that a silence must span. */
const TURNS = 10;

/** Number of characters that are kept of the end of the process's stderr. */
const STDERR_CHARACTERS = 4000;

/**
 * Child process for native work that may crash, be killed or hang, without harm to this process.
 *
 * A thread would not do: ending a thread during a native run ends the whole process. While it works, the
 * child must send a message from time to time (`expectWithin`). The child ends when this process ends,
 * provided that it listens to `disconnect`. It does not keep the event loop of this process alive.
 */
export class WatchedProcess<Request extends Serializable, Answer> {
  private readonly child: ChildProcess;
  private readonly options: WatchedProcessOptions<Answer>;
  private readonly closed: Promise<void>;
  private watch: NodeJS.Timeout | undefined;
  /** Number of turns since the last message. */
  private silentTurns = 0;
  private stderr = '';
  private ended = false;

  /**
   * Starts the process.
   *
   * @throws Error if the operating system cannot create a process.
   */
  constructor(script: URL, options: WatchedProcessOptions<Answer>) {
    this.options = options;
    // The child inherits neither the loaders of this process nor its standard streams, because stdout is for
    // results. A group of its own keeps Ctrl-C away from it, which a terminal sends to the group of this process:
    // a child that is still starting could not ignore it yet.
    const child = fork(script, [...(options.argv ?? [])], {
      detached: true,
      serialization: 'advanced',
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.child = child;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-STDERR_CHARACTERS);
    });
    child.on('message', (message) => {
      if (this.ended) return;
      this.silentTurns = 0;
      options.onMessage(message as Answer);
    });
    child.on('error', (error) => this.end(`could not be started or reached: ${error.message}`));
    this.closed = new Promise((resolve) => {
      child.on('error', () => child.pid === undefined && resolve());
      child.on('close', (code, signal) => {
        this.end(signal ? `was killed (${signal})` : `ended with code ${code}${this.lastWords()}`);
        resolve();
      });
    });
    child.unref();
    child.channel?.unref();
    (child.stderr as Socket | null)?.unref();
  }

  /** Process id; undefined if the process could not be started. */
  get pid(): number | undefined {
    return this.child.pid;
  }

  /** Sends a message to the process. After the process has ended, nothing is sent. */
  send(message: Request): void {
    // A closed channel means that the process has ended, which is reported through `onEnd`.
    if (this.child.connected) this.child.send(message, () => {});
  }

  /**
   * Kills the process if it sends no message for `silenceMs` milliseconds from now on. Undefined switches
   * this off.
   *
   * Elapsed time alone is not a fair measure, because a native run blocks the event loop of this process, and
   * messages stay unread. The silence must therefore last for several turns of the event loop as well, each
   * of which reads the messages that have arrived.
   */
  expectWithin(silenceMs: number | undefined): void {
    clearInterval(this.watch);
    this.silentTurns = 0;
    if (silenceMs === undefined || this.ended) return;
    this.watch = setInterval(
      () => {
        this.silentTurns += 1;
        if (this.silentTurns > TURNS) this.kill(`said nothing for ${Math.round(silenceMs / 100) / 10} s`);
      },
      Math.ceil(silenceMs / TURNS),
    ).unref();
  }

  /** Kills the process and reports `reason` to `onEnd`. */
  kill(reason: string): void {
    this.child.kill('SIGKILL');
    this.end(reason);
  }

  /** Kills the process and waits until it has ended. */
  async dispose(): Promise<void> {
    clearInterval(this.watch);
    this.ended = true;
    this.child.kill('SIGKILL');
    this.child.ref();
    await this.closed;
  }

  private end(reason: string): void {
    if (this.ended) return;
    this.ended = true;
    clearInterval(this.watch);
    this.options.onEnd(reason);
  }

  /** Most informative line of the process's stderr: the first one with an error, else the last one. */
  private lastWords(): string {
    const lines = this.stderr.split('\n').filter((line) => line.trim() !== '');
    const line = lines.find((text) => /^\w*Error\b/.test(text)) ?? lines.at(-1);
    return line ? `: ${line.trim()}` : '';
  }
}
