import type { GradientMemory } from '../runtime/gradients.ts';
import type { MemoryListener, MemoryNeed } from '../runtime/program.ts';
import { availableMemory } from '../util/available-memory.ts';
import { OutOfMemoryError } from '../util/errors.ts';
import { formatBytes, plural } from '../util/format.ts';
import { type NoteListener, option, tellNote } from '../util/option-name.ts';
import type { SideTokens } from './examples/example-kind.ts';
import type { TrainSettings } from './settings.ts';

/** Facts about the batches of a run on which the memory of a step depends. */
export interface StepSize {
  readonly settings: Pick<TrainSettings, 'method' | 'batchSize' | 'negatives' | 'chunkSize'>;
  readonly tokens: SideTokens;
  readonly memory: GradientMemory;
}

/**
 * Returns a listener that notes when a step needs more memory than is available, before the step is made. It notes
 * this once, and again when a later step needs at least a quarter more.
 *
 * @param available  returns the available memory in bytes; by default that of the machine and of its limits
 */
export function memoryNotes(
  size: StepSize,
  onNote: NoteListener | undefined,
  available: () => number = availableMemory,
): MemoryListener {
  let noted = 0;
  /** Bytes that each program of a step takes; none gives memory back to another. */
  const taken = new Map<string, number>();
  return ({ program, bytes: own, moreBytes }: MemoryNeed) => {
    taken.set(program, own);
    const bytes = [...taken.values()].reduce((sum, each) => sum + each, 0);
    const left = available();
    if (moreBytes <= left || bytes < 1.25 * noted) return;
    noted = bytes;
    tellNote(
      onNote,
      `${describeBatch(size)}: a step takes about ${formatBytes(bytes)} of memory besides the weights, and ` +
        `${formatBytes(Math.max(0, left) + bytes - moreBytes)} are left for it; ${remedy(size)}`,
    );
  };
}

/**
 * Runs training of a retriever. Memory that runs out becomes an error that names the batch, what it needs, and what needs less.
 *
 * @throws OutOfMemoryError where memory runs out
 */
export const withMemoryError = <R>(size: StepSize, train: () => Promise<R>): Promise<R> =>
  explainingMemory(train, ({ neededBytes }) => {
    const need =
      neededBytes === undefined
        ? ''
        : `, for which a step takes about ${formatBytes(neededBytes)} besides the weights`;
    return {
      batches: `${describeBatch(size)}${need}; ${formatBytes(availableMemory())} are available now`,
      help: remedy(size),
    };
  });

/**
 * Runs training of any kind. Memory that runs out becomes an error.
 *
 * @param explain  returns words on the batches, and what needs less memory
 * @throws OutOfMemoryError where memory runs out
 */
export async function explainingMemory<R>(
  train: () => Promise<R>,
  explain: (cause: OutOfMemoryError) => { readonly batches: string; readonly help: string },
): Promise<R> {
  try {
    return await train();
  } catch (cause) {
    if (!(cause instanceof OutOfMemoryError)) throw cause;
    const { batches, help } = explain(cause);
    throw new OutOfMemoryError(`memory ran out in training, with ${batches}`, {
      ...{ cause, neededBytes: cause.neededBytes, help },
    });
  }
}

/** Describes a batch: `batches of 32 queries of up to 24 tokens and documents of up to 256`. */
function describeBatch({
  settings: { batchSize, negatives },
  tokens: { queries, documents },
}: StepSize): string {
  const longest = (store: SideTokens['queries']) =>
    store.lengths.reduce((most, length) => Math.max(most, length), 0);
  const more = negatives > 0 ? ` (each with ${plural(negatives, 'negative')})` : '';
  if (queries === documents)
    return `batches of ${batchSize} texts of up to ${plural(longest(documents), 'token')}`;
  return (
    `batches of ${batchSize} queries of up to ${plural(longest(queries), 'token')} and documents${more} of up to ` +
    `${longest(documents)}`
  );
}

/** Says what needs less memory. */
function remedy({ settings: { method, batchSize, chunkSize }, memory }: StepSize): string {
  const smaller = Math.max(2, Math.floor(batchSize / 4));
  const shorter = `or shorten the texts by ${option('maxDocTokens')}`;
  if (method === 'grad-cache' && chunkSize > 1)
    return `take ${orCheckpointing(memory)}${option('chunkSize', Math.max(1, Math.floor(chunkSize / 4)))}, ${shorter}`;
  const inParts =
    method === 'in-batch' ? `${option('method', 'grad-cache')}, which has the same loss, or ` : '';
  return `take ${orCheckpointing(memory)}${inParts}${option('batchSize', smaller)}, ${shorter}`;
}

/** Words that propose gradient checkpointing, unless the run has it. They end with "or". */
export const orCheckpointing = ({ gradientCheckpointing }: GradientMemory): string =>
  gradientCheckpointing ? '' : `${option('gradientCheckpointing', true)} (a quarter more time), or `;
