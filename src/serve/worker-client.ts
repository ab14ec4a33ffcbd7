import { Worker } from 'node:worker_threads';
import { builtScript } from '../util/built-script.ts';
import { UndriftError, UsageError } from '../util/errors.ts';
import type { LiveRefresh } from './background-refresh.ts';
import type { CallName, WorkerAnswer, WorkerCalls, WorkerError, WorkerSettings } from './worker-messages.ts';

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Thread that works on a store. Calls are answered in turn. */
export class StoreThread {
  private readonly settings: WorkerSettings;
  private readonly waiting = new Map<number, Waiting>();
  private worker: Worker | undefined;
  private latest: LiveRefresh | undefined;
  private calls = 0;
  private isClosed = false;

  private constructor(settings: WorkerSettings) {
    this.settings = settings;
  }

  /**
   * Starts a thread.
   *
   * @throws UndriftError if the store cannot be opened
   */
  static async start(settings: WorkerSettings): Promise<StoreThread> {
    const thread = new StoreThread(settings);
    await thread.launch();
    return thread;
  }

  /** Number of calls that have not been answered. */
  get pending(): number {
    return this.waiting.size;
  }

  /** State of the refresh, as the thread has last told it; undefined if it does not refresh. */
  get refresh(): LiveRefresh | undefined {
    return this.latest;
  }

  /**
   * Calls a function of the thread. A thread that has died is started again.
   *
   * @throws UsageError if the caller's values are refused, UndriftError if the work fails
   */
  async call<C extends CallName>(
    call: C,
    values: WorkerCalls[C]['arguments'],
  ): Promise<WorkerCalls[C]['result']> {
    if (this.isClosed) throw new UndriftError('the server is closing');
    if (!this.worker) await this.launch();
    this.calls += 1;
    const id = this.calls;
    const answered = new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
    this.worker!.postMessage({ id, call, values });
    return (await answered) as WorkerCalls[C]['result'];
  }

  /** Ends the thread after the calls that it has got. */
  async close(): Promise<void> {
    this.isClosed = true;
    const { worker } = this;
    if (!worker) return;
    const ended = new Promise((resolve) => worker.once('exit', resolve));
    worker.postMessage('close');
    await ended;
  }

  private async launch(): Promise<void> {
    const worker = new Worker(builtScript('serve/store-worker'), { workerData: this.settings });
    this.worker = worker;
    const ready = new Promise((resolve, reject) => this.waiting.set(0, { resolve, reject }));
    worker.on('message', (answer: WorkerAnswer) => {
      if ('refresh' in answer) {
        this.latest = answer.refresh;
        return;
      }
      const { resolve, reject } = this.waiting.get(answer.id)!;
      this.waiting.delete(answer.id);
      if ('error' in answer) reject(errorOf(answer.error));
      else resolve(answer.result);
    });
    worker.on('error', (cause) => this.fail(worker, cause));
    worker.on('exit', () => this.fail(worker, new Error('the thread has ended')));
    await ready;
  }

  /** Gives up a thread that has died, and all calls that it had. */
  private fail(worker: Worker, cause: Error): void {
    if (this.worker !== worker) return;
    this.worker = undefined;
    const error =
      cause instanceof UndriftError
        ? cause
        : new UndriftError(`the store's thread failed: ${cause.message}`, { cause });
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }
}

function errorOf({ message, help, isUsage }: WorkerError): UndriftError {
  const options = help === undefined ? {} : { help };
  return isUsage ? new UsageError(message, options) : new UndriftError(message, options);
}
