import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readSafetensors, writeSafetensors } from '../io/safetensors.ts';
import type { HostTensor } from '../runtime/host-tensor.ts';
import { DataError } from '../util/errors.ts';
import { readJson, recoverFolder, writeFileAtomic, writeFolderAtomic } from '../util/files.ts';
import { option } from '../util/option-name.ts';

/** State from which a run continues as if it had never stopped. Random numbers need no state: they are functions of step and seed. */
export interface Checkpoint {
  /** Updates made. */
  step: number;
  /** Trained parameters, by name. */
  parameters: Readonly<Record<string, HostTensor>>;
  /** Hash of the frozen weights, which a resumed run reads from its model again; null where all weights are trained. */
  frozen: string | null;
  /** State of the optimizer, by name. */
  optimizer: Readonly<Record<string, HostTensor>>;
  /** State of the objective, such as a method's caches, by name. */
  method: Readonly<Record<string, HostTensor>>;
  /** Value and step of the best evaluation so far (value null where there was none), and number of evaluations since. */
  best: { value: number | null; step: number; evaluationsSince: number };
  /** Costs so far, by name; see `CostLedger`. */
  ledger: Readonly<Record<string, number>>;
}

const FOLDER = 'checkpoint';

/**
 * Writes a run's checkpoint as a whole; on failure, the earlier checkpoint stays as it was.
 *
 * @param run  folder of the run
 */
export async function writeCheckpoint(run: string, checkpoint: Checkpoint): Promise<void> {
  await writeFolderAtomic(join(run, FOLDER), async (folder) => {
    for (const part of ['parameters', 'optimizer', 'method'] as const) {
      await writeSafetensors(join(folder, `${part}.safetensors`), checkpoint[part]);
    }
    const { step, best, ledger, frozen } = checkpoint;
    const state = { step, best, ...(frozen !== null && { frozen }) };
    await writeFileAtomic(join(folder, 'state.json'), `${JSON.stringify(state, null, 2)}\n`);
    // A file of its own: times differ between runs that are otherwise the same.
    await writeFileAtomic(join(folder, 'ledger.json'), `${JSON.stringify(ledger, null, 2)}\n`);
  });
}

/** Reads the checkpoint of a run; undefined for a run that has none yet. @throws DataError for a damaged one */
export const findCheckpoint = async (run: string): Promise<Checkpoint | undefined> =>
  existsSync(join(run, FOLDER)) || existsSync(join(run, `${FOLDER}.old`))
    ? await readCheckpoint(run)
    : undefined;

/**
 * Reads the checkpoint of a run.
 *
 * @param run  folder of the run
 * @throws DataError where there is none, or one of its files is damaged
 */
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
