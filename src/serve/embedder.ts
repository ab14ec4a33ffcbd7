import { Batcher } from './batcher.ts';
import type { Backend } from './route.ts';
import type { WorkerCalls } from './worker-messages.ts';

type Wanted = WorkerCalls['embed']['arguments'];
/** Vectors of the texts of one request. */
export type Embedded = WorkerCalls['embed']['result'];
/** Embeds the texts of a request. */
export type Embed = (wanted: Wanted, signal: AbortSignal) => Promise<Embedded>;

/** Texts that are embedded together at most, unless one request has more. */
const TEXTS = 256;

/**
 * Makes the function that embeds for all routes. Texts of requests that arrive while others are embedded share the next call of the
 * thread; requests of clients that leave before are dropped.
 */
export function embedder({ reader, metrics }: Pick<Backend, 'reader' | 'metrics'>): Embed {
  const requests = new Batcher<Wanted, Embedded>(
    async (batch) => {
      const found = await reader.call('embed', { ...batch[0]!, texts: batch.flatMap(({ texts }) => texts) });
      let row = 0;
      return batch.map(({ texts }) => {
        const [start, end] = [row, row + texts.length];
        row = end;
        const { dimension: D } = found;
        return {
          ...found,
          vectors: found.vectors.subarray(start * D, end * D),
          tokens: found.tokens.subarray(start, end),
        };
      });
    },
    { most: TEXTS, sizeOf: ({ texts }) => texts.length },
  );
  metrics.gauge('undrift_embed_queue', 'Embedding requests that wait for a batch.', () => requests.waiting);
  return (wanted, signal) => requests.add(wanted, JSON.stringify([wanted.side, wanted.space]), signal);
}
