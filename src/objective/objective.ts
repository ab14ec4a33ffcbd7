import type { Gradients } from '../runtime/gradients.ts';
import type { HostTensor } from '../runtime/host-tensor.ts';

/** Loss and gradients of one batch. The training loop, not the objective, moves the parameters. */
export interface StepResult {
  /** Gradients of the training loss with respect to the trained parameters. */
  readonly gradients: Gradients;
  /** Loss that is differentiated, in nats per example of the batch. */
  readonly trainingLoss: number;
  /**
   * Number of examples that the loss is the mean of, where batches of one size differ in it, such as tokens to predict. Batches whose
   * gradients make one update count in proportion, so that they make the gradient of one large batch. Default: equal batches.
   */
  readonly examples?: number | undefined;
  /**
   * Loss to plot, in nats. It can be compared between objectives even where the training loss is a surrogate; elsewhere it equals
   * the training loss.
   */
  readonly interpretableLoss: number;
  /** Further figures for the log, by name. */
  readonly metrics: Readonly<Record<string, number>>;
}

/**
 * Objective of training as the training loop sees it: compiled programs, and the state that they keep between steps (caches,
 * queues, indexes). A training method of a retriever starts an objective; so does a language model.
 */
export interface Objective<Batch> {
  /** Prepares for the first step: fills caches, mines negatives. Not called after `restore`. */
  begin(): Promise<void>;
  /**
   * Computes loss and gradients of one batch. Where several batches make one update, no batch sees state that another batch of
   * the update has changed.
   *
   * @param draw  number of the batch in the run, from 0. Together with the seed, it keys all randomness, so that a resumed run
   *   draws the same numbers.
   */
  step(batch: Batch, draw: number): Promise<StepResult>;
  /**
   * Acts on an update of the weights: caches take in the embeddings of the last steps, refresh policies run.
   *
   * @param step  number of the update, from 1
   * @returns  figures for the log, by name
   */
  updated(step: number): Promise<Readonly<Record<string, number>>>;
  /**
   * Computes figures that are too expensive for every step. Called when a line is logged.
   *
   * @returns  figures for the log, by name
   */
  inspect(): Readonly<Record<string, number>>;
  /**
   * Measures, with the current weights, how the age of kept embeddings affects training. Parameters stay the same to the byte.
   * Absent where the objective keeps nothing whose age could be measured.
   *
   * @returns  figures for the log, by name
   */
  diagnose?(): Promise<Readonly<Record<string, number>>>;
  /** Returns the state for a checkpoint, by name; empty where there is none. */
  state(): Readonly<Record<string, HostTensor>>;
  /** Restores the state of a checkpoint. */
  restore(state: Readonly<Record<string, HostTensor>>): Promise<void>;
  /** Frees programs and buffers. */
  dispose(): Promise<void>;
}

/**
 * Makes an objective from a `step` and any other members. Members that are left out do nothing: such an objective keeps no state
 * and has no diagnosis.
 */
export const defineObjective = <Batch>(
  parts: Pick<Objective<Batch>, 'step' | 'dispose'> & Partial<Objective<Batch>>,
): Objective<Batch> => ({
  begin: async () => {},
  updated: async () => ({}),
  inspect: () => ({}),
  state: () => ({}),
  restore: async () => {},
  ...parts,
});
