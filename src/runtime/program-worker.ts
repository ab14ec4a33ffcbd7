/** Thread of a `WorkerProgram`: loads a program once, then runs it for every message. */
import { parentPort, workerData } from 'node:worker_threads';
import { programOf } from './program-message.ts';
import type { WorkerAnswer, WorkerRequest, WorkerStart } from './worker-program.ts';

const { program: message, compute } = workerData as WorkerStart;
const answer = (message: WorkerAnswer, transfer: ArrayBuffer[] = []) =>
  parentPort!.postMessage(message, transfer);
const reason = (error: unknown) => (error instanceof Error ? error.message : String(error));

try {
  const program = await programOf(message, compute);
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
