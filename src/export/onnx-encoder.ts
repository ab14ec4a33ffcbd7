import { Graph } from '../graph/graph.ts';
import type { Retriever, Side } from '../models/retriever/retriever.ts';
import { storedWeights } from '../models/retriever/stored-weights.ts';
import type { PaddedTokens } from '../models/retriever/token-feeds.ts';
import { wholeEncoderFeeds } from '../models/retriever/whole-encoder.ts';
import { float32, type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import type { OnnxFile } from '../runtime/onnx-file.ts';
import { Program } from '../runtime/program.ts';
import { padBatch } from '../text/pad-batch.ts';
import type { TokenStore } from '../text/token-store.ts';
import { DataError } from '../util/errors.ts';

/**
 * Padded tokens and texts of one run: enough for speed, but few enough that the number range of one text does
 * not set that of all texts.
 */
const TOKENS_PER_RUN = 4096;
const TEXTS_PER_RUN = 16;

/** Names of outputs with a vector for each token, the usual ones first. */
const TOKEN_OUTPUTS = ['last_hidden_state', 'token_embeddings'];

/** Vectors of texts by the outputs of a file, row-major f32[texts, D]. */
export interface OnnxVectors {
  /** Vectors of the output `sentence_embedding`, pooled by the file itself. */
  readonly sentence_embedding?: Float32Array;
  /** Vectors from the file's token vectors, with the retriever's own pooling, projection and normalisation. */
  readonly last_hidden_state?: Float32Array;
}

/**
 * Makes the inputs that an ONNX encoder declares, for a padded batch.
 *
 * @param unpooled  number of tokens at the beginning of the texts that pooling leaves out
 * @throws DataError when the file has an input that is not one of an encoder
 */
export function onnxFeeds(file: OnnxFile, batch: PaddedTokens, unpooled: number): Record<string, HostTensor> {
  const { batch: texts, tokens } = batch;
  const feeds: Record<string, () => HostTensor> = {
    ...wholeEncoderFeeds(batch, unpooled),
    position_ids: () =>
      hostTensor(
        'i64',
        [texts, tokens],
        BigInt64Array.from({ length: texts * tokens }, (_, i) => BigInt(i % tokens)),
      ),
  };
  return Object.fromEntries(
    file.inputs.map((name) => {
      const feed = feeds[name];
      if (!feed) {
        throw new DataError(`the input "${name}" is none of an encoder's`, {
          file: file.name,
          help: `known: ${Object.keys(feeds).join(', ')}`,
        });
      }
      return [name, feed()];
    }),
  );
}

/**
 * Embeds texts by an ONNX file. The tokens are the retriever's; everything else is computed by the file,
 * except pooling for outputs of token vectors.
 *
 * @throws DataError when no output holds vectors of texts or tokens
 */
export async function encodeByOnnx(
  file: OnnxFile,
  { retriever, side, store }: { retriever: Retriever; side: Side; store: TokenStore },
  onTexts?: (done: number) => void,
): Promise<OnnxVectors> {
  const D = retriever.dimension;
  const tokenOutput = TOKEN_OUTPUTS.find((name) => file.outputs.includes(name));
  const embeds = file.outputs.includes('sentence_embedding');
  if (!tokenOutput && !embeds) {
    const some = file.outputs.slice(0, 5).join(', ');
    const more = file.outputs.length > 5 ? ` and ${file.outputs.length - 5} others` : '';
    throw new DataError(`it gives ${some}${more}, and no vectors of texts or tokens`, {
      file: file.name,
      help: `an output is to be named ${[...TOKEN_OUTPUTS, 'sentence_embedding'].join(' or ')}`,
    });
  }
  const wanted = [...(tokenOutput ? [tokenOutput] : []), ...(embeds ? ['sentence_embedding'] : [])];
  const pooling = tokenOutput ? await Pooling.create(retriever, side) : undefined;
  const found = {
    ...(embeds && { sentence_embedding: new Float32Array(store.rows * D) }),
    ...(tokenOutput && { last_hidden_state: new Float32Array(store.rows * D) }),
  };
  const order = Uint32Array.from({ length: store.rows }, (_, row) => row).sort(
    (a, b) => store.length(b) - store.length(a) || a - b,
  );
  for (let start = 0; start < order.length; ) {
    const longest = Math.max(1, store.length(order[start]!));
    const size = Math.max(1, Math.min(TEXTS_PER_RUN, Math.floor(TOKENS_PER_RUN / longest)));
    const rows = order.subarray(start, start + size);
    const batch = padBatch(store, rows, { padId: retriever.padId });
    const outputs = await file.run(onnxFeeds(file, batch, retriever.unpooledTokens(side)), wanted);
    const H = retriever.encoder.hiddenSize;
    const check = (name: string, dims: readonly number[]) => {
      const found = outputs[name]!.dims;
      if (found.join() === dims.join()) return;
      throw new DataError(
        `its output ${name} has the shape [${found.join(', ')}], the model's is [${dims.join(', ')}]`,
        {
          file: file.name,
          help: 'the file is that of another model',
        },
      );
    };
    if (embeds) check('sentence_embedding', [rows.length, D]);
    if (tokenOutput) check(tokenOutput, [rows.length, batch.tokens, H]);
    const put = (vectors: Float32Array, into: Float32Array) => {
      for (const [i, row] of rows.entries()) into.set(vectors.subarray(i * D, (i + 1) * D), row * D);
    };
    if (embeds) put(float32(outputs.sentence_embedding, 'sentence_embedding'), found.sentence_embedding!);
    if (tokenOutput) put(await pooling!.run(outputs[tokenOutput]!, batch), found.last_hidden_state!);
    start += rows.length;
    onTexts?.(start);
  }
  await pooling?.dispose();
  return found;
}

/** Applies the retriever's pooling, projection and normalisation to token vectors of other programs. */
class Pooling {
  private readonly program: Program;
  private readonly weights: Readonly<Record<string, HostTensor>>;

  private constructor(program: Program, weights: Readonly<Record<string, HostTensor>>) {
    this.program = program;
    this.weights = weights;
  }

  static async create(retriever: Retriever, side: Side): Promise<Pooling> {
    const { encoder } = retriever;
    const graph = new Graph('pooling');
    const hidden = graph.input('hidden', 'f32', ['texts', 'tokens', encoder.hiddenSize]);
    const mask = graph.input('mask', 'f32', ['texts', 'tokens']);
    const stored = storedWeights(retriever, side);
    const weights: Record<string, HostTensor> = {};
    const p = (name: string) => {
      weights[name] = stored[name]!;
      return graph.input(name, 'f32', stored[name]!.dims);
    };
    graph.output('embedding', encoder.pool(p, { mask, unpooled: retriever.unpooledTokens(side) }, hidden));
    return new Pooling(await Program.compile(graph), weights);
  }

  async run(hidden: HostTensor, { mask, batch, tokens }: PaddedTokens): Promise<Float32Array> {
    const { embedding } = await this.program.run({
      ...this.weights,
      hidden,
      mask: hostTensor('f32', [batch, tokens], mask.slice()),
    });
    return float32(embedding, 'embedding');
  }

  async dispose(): Promise<void> {
    await this.program.dispose();
  }
}
