import type { Graph } from '../../graph/graph.ts';
import type { DeclaredParameters } from '../../nn/parameters.ts';
import type { ModelParameters } from '../../runtime/join-parameters.ts';
import type { NoteListener } from '../../util/option-name.ts';
import type { GivenValues } from '../../util/option-table.ts';
import type { Progress } from '../../util/progress.ts';

/** Facts with which a method opens the part that it trains beside the retriever. */
export interface PartOpening {
  /** Options of the method, checked and with defaults filled in. */
  readonly options: GivenValues;
  /** Seed of all randomness of the run. */
  readonly seed: number;
  /** Reports progress of loading. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Reports a fact to the user, once. */
  readonly onNote?: NoteListener | undefined;
}

/**
 * Model that a method trains beside the retriever, in the same graph and by the same updates: a reader. Its specs and weights have its
 * own names; in programs and checkpoints they begin with its prefix.
 */
export interface TrainedPart extends ModelParameters {
  /** Prefix of its names in programs, without the slash, and name of its folder in the folder of the run: `reader`. */
  readonly prefix: 'reader';
  /** Peak learning rate of its parameters. They follow the schedule of the run, and their gradients are clipped apart. */
  readonly lr: number;
  /** Source of its frozen weights, for messages, and their hash; null where all are trained. */
  readonly frozen: { readonly source: string; readonly hash: string | null };
  /** Declares its parameters in the graph of a step, under its prefix. */
  declare(graph: Graph): DeclaredParameters;
  /** Saves the current weights as a model folder, which replaces an earlier one. */
  save(folder: string, at: { readonly trainedSteps: number }): Promise<void>;
  /** Frees what the part holds. */
  dispose(): Promise<void>;
}
