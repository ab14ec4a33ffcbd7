import type { Gradients } from '../runtime/gradients.ts';
import type { HostTensor } from '../runtime/host-tensor.ts';

/** Loss and gradients of one batch. Moving the parameters is the loop's part. */
export interface StepResult {
  readonly gradients: Gradients;
  /** Loss that is differentiated, in nats per example of the batch. */
  readonly trainingLoss: number;
  /** Loss to plot, in nats: comparable between objectives where the training loss is a surrogate. Equal to it otherwise. */
  readonly interpretableLoss: number;
  /** Further figures for the log, by name. */
  readonly metrics: Readonly<Record<string, number>>;
}

/**
 * Anything that can be trained, as the training loop sees it: compiled programs, and the state that they keep between steps (caches,
 * queues, indexes). A training method of a retriever starts one; so does a language model.
 */
export interface Objective<Batch> {
  /** Prepares for the first step: fills caches, mines negatives. Not called after `restore`. */
  begin(): Promise<void>;
  /**
   * Computes loss and gradients of one batch. Where several batches make one update, none of them sees the state that another leaves
   * behind.
   *
   * @param draw  number of the batch in the run, from 0. Together with the seed it keys all randomness, so that a resumed run draws
   *   the same numbers
   */
  step(batch: Batch, draw: number): Promise<StepResult>;
  /**
   * Acts on an update of the weights: caches take in the embeddings of the last steps, refresh policies run.
   *
   * @param step  number of the update, from 1
   * @returns  figures for the log, by name
   */
  updated(step: number): Promise<Readonly<Record<string, number>>>;
  /** Computes figures that are too expensive for every step. Called when a line is logged. */
  inspect(): Readonly<Record<string, number>>;
  /**
   * Measures with the current weights what the age of kept embeddings does to training. The parameters stay the same to the byte.
   * Absent where nothing is kept whose age could be measured.
   */
  diagnose?(): Promise<Readonly<Record<string, number>>>;
  /** State for a checkpoint, by name; empty where there is none. */
  state(): Readonly<Record<string, HostTensor>>;
  /** Takes back the state of a checkpoint. */
  restore(state: Readonly<Record<string, HostTensor>>): Promise<void>;
  dispose(): Promise<void>;
}

/** Makes an objective of its step. Members that are left out do nothing: it then keeps no state, and has no diagnosis. */
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
