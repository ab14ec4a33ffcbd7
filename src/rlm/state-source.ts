import { Graph } from '../graph/graph.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import { wholeTableFeeds } from '../models/retriever/token-feeds.ts';
import { tokenInputs } from '../models/retriever/token-inputs.ts';
import { normalize, pool } from '../nn/layers.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { float32 } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';
import { ExactIndex } from '../search/exact-search.ts';
import { padSequences } from '../text/pad-batch.ts';
import type { Progress } from '../util/progress.ts';
import type { ChunkDatabase } from './chunk-database.ts';
import type { LeakFilter } from './leak-filter.ts';
import { allowedBest, type PassageSource } from './passage-source.ts';

/** Places of a pass, padding included. */
const PLACES_PER_PASS = 2048;

/**
 * Source that ranks chunks by the cosine of mean states: the mean of a language model's last hidden states over the tokens of a chunk that
 * stands alone.
 */
export async function stateSource(
  model: LanguageModel,
  database: ChunkDatabase,
  filter: LeakFilter,
  {
    onProgress,
    ...compute
  }: ComputeOptions & { onProgress?: ((progress: Progress) => void) | undefined } = {},
): Promise<PassageSource> {
  const program = await Program.compile(stateGraph(model), compute);
  const size = model.decoder.hiddenSize;
  const vectorsOf = async (count: number, tokensOf: (row: number) => ArrayLike<number>, stage: string) => {
    const vectors = new Float32Array(count * size);
    const perPass = Math.max(1, Math.floor(PLACES_PER_PASS / database.chunkTokens));
    for (let start = 0; start < count; start += perPass) {
      const texts = Array.from({ length: Math.min(perPass, count - start) }, (_, i) => tokensOf(start + i));
      const { vectors: found } = await program.run({
        ...model.weights,
        ...wholeTableFeeds({ texts: padSequences(texts) }),
      });
      vectors.set(float32(found), start * size);
      onProgress?.({ stage, done: start + texts.length, total: count, unit: 'chunks' });
    }
    return vectors;
  };
  let index: ExactIndex;
  try {
    const vectors = await vectorsOf(database.size, (row) => database.tokens(row), 'states of chunks');
    index = ExactIndex.create(vectors, size, compute);
  } catch (error) {
    await program.dispose();
    throw error;
  }
  return {
    name: 'states',
    passages: database,
    async find(queries, k, ledger) {
      if (queries.length === 0) return [];
      const tokens = queries.map(({ text }) => model.tokenizer.encodeRaw(text));
      const vectors = await vectorsOf(tokens.length, (i) => tokens[i]!, 'states of queries');
      ledger?.queries(queries.length);
      return await allowedBest(queries, k, { passages: database, filter }, async (_, depth, picked) => {
        const some = Float32Array.from({ length: picked.length * size }, (_, at) => {
          return vectors[picked[Math.floor(at / size)]! * size + (at % size)]!;
        });
        const { rows, scores, k: found } = await index.search(some, depth);
        return picked.map((_, i) => ({
          rows: rows.subarray(i * found, (i + 1) * found),
          scores: scores.subarray(i * found, (i + 1) * found),
        }));
      });
    },
    async dispose() {
      await program.dispose();
      await index.dispose();
    },
  };
}

function stateGraph(model: LanguageModel): Graph {
  const graph = new Graph('states');
  const declared = model.declare(graph);
  const inputs = tokenInputs(declared, 'texts');
  const hidden = model.decoder.hidden(declared.get, inputs);
  graph.output('vectors', normalize(pool(hidden, inputs.mask, 'mean')));
  return graph;
}
