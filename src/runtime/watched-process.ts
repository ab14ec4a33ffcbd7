import { type ChildProcess, fork, type Serializable } from 'node:child_process';
import type { Socket } from 'node:net';

export interface WatchedProcessOptions<Answer> {
  /** What the script is started with, `process.argv` from 2 on. */
  readonly argv?: readonly string[];
  onMessage(message: Answer): void;
  /** Called once, with what happened in words: it ended by itself, or was silent for too long and is gone. Not after `dispose`. */
  onEnd(reason: string): void;
}

/** Turns of the event loop within a silence that is too long. */
const TURNS = 10;

/** What is kept of the process's last words. */
const STDERR_CHARACTERS = 4000;

/**
 * A process of ours for native work that may fail in every way: it can crash, be killed and hang without harm to this one. (A
 * thread cannot: one that is ended while a native run goes on takes the whole process along.)
 *
 * It is held to say something now and then while it works (`expectWithin`), and ends with this process, however that ends,
 * provided that it listens to `disconnect`. It keeps no event loop alive.
 */
export class WatchedProcess<Request extends Serializable, Answer> {
  private readonly child: ChildProcess;
  private readonly options: WatchedProcessOptions<Answer>;
  private readonly closed: Promise<void>;
  private watch: NodeJS.Timeout | undefined;
  /** Turns of the watch since the last message. */
  private silentTurns = 0;
  private stderr = '';
  private ended = false;

  /** @throws Error where the system gives no process at all */
  constructor(script: URL, options: WatchedProcessOptions<Answer>) {
    this.options = options;
    // Neither the loaders of this process nor its standard streams: stdout belongs to results.
    const child = fork(script, [...(options.argv ?? [])], {
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

  /** Undefined where it could not be started. */
  get pid(): number | undefined {
    return this.child.pid;
  }

  send(message: Request): void {
    // A channel that has closed is an ended process, which is told of elsewhere.
    if (this.child.connected) this.child.send(message, () => {});
  }

  /**
   * From now on a silence of so many milliseconds is a hang: the process is killed. Nothing is expected where it is undefined.
   *
   * Time alone would be unjust: a native run blocks this event loop, and messages wait unread. So the silence must last for
   * several turns of the loop as well, each of which reads what has come.
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

  /** Ends the process, as one that failed. */
  kill(reason: string): void {
    this.child.kill('SIGKILL');
    this.end(reason);
  }

  /** Ends the process, and waits until it is gone. */
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

  /** The line of its standard error that says most. */
  private lastWords(): string {
    const lines = this.stderr.split('\n').filter((line) => line.trim() !== '');
    const line = lines.find((text) => /^\w*Error\b/.test(text)) ?? lines.at(-1);
    return line ? `: ${line.trim()}` : '';
  }
}
