import { connectCluster } from '../src/cluster/cluster.ts';
import { ensureStreams } from '../src/cluster/streams.ts';
import { runWorker } from '../src/cluster/worker.ts';

/** Workers of a cluster in the process of a test. */
export interface TestWorkers {
  /** Address of the cluster. */
  readonly address: string;
  /** Starts another worker, with one thread. */
  join(): void;
  /** Ends all workers. */
  leave(): Promise<void>;
}

/**
 * Makes the streams of a cluster with short times, and starts workers.
 *
 * @param server  address of a server of NATS
 * @param name  name of the cluster
 */
export async function startWorkers(server: string, name: string, workers: number): Promise<TestWorkers> {
  const address = `${server}/${name}`;
  const first = await connectCluster(address);
  await ensureStreams(first, { ackWaitMs: 3000, leaseMs: 3000, resultBytes: 1 << 24 });
  await first.close();
  const stop = new AbortController();
  const work = async () => {
    const own = await connectCluster(address);
    await runWorker(own, await ensureStreams(own), { threads: 1, signal: stop.signal });
    await own.close();
  };
  const running = Array.from({ length: workers }, work);
  return {
    address,
    join: () => void running.push(work()),
    async leave() {
      stop.abort();
      await Promise.all(running);
    },
  };
}
