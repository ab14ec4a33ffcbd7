import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readSafetensors, writeSafetensors } from '../io/safetensors.ts';
import { configFields } from '../models/architectures/config-fields.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { HostTensor } from '../runtime/host-tensor.ts';
import { checkFormat } from '../util/check-format.ts';
import { DataError, UndriftError, UsageError } from '../util/errors.ts';
import { fileError, readJson, recoverFolder, writeFileAtomic, writeFolderAtomic } from '../util/files.ts';
import { CORRECTOR_KINDS, type Corrector, type CorrectorKind } from './corrector.ts';
import { correctorPlan } from './corrector-options.ts';
import { createCorrector } from './create-corrector.ts';

const JSON_FILE = 'corrector.json';
const TENSOR_FILE = 'corrector.safetensors';
const FORMAT = 1;

/** Names of tensors that only continued learning needs; a fitted corrector is saved without them. */
const TRAINING_STATE = /^(pairs|optimizer)\/|^step$/;

/** Content of `corrector.json`, apart from the format number. */
export interface CorrectorDescription {
  /** Kind of corrector. */
  readonly kind: CorrectorKind;
  /** Dimension D of the input vectors. */
  readonly dimension: number;
  /** Dimension D' of the output vectors. */
  readonly toDimension: number;
  /** Embedding space of the input vectors. */
  readonly fromSpace: string;
  /** Embedding space of the output vectors. */
  readonly toSpace: string;
  /** `mlp`: width of the hidden layers. */
  readonly hidden?: number;
  /** `mlp`: number of hidden layers. */
  readonly depth?: number;
  /** `low-rank`: rank of the map. */
  readonly rank?: number;
  /** Number of documents that the corrector was fitted to. */
  readonly sample: number;
  /** Mean ‖h(b) − g‖² over held-out documents. */
  readonly heldOutError: number;
}

/** Embedding space at an end of a corrector. */
export interface CorrectorEnd {
  /** Id of the space (see `embeddingSpaceId`). */
  readonly id: string;
  /** Embedding size. */
  readonly dimension: number;
}

/** Describes a corrector that was fitted with the default sizes of its kind. */
export function describeCorrector(
  { kind, sample, heldOutError }: Pick<CorrectorDescription, 'kind' | 'sample' | 'heldOutError'>,
  from: CorrectorEnd,
  to: CorrectorEnd,
): CorrectorDescription {
  const sizes = { dimension: from.dimension, toDimension: to.dimension };
  const { hidden, depth, rank } = correctorPlan(kind, sizes);
  return {
    kind,
    ...sizes,
    fromSpace: from.id,
    toSpace: to.id,
    ...(kind === 'mlp' && { hidden, depth }),
    ...(kind === 'low-rank' && { rank }),
    sample,
    heldOutError,
  };
}

/** Corrector read from a folder, with its description. */
export interface StoredCorrector {
  readonly corrector: Corrector;
  readonly description: CorrectorDescription;
}

/**
 * Writes a fitted corrector as `corrector.json` and `corrector.safetensors`. An existing folder is replaced
 * as a whole.
 *
 * @throws UndriftError when the folder holds anything but a corrector
 */
export async function saveCorrector(
  folder: string,
  corrector: Corrector,
  description: CorrectorDescription,
): Promise<void> {
  await checkCorrectorFolder(folder);
  await writeFolderAtomic(folder, async (temporary) => {
    const json = { format: FORMAT, ...description };
    await writeFileAtomic(join(temporary, JSON_FILE), `${JSON.stringify(json, null, 2)}\n`);
    const fitted = Object.entries(corrector.state()).filter(([name]) => !TRAINING_STATE.test(name));
    await writeSafetensors(join(temporary, TENSOR_FILE), Object.fromEntries(fitted));
  });
}

/**
 * Checks that a folder may be replaced by a corrector: it is absent, empty or holds a corrector.
 *
 * @throws UndriftError when the folder holds anything else
 */
export async function checkCorrectorFolder(folder: string): Promise<void> {
  if (!existsSync(folder)) return;
  const names = await readdir(folder).catch((error: unknown) => {
    throw fileError(error, folder, 'write');
  });
  const other = names.find((name) => name !== JSON_FILE && name !== TENSOR_FILE);
  if (other === undefined) return;
  throw new UndriftError(`${folder} is not empty, and not a corrector (it holds ${other})`, {
    help: 'choose another folder',
  });
}

