import { Graph } from '../../graph/graph.ts';
import { type DeclaredParameters, declareParameters, type ParameterSpec } from '../../nn/parameters.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import type { Program } from '../../runtime/program.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';

/** Model that predicts tokens: a language model, a sequence-to-sequence model or a masked language model. */
export abstract class TokenModel {
  /** Specifications of all parameters, by their names in `weights`. */
  abstract get specs(): readonly ParameterSpec[];
  /** Weights by the names of `specs`: live arrays, which a learner updates in place. */
  abstract readonly weights: Readonly<Record<string, HostTensor>>;
  private readonly programs = new ProgramCache();

  /**
   * Declares all weights as inputs of a graph and as targets of differentiation. The whole table of tokens is an input, so the ids that
   * are fed are its rows (see `tokenInputs` and `wholeTableFeeds`).
   *
   * @param options.prefix prefix of the model in a graph that it shares with others (see `joinParameters`), default none
   */
  declare(graph: Graph, options: { prefix?: string } = {}): DeclaredParameters {
    return declareParameters(graph, this.specs, options);
  }

  /**
   * Returns the program of a graph that holds the model, compiled once for each device and number of threads, and freed with the model.
   *
   * @param name  name of the graph: graphs of one name must be equal
   * @param build  adds the rest of the graph, if the program is not there yet
   */
  program(
    name: string,
    compute: ComputeOptions,
    build: (graph: Graph, declared: DeclaredParameters) => void,
  ): Promise<Program> {
    const makeGraph = () => {
      const graph = new Graph(name);
      build(graph, this.declare(graph));
      return graph;
    };
    return this.programs.get(name, makeGraph, compute);
  }

  /** Frees the compiled programs. */
  async dispose(): Promise<void> {
    await this.programs.dispose();
  }
}
