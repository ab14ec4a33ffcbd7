import { Worker } from 'node:worker_threads';
import type { Graph } from '../graph/graph.ts';
import { builtScript } from '../util/built-script.ts';
import { RuntimeError } from '../util/errors.ts';
import type { ComputeOptions } from './devices.ts';
import type { HostTensor } from './host-tensor.ts';
import type { Feeds } from './program.ts';
import { type ProgramMessage, programMessage } from './program-message.ts';

/** What the thread is started with. */
export interface WorkerStart {
  program: ProgramMessage;
  compute: ComputeOptions;
}
export interface WorkerRequest {
  id: number;
  /** Absent: finish. */
  feeds?: Feeds;
}
/** Answer 0 tells whether the model was loaded. */
export interface WorkerAnswer {
  id: number;
  outputs?: Record<string, HostTensor>;
  error?: string;
}

const WORKER = builtScript('runtime/program-worker');

/**
 * A program in a thread of its own. `session.run` blocks the thread that calls it: what is to go on beside training (re-embedding
 * a corpus, answering requests) runs here. Feeds are copied, results come back without a copy. Give it its share of the cores
 * by `threads`, or two programs fight for them.
 */
export class WorkerProgram {
  readonly name: string;
  private readonly worker: Worker;
  private readonly waiting = new Map<
    number,
    { resolve: (answer: WorkerAnswer) => void; reject: (error: Error) => void }
  >();
  private nextId = 1;
  /** Why no more runs are possible. */
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

  /** @throws RuntimeError when the runtime rejects the graph */
  static async compile(graph: Graph, options: ComputeOptions = {}): Promise<WorkerProgram> {
    const start: WorkerStart = { program: programMessage(graph, options.device), compute: options };
    const program = new WorkerProgram(graph.name, new Worker(WORKER, { workerData: start }));
    // A thread that could not load its model listens to nothing and ends by itself.
    await program.answer(0);
    return program;
  }

  /**
   * Runs the program beside whatever this thread does. Several runs may be asked for; they are made one after the other.
   * @throws RuntimeError when the run fails, or the thread has ended
   */
  async run(feeds: Feeds): Promise<Record<string, HostTensor>> {
    if (this.ended) throw this.ended;
    if (this.closing) throw new RuntimeError(`the thread of program "${this.name}" is ending`);
    const id = this.nextId++;
    const answer = this.answer(id);
    // A view would take its whole buffer along.
    const own = Object.entries(feeds).map(([name, { dtype, dims, data }]) => [
      name,
      { dtype, dims, data: data.byteLength === data.buffer.byteLength ? data : data.slice() },
    ]);
    this.worker.postMessage({ id, feeds: Object.fromEntries(own) } satisfies WorkerRequest);
    return (await answer).outputs!;
  }

  /**
   * Ends the thread when it has made the runs that were asked for. It is never terminated from outside: a native run that loses
   * its thread takes the whole process down.
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