/**
 * Reads a folder that {@link saveCorrector} wrote.
 *
 * @param options.fromSpace  embedding space (`embeddingSpaceId`) of the vectors to correct; default unchecked
 * @param options.toSpace  embedding space of the vectors wanted; default unchecked
 * @throws UsageError when the corrector was fitted between other spaces
 * @throws DataError when the folder is damaged
 */
export async function loadCorrector(
  folder: string,
  options: { fromSpace?: string; toSpace?: string; compute?: ComputeOptions } = {},
): Promise<StoredCorrector> {
  await recoverFolder(folder);
  const description = await readDescription(join(folder, JSON_FILE));
  for (const name of ['fromSpace', 'toSpace'] as const) {
    const wanted = options[name];
    if (wanted === undefined || wanted === description[name]) continue;
    const end = name === 'fromSpace' ? 'takes vectors' : 'gives vectors';
    throw new UsageError(
      `the corrector in ${folder} ${end} of the embedding space ${description[name]}, not of ${wanted}`,
      { help: 'fit one between the two models at hand: undrift correct --from OLD --to NEW --out FOLDER' },
    );
  }
  const { kind, dimension, toDimension, hidden, depth, rank } = description;
  const corrector = await createCorrector(kind, {
    dimension,
    toDimension,
    ...(hidden && { hidden }),
    ...(depth && { depth }),
    ...(rank && { rank }),
    ...(options.compute && { compute: options.compute }),
  });
  const file = join(folder, TENSOR_FILE);
  try {
    const { tensors } = await readSafetensors(file);
    const isOther = (name: string) => tensors[name]!.dtype !== 'f32';
    const other = Object.keys(tensors).find(isOther);
    if (other) throw new DataError(`tensor '${other}' is ${tensors[other]!.dtype}, not f32`, { file });
    const fitted: Record<string, HostTensor> = tensors;
    // Optimizer state and pairs were not saved; they keep their initial values.
    await corrector.restore({ ...corrector.state(), ...fitted });
    const restored = corrector.state();
    const unknown = Object.keys(fitted).find((name) => !(name in restored));
    const missing = Object.keys(restored).find((name) => !TRAINING_STATE.test(name) && !(name in fitted));
    const isEmpty = kind !== 'identity' && Object.keys(fitted).length === 0;
    if (unknown !== undefined || missing !== undefined || isEmpty)
      throw new UndriftError(`the tensors are not those of a corrector ${kind}`);
  } catch (error) {
    await corrector.dispose();
    if (error instanceof DataError || !(error instanceof UndriftError)) throw error;
    throw new DataError(`holds no corrector ${kind} of the sizes that ${JSON_FILE} says`, {
      file,
      help: 'the folder is damaged: fit the corrector again',
      cause: error,
    });
  }
  return { corrector, description };
}

async function readDescription(file: string): Promise<CorrectorDescription> {
  const json = await readJson(file);
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new DataError('should be an object', {
      file,
      help: 'give the folder that undrift correct --out wrote',
    });
  const record = json as Readonly<Record<string, unknown>>;
  const f = configFields(record, file);
  checkFormat('the corrector', f.count('format'), { reads: FORMAT, file });
  const space = (name: string): string => {
    const value = record[name];
    if (typeof value !== 'string') throw new DataError(`"${name}" must be a text`, { file });
    return value;
  };
  const { heldOutError } = record;
  if (typeof heldOutError !== 'number') throw new DataError('"heldOutError" must be a number', { file });
  const sizes = (['hidden', 'depth', 'rank'] as const).filter((name) => record[name] !== undefined);
  return {
    kind: f.oneOf('kind', CORRECTOR_KINDS),
    dimension: f.count('dimension'),
    toDimension: f.count('toDimension'),
    fromSpace: space('fromSpace'),
    toSpace: space('toSpace'),
    ...Object.fromEntries(sizes.map((name) => [name, f.count(name)])),
    sample: f.count('sample'),
    heldOutError,
  };
}
