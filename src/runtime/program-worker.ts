/** The thread of a `WorkerProgram`: loads a model once, then runs it for every message. */
import { parentPort, workerData } from 'node:worker_threads';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { Program } from './program.ts';
import type { WorkerAnswer, WorkerRequest, WorkerStart } from './worker-program.ts';

const { name, inputs, outputs, model, compute } = workerData as WorkerStart;
const graph = new Graph(name);
for (const input of inputs) graph.input(input.name, input.dtype, input.shape);
const results = new Map(
  outputs.map((output) => [output.name, new Tensor(graph, { ...output, origin: 'another thread' })]),
);
const answer = (message: WorkerAnswer, transfer: ArrayBuffer[] = []) =>
  parentPort!.postMessage(message, transfer);
const reason = (error: unknown) => (error instanceof Error ? error.message : String(error));

try {
  const program = await Program.load({ name, inputs: graph.inputs, outputs: results }, model, compute);
  const handle = async ({ id, feeds }: WorkerRequest): Promise<void> => {
    if (!feeds) {
      await program.dispose();
      parentPort!.close();
      return;
    }
    try {
      const made = await program.run(feeds);
      answer(
        { id, outputs: made },
        Object.values(made).map(({ data }) => data.buffer as ArrayBuffer),
      );
    } catch (error) {
      answer({ id, error: reason(error) });
    }
  };
  let last = Promise.resolve();
  parentPort!.on('message', (request: WorkerRequest) => {
    last = last.then(() => handle(request));
  });
  answer({ id: 0 });
} catch (error) {
  answer({ id: 0, error: reason(error) });
}
