import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { openSafetensors, writeSafetensors } from '../io/safetensors.ts';
import { readWeights } from '../models/folder/weight-files.ts';
import type { Decoder } from '../models/language/decoder.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import type { ParameterSpec } from '../nn/parameters.ts';
import { bytesOf } from '../onnx/dtypes.ts';
import type { HostTensor } from '../runtime/host-tensor.ts';
import { ByteDigest } from '../util/byte-digest.ts';
import { DataError } from '../util/errors.ts';
import { readJson, writeFileAtomic } from '../util/files.ts';
import { objectIn } from '../util/json-objects.ts';

/** Weights by name. */
type Weights = Readonly<Record<string, HostTensor>>;

/** Parts that are added to a decoder. */
interface Wing {
  readonly config: object;
  readonly specs: readonly ParameterSpec[];
}

/** Kind of parts that are added to a language model, which lie beside it in two files of its folder. */
export interface AddedParts<W extends Wing> {
  /** Name in messages: `RETRO`. */
  readonly name: string;
  /** Id of the way of training: `retro`. */
  readonly method: string;
  /** File of the config. */
  readonly configFile: string;
  /** File of the added weights. */
  readonly weightsFile: string;
  /** Name of the format, in the config. */
  readonly format: string;
  /** Makes the parts from the config of a file. @throws DataError */
  wing(decoder: Decoder, config: unknown, file: string): W;
}

/** Computes SHA-256 over names and values of weights: 16 hexadecimal digits. */
export function weightsDigest(weights: Weights): string {
  const digest = new ByteDigest();
  for (const name of Object.keys(weights).sort()) {
    digest.add(Buffer.from(`${name}\n`));
    digest.add(bytesOf(weights[name]!.data));
  }
  return digest.digest().slice(0, 16);
}

/**
 * Writes the two files of added parts.
 *
 * @param parts.base weights of the base, whose digest is written
 * @param parts.weights weights by name, those of the parts among them
 * @param parts.facts facts about the training, as JSON; they change nothing
 */
export async function writeAddedParts<W extends Wing>(
  folder: string,
  kind: AddedParts<W>,
  {
    wing,
    base,
    weights,
    facts,
  }: { wing: W; base: Weights; weights: Weights; facts: Readonly<Record<string, unknown>> },
): Promise<void> {
  const added = wing.specs.map(({ name }) => [name, weights[name]!] as const);
  const json = { format: kind.format, config: wing.config, baseDigest: weightsDigest(base), ...facts };
  await writeSafetensors(join(folder, kind.weightsFile), Object.fromEntries(added));
  await writeFileAtomic(join(folder, kind.configFile), `${JSON.stringify(json, null, 2)}\n`);
}

/**
 * Reads added parts for their base.
 *
 * @param base base, loaded from the same folder
 * @throws DataError that names the file where one is missing, damaged or made for other weights
 */
export async function readAddedParts<W extends Wing>(
  folder: string,
  { name, method, configFile, weightsFile, format, wing: wingOf }: AddedParts<W>,
  base: LanguageModel,
): Promise<{ readonly wing: W; readonly weights: Weights }> {
  const file = join(folder, configFile);
  if (existsSync(folder) && !existsSync(file)) {
    throw new DataError(`is no ${name} model: it has no ${configFile}`, {
      file: folder,
      help: `name the model or the run of undrift lm train --method ${method}, or train one`,
    });
  }
  const json = objectIn(await readJson(file), file);
  if (json.format !== format) {
    throw new DataError(`has the format ${JSON.stringify(json.format)}, not "${format}"`, {
      file,
      help: 'a model that another version of Undrift has written: train it anew',
    });
  }
  if (json.baseDigest !== weightsDigest(base.weights)) {
    throw new DataError('was trained for other weights of the base', {
      file,
      help: 'restore the base that lies beside it, or train it anew: the added parts fit one base only',
    });
  }
  const wing = wingOf(base.decoder, json.config, file);
  const path = join(folder, weightsFile);
  const reader = await openSafetensors(path);
  try {
    return { wing, weights: await readWeights(reader, wing.specs, { file: path }) };
  } finally {
    await reader.close();
  }
}
