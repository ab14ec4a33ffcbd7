/**
 * A trained model as an embedding model of the AI SDK (npm package `ai`, version 6):
 *
 *   import { embedMany } from 'ai';
 *   const model = await undriftEmbedder('runs/first', 'document');
 *   const { embeddings } = await embedMany({ model, values: ['a text', 'another'] });
 *
 * Queries and documents have embedders of their own, because models may put other prompts before them, or have an encoder for
 * each. `npx tsx ai-sdk-embedder.ts MODEL` prints the cosine of a query with a document.
 */
import { pathToFileURL } from 'node:url';
import type { EmbeddingModelV3 } from '@ai-sdk/provider';
import { loadRetriever, type Retriever } from 'undrift';

/** Embedding model of the AI SDK that runs in this process. */
export async function undriftEmbedder(
  model: string | Retriever,
  side: 'query' | 'document',
): Promise<EmbeddingModelV3> {
  const retriever = typeof model === 'string' ? await loadRetriever(model) : model;
  return {
    specificationVersion: 'v3',
    provider: 'undrift',
    modelId: `${typeof model === 'string' ? model : 'retriever'}/${side}`,
    maxEmbeddingsPerCall: 1024,
    // One call uses all cores.
    supportsParallelCalls: false,
    async doEmbed({ values, abortSignal }) {
      abortSignal?.throwIfAborted();
      const vectors = await retriever.encode(side, values);
      const D = retriever.dimension;
      const embeddings = values.map((_, row) => [...vectors.subarray(row * D, (row + 1) * D)]);
      return { embeddings, warnings: [] };
    },
  };
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const retriever = await loadRetriever(process.argv[2] ?? 'runs/first');
  const texts = { query: 'how do I undo a commit', document: 'git reset moves a branch to another commit' };
  const [query, document] = await Promise.all(
    (['query', 'document'] as const).map(async (side) => {
      const embedder = await undriftEmbedder(retriever, side);
      return (await embedder.doEmbed({ values: [texts[side]] })).embeddings[0]!;
    }),
  );
  const cosine = query!.reduce((sum, value, i) => sum + value * document![i]!, 0);
  console.log(`cosine ${cosine.toFixed(3)}, ${query!.length} dimensions`);
  await retriever.dispose();
}
