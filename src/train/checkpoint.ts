import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readSafetensors, writeSafetensors } from '../io/safetensors.ts';
import type { HostTensor } from '../runtime/host-tensor.ts';
import { ByteDigest, digestOfFile } from '../util/byte-digest.ts';
import { checkFormat } from '../util/check-format.ts';
import { DataError, UndriftError } from '../util/errors.ts';
import { readJson, recoverFolder, writeFileAtomic, writeFolderAtomic } from '../util/files.ts';
import { isObject, objectIn } from '../util/json-objects.ts';
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

/** Facts that tell a run from others, such as its settings, as JSON values by name. */
export type RunIdentity = Readonly<Record<string, unknown>>;

/** Folder of the checkpoint, inside a run's folder. */
export const CHECKPOINT = 'checkpoint';
const MANIFEST = 'manifest.json';
const STATE = 'state.json';
const LEDGER = 'ledger.json';
const TENSOR_PARTS = ['parameters', 'optimizer', 'method'] as const;
const tensorFile = (part: (typeof TENSOR_PARTS)[number]): string => `${part}.safetensors`;
/** Files of a checkpoint that the manifest describes. */
const FILES = [...TENSOR_PARTS.map(tensorFile), STATE, LEDGER];

/** Format of checkpoints with a manifest. Earlier checkpoints have no format number. */
const FORMAT = 2;

/** Content of `manifest.json`: the run of a checkpoint, and each of its files. */
interface Manifest {
  readonly format: number;
  readonly run: RunIdentity;
  readonly files: Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>;
}

const damagedHelp = () =>
  `restore the checkpoint from a copy, or start the run anew with ${option('overwrite', true)}`;

/**
 * Writes a run's checkpoint as a whole; on failure, the earlier checkpoint stays as it was. `manifest.json` has the SHA-256 of each
 * file, and the identity of the run.
 *
 * @param run  folder of the run
 */
export async function writeCheckpoint(
  run: string,
  checkpoint: Checkpoint,
  identity: RunIdentity = {},
): Promise<void> {
  await writeFolderAtomic(join(run, CHECKPOINT), async (folder) => {
    const files: Record<string, Manifest['files'][string]> = {};
    const add = async (name: string, write: (onBytes: (bytes: Uint8Array) => void) => Promise<void>) => {
      const digest = new ByteDigest();
      let bytes = 0;
      await write((chunk) => {
        digest.add(chunk);
        bytes += chunk.length;
      });
      files[name] = { bytes, sha256: digest.digest() };
    };
    const addJson = (name: string, value: unknown) =>
      add(name, (onBytes) => writeFileAtomic(join(folder, name), jsonText(value), onBytes));
    for (const part of TENSOR_PARTS) {
      const name = tensorFile(part);
      await add(name, (onBytes) =>
        writeSafetensors(join(folder, name), checkpoint[part], undefined, onBytes),
      );
    }
    const { step, best, ledger, frozen } = checkpoint;
    await addJson(STATE, { format: FORMAT, step, best, ...(frozen !== null && { frozen }) });
    // A file of its own: times differ between runs that are otherwise the same.
    await addJson(LEDGER, ledger);
    await writeFileAtomic(join(folder, MANIFEST), jsonText({ format: FORMAT, run: identity, files }));
  });
}

const jsonText = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** Tells whether a run has a checkpoint. */
export const hasCheckpoint = (run: string): boolean =>
  existsSync(join(run, CHECKPOINT)) || existsSync(join(run, `${CHECKPOINT}.old`));

/**
 * Reads the checkpoint of a run, after checking every file by its digest.
 *
 * @param run  folder of the run
 * @param identity  identity of the run that is to go on
 * @returns  the checkpoint, and whether it has digests. Those of early versions have none
 * @throws DataError where there is none, or one of its files is damaged or from another checkpoint
 * @throws UndriftError where the checkpoint is that of another run
 */
