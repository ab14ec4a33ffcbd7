import { join } from 'node:path';
import { readSafetensors, writeSafetensors } from '../io/safetensors.ts';
import type { HostTensor } from '../runtime/host-tensor.ts';
import { DataError } from '../util/errors.ts';
import { readJson, recoverFolder, writeFileAtomic, writeFolderAtomic } from '../util/files.ts';
import { option } from '../util/option-name.ts';

/** Everything a run needs to go on as if it had never stopped. Randomness needs nothing: it is a function of step and seed. */
export interface Checkpoint {
  /** Optimizer updates made. */
  step: number;
  /** Of what is trained. */
  parameters: Readonly<Record<string, HostTensor>>;
  /** Hash of what is frozen, which the run reads from its model again; null where all is trained. */
  frozen: string | null;
  optimizer: Readonly<Record<string, HostTensor>>;
  method: Readonly<Record<string, HostTensor>>;
  /** Best evaluation so far, and evaluations since without a better one. */
  best: { value: number | null; step: number; evaluationsSince: number };
  /** What has been spent. */
  ledger: Readonly<Record<string, number>>;
}

const FOLDER = 'checkpoint';

/** Writes a run's checkpoint whole, or leaves the earlier one as it was. */
export async function writeCheckpoint(run: string, checkpoint: Checkpoint): Promise<void> {
  await writeFolderAtomic(join(run, FOLDER), async (folder) => {
    for (const part of ['parameters', 'optimizer', 'method'] as const) {
      await writeSafetensors(join(folder, `${part}.safetensors`), checkpoint[part]);
    }
    const { step, best, ledger, frozen } = checkpoint;
    const state = { step, best, ...(frozen !== null && { frozen }) };
    await writeFileAtomic(join(folder, 'state.json'), `${JSON.stringify(state, null, 2)}\n`);
    // Apart: times differ between runs that are the same otherwise.
    await writeFileAtomic(join(folder, 'ledger.json'), `${JSON.stringify(ledger, null, 2)}\n`);
  });
}

/** @throws DataError when there is none, or a file of it is damaged */
export async function readCheckpoint(run: string): Promise<Checkpoint> {
  const folder = join(run, FOLDER);
  await recoverFolder(folder);
  const file = join(folder, 'state.json');
  const state = (await readJson(file)) as Partial<Checkpoint>;
  if (!Number.isSafeInteger(state?.step) || !isBest(state.best)) {
    throw new DataError('this is not the state of a checkpoint', {
      file,
      help: `start the run anew with ${option('overwrite', true)}`,
    });
  }
  const read = async (part: string) => (await readSafetensors(join(folder, `${part}.safetensors`))).tensors;
  return {
    step: state.step!,
    best: state.best,
    frozen: state.frozen ?? null,
    ledger: (await readJson(join(folder, 'ledger.json'))) as Checkpoint['ledger'],
    parameters: await read('parameters'),
    optimizer: await read('optimizer'),
    method: await read('method'),
  };
}

function isBest(best: Partial<Checkpoint['best']> | null | undefined): best is Checkpoint['best'] {
  const { value, step, evaluationsSince } = best ?? {};
  return (
    (value === null || Number.isFinite(value)) &&
    Number.isSafeInteger(step) &&
    Number.isSafeInteger(evaluationsSince)
  );
}
