import { Worker } from 'node:worker_threads';
import type { Graph } from '../graph/graph.ts';
import { builtScript } from '../util/built-script.ts';
import { RuntimeError } from '../util/errors.ts';
import type { ComputeOptions } from './devices.ts';
import type { HostTensor } from './host-tensor.ts';
import type { Feeds } from './program.ts';
import { type ProgramMessage, programMessage } from './program-message.ts';

/** Start data of the thread of a `WorkerProgram`. */
export interface WorkerStart {
  /** Program to load. */
  program: ProgramMessage;
  /** Device and number of threads. */
  compute: ComputeOptions;
}
/** Message to the thread of a `WorkerProgram`. */
export interface WorkerRequest {
  /** Number that the answer repeats. */
  id: number;
  /** Inputs of the run. Without them, the thread ends. */
  feeds?: Feeds;
}
/** Message from the thread of a `WorkerProgram`. Answer 0 says whether the program was loaded. */
export interface WorkerAnswer {
  /** Number of the request. */
  id: number;
  /** Outputs of a run that succeeded. */
  outputs?: Record<string, HostTensor>;
  /** Message of the error, if the request failed. */
  error?: string;
}

const WORKER = builtScript('runtime/program-worker');

/**
 * Program that runs in its own thread.
 *
 * `session.run` blocks the thread that calls it. Work that should go on beside training (re-embedding a
 * corpus, answering requests) therefore runs here. Feeds are copied, and results return without a copy. Limit
 * `threads` to a share of the cores, otherwise two programs compete for them.
 */
export class WorkerProgram {
  /** Name of the program. */
  readonly name: string;
  private readonly worker: Worker;
  private readonly waiting = new Map<
    number,
    { resolve: (answer: WorkerAnswer) => void; reject: (error: Error) => void }
  >();
  private nextId = 1;
  /** Error of later runs, once the thread has ended. */
  private ended: RuntimeError | undefined;
  private closing: Promise<void> | undefined;

  private constructor(name: string, worker: Worker) {
    this.name = name;
    this.worker = worker;
    worker.on('message', (answer: WorkerAnswer) => {
      const { resolve, reject } = this.waiting.get(answer.id)!;
      this.waiting.delete(answer.id);
      if (answer.error === undefined) resolve(answer);
      else reject(new RuntimeError(answer.error));
    });
    worker.on('error', (cause) =>
      this.end(`the thread of program "${name}" failed: ${cause.message}`, cause),
    );
    worker.on('exit', (code) => this.end(`the thread of program "${name}" has ended (code ${code})`));
  }

  /**
   * Starts a thread and compiles a graph in it.
   *
   * @throws RuntimeError if onnxruntime rejects the graph.
   */
  static async compile(graph: Graph, options: ComputeOptions = {}): Promise<WorkerProgram> {
    const start: WorkerStart = { program: programMessage(graph, options.device), compute: options };
    const program = new WorkerProgram(graph.name, new Worker(WORKER, { workerData: start }));
    // A thread that could not load its program does not listen for messages, and ends by itself.
    await program.answer(0);
    return program;
  }

  /**
   * Runs the program while the calling thread goes on. Several runs may be requested at once; they are made
   * one after the other.
   *
   * @throws RuntimeError if the run fails, or the thread has ended.
   */
  async run(feeds: Feeds): Promise<Record<string, HostTensor>> {
    if (this.ended) throw this.ended;
    if (this.closing) throw new RuntimeError(`the thread of program "${this.name}" is ending`);
    const id = this.nextId++;
    const answer = this.answer(id);
    // Sending a view would copy its whole buffer.
    const own = Object.entries(feeds).map(([name, { dtype, dims, data }]) => [
      name,
      { dtype, dims, data: data.byteLength === data.buffer.byteLength ? data : data.slice() },
    ]);
    this.worker.postMessage({ id, feeds: Object.fromEntries(own) } satisfies WorkerRequest);
    return (await answer).outputs!;
  }

  /**
   * Ends the thread after the runs that were requested.
   *
   * The thread is never terminated from outside, because ending a thread during a native run ends the whole
   * process.
   */
  async dispose(): Promise<void> {
    this.closing ??= new Promise((resolve) => {
      if (this.ended) resolve();
      else this.worker.once('exit', () => resolve());
    });
    this.worker.postMessage({ id: this.nextId++ } satisfies WorkerRequest);
    await this.closing;
  }

  private answer(id: number): Promise<WorkerAnswer> {
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
  }

  private end(message: string, cause?: Error): void {
    this.ended ??= new RuntimeError(message, { cause, help: 'compile the program again' });
    for (const { reject } of this.waiting.values()) reject(this.ended);
    this.waiting.clear();
  }
}
