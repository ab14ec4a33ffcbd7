import { Graph } from '../../graph/graph.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import { float32 } from '../../runtime/host-tensor.ts';
import { Program } from '../../runtime/program.ts';
import { padSequences } from '../../text/pad-batch.ts';
import { passes } from './encode-rows.ts';
import { maskedEncoder } from './masked-encoder.ts';
import type { Retriever } from './retriever.ts';
import { TokenFeeds } from './token-feeds.ts';
import { tokenInputs } from './token-inputs.ts';

/** Computes the states of the tokens of texts with the encoder of a model: its vectors before any pooling. */
export class TokenStates {
  /** Size of a state, D. */
  readonly dimension: number;
  readonly #retriever: Retriever;
  readonly #program: Program;
  readonly #feeder: TokenFeeds;

  private constructor(retriever: Retriever, program: Program) {
    this.dimension = retriever.encoder.hiddenSize;
    this.#retriever = retriever;
    this.#program = program;
    this.#feeder = new TokenFeeds(retriever.encoder.vocabSize);
  }

  /**
   * Compiles the encoder.
   *
   * @throws UsageError for a model that is no masked encoder (see `maskedEncoder`)
   */
  static async compile(retriever: Retriever, compute: ComputeOptions = {}): Promise<TokenStates> {
    const { encoder, prefix } = maskedEncoder(retriever);
    const graph = new Graph('token-states');
    const declared = retriever.declare(graph);
    const inputs = tokenInputs(declared, 'texts');
    const [states] = encoder.tokenVectors((name) => declared.get(`${prefix}${name}`), [inputs]);
    graph.output('states', states!);
    return new TokenStates(retriever, await Program.compile(graph, compute));
  }

  /**
   * Computes the states of sequences of tokens, in passes of similar length.
   *
   * @param sequences  token ids with the special tokens around them, each at most as long as the encoder reads
   * @param onSequences  called with the number of sequences done so far
   * @returns f32[T, D] for each sequence
   */
  async encode(
    sequences: readonly ArrayLike<number>[],
    onSequences?: (done: number) => void,
  ): Promise<Float32Array[]> {
    const D = this.dimension;
    const found: Float32Array[] = [];
    let done = 0;
    for (const picked of passes(Int32Array.from(sequences, ({ length }) => length))) {
      const batch = padSequences(Array.from(picked, (i) => sequences[i]!));
      const feeds = this.#feeder.feeds({ texts: batch });
      const outputs = await this.#program.run({ ...this.#retriever.weights, ...feeds });
      const states = float32(outputs.states, 'states');
      for (const [row, i] of picked.entries()) {
        const start = row * batch.tokens * D;
        found[i] = states.slice(start, start + sequences[i]!.length * D);
      }
      done += picked.length;
      onSequences?.(done);
    }
    return found;
  }

  /** Frees the program. */
  async dispose(): Promise<void> {
    await this.#program.dispose();
  }
}