export async function readCheckpoint(
  run: string,
  identity: RunIdentity = {},
): Promise<Checkpoint & { readonly verified: boolean }> {
  const folder = join(run, CHECKPOINT);
  await recoverFolder(folder);
  const manifest = await readManifest(join(folder, MANIFEST));
  if (manifest) {
    for (const name of FILES) await verifyFile(folder, name, manifest);
    checkIdentity(manifest.run, identity, run);
  }
  const { step, best, frozen } = await readState(join(folder, STATE), manifest !== undefined);
  const ledger = await readLedger(join(folder, LEDGER));
  const read = async (part: (typeof TENSOR_PARTS)[number]) =>
    (await readSafetensors(join(folder, tensorFile(part)))).tensors;
  return {
    ...{ step, best, frozen, ledger, verified: manifest !== undefined },
    parameters: await read('parameters'),
    optimizer: await read('optimizer'),
    method: await read('method'),
  };
}

/** Reads the manifest of a checkpoint; undefined if there is none. */
async function readManifest(file: string): Promise<Manifest | undefined> {
  if (!existsSync(file)) return undefined;
  const { format, run, files } = objectIn(await readJson(file), file);
  if (typeof format === 'number') checkFormat('the checkpoint', format, { reads: FORMAT, file });
  if (format !== FORMAT || !isObject(run) || !isObject(files)) {
    throw new DataError('this is not the manifest of a checkpoint', { file, help: damagedHelp() });
  }
  return { format, run, files: files as Manifest['files'] };
}

async function verifyFile(folder: string, name: string, { files }: Manifest): Promise<void> {
  const file = join(folder, name);
  const expected = files[name];
  const refuse = (message: string): never => {
    throw new DataError(message, { file, help: damagedHelp() });
  };
  const size = await stat(file).then(
    (found) => found.size,
    () => refuse(`the file is missing, and ${MANIFEST} lists it`),
  );
  if (size !== expected?.bytes) {
    refuse(`the file has ${size} bytes, ${MANIFEST} says ${expected?.bytes ?? 'nothing of it'}`);
  }
  const sha256 = await digestOfFile(file);
  if (sha256 !== expected?.sha256) {
    refuse(
      `the file was damaged or replaced: its SHA-256 begins with ${sha256.slice(0, 12)}, ${MANIFEST} says ${String(expected?.sha256).slice(0, 12)}`,
    );
  }
}

/** Checks that a checkpoint is that of the run. Facts that only one of the two versions of Undrift knows are not compared. */
function checkIdentity(stored: RunIdentity, now: RunIdentity, run: string): void {
  const text = (value: unknown) => JSON.stringify(value ?? null);
  const differing = Object.keys(now).filter((key) => key in stored && text(stored[key]) !== text(now[key]));
  if (differing.length === 0) return;
  const list = differing.map(
    (key) => `${key}: ${text(stored[key])} in the checkpoint, ${text(now[key])} in the run`,
  );
  throw new UndriftError(`the checkpoint in ${run} is that of another run\n  ${list.join('\n  ')}`, {
    help: `a file of the run was edited or replaced: restore settings.json and ${CHECKPOINT}/ from one run, or start anew with ${option('overwrite', true)}`,
  });
}

async function readState(
  file: string,
  hasManifest: boolean,
): Promise<Pick<Checkpoint, 'step' | 'best' | 'frozen'>> {
  const json = await readJson(file);
  const { format, step, best, frozen = null } = isObject(json) ? json : {};
  const isState =
    isCount(step) && isBest(best) && (frozen === null || typeof frozen === 'string') && best.step <= step;
  if (!isState) {
    throw new DataError('this is not the state of a checkpoint', { file, help: damagedHelp() });
  }
  if (format !== undefined && !hasManifest) {
    throw new DataError(`the checkpoint has lost its ${MANIFEST}, which says how its files should be`, {
      file,
      help: damagedHelp(),
    });
  }
  return { step, best, frozen };
}

async function readLedger(file: string): Promise<Checkpoint['ledger']> {
  const json = await readJson(file);
  const amounts = isObject(json) ? Object.entries(json) : [];
  const wrong = amounts.find(([, amount]) => !Number.isFinite(amount));
  if (!isObject(json) || wrong) {
    throw new DataError(
      wrong ? `"${wrong[0]}" must be a number, found ${JSON.stringify(wrong[1])}` : 'expected a JSON object',
      { file, help: damagedHelp() },
    );
  }
  return json as Checkpoint['ledger'];
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function isBest(best: unknown): best is Checkpoint['best'] {
  if (!isObject(best)) return false;
  const { value, step, evaluationsSince } = best;
  return (value === null || Number.isFinite(value)) && isCount(step) && isCount(evaluationsSince);
}
