import { copyFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Graph } from '../graph/graph.ts';
import type { LayerMemory, TokenInputs } from '../models/architectures/architecture.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import {
  type DeclaredParameters,
  declareParameters,
  initialValue,
  type ParameterSpec,
} from '../nn/parameters.ts';
import { type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { UsageError } from '../util/errors.ts';
import { writeFolderAtomic } from '../util/files.ts';
import { type AddedParts, readAddedParts, writeAddedParts } from './added-parts.ts';
import { parseRetroConfig, type RetroConfig, RetroWing, retroConfig } from './retro-wing.ts';

/** File of the config in the folder of a RETRO model. */
export const RETRO_CONFIG = 'retro.json';
/** File of the added weights. */
export const RETRO_WEIGHTS = 'retro.safetensors';
const PARTS: AddedParts<RetroWing> = {
  ...{ name: 'RETRO', method: 'retro', format: 'undrift-retro-1' },
  ...{ configFile: RETRO_CONFIG, weightsFile: RETRO_WEIGHTS },
  wing: (decoder, config, file) => new RetroWing(decoder, parseRetroConfig(decoder, config, file)),
};

/**
 * RETRO: a language model whose decoder reads the neighbours of the chunks that it has read, through chunked cross-attention.
 *
 * The base model is frozen and only the added parts are trained (RETROfit), so without neighbours the model computes exactly what its base
 * computes.
 *
 * Paper: Borgeaud et al. 2022, arXiv:2112.04426.
 */
export class RetroModel {
  /** Base: the language model without the added parts. */
  readonly base: LanguageModel;
  /** Added parts as functions on symbolic tensors. */
  readonly wing: RetroWing;
  /** Weights of the base and of the added parts, by the names of `specs`: live arrays. */
  readonly weights: Readonly<Record<string, HostTensor>>;
  /** Parameters of the base, frozen, and of the added parts. */
  readonly specs: readonly ParameterSpec[];

  /** Combines a base with added parts and their weights. The base stays the caller's. */
  constructor(base: LanguageModel, wing: RetroWing, added: Readonly<Record<string, HostTensor>>) {
    this.base = base;
    this.wing = wing;
    this.weights = { ...base.weights, ...added };
    this.specs = [...base.specs.map((spec) => ({ ...spec, frozen: true })), ...wing.specs];
  }

  /**
   * Adds fresh parts to a language model. They change no logit until they are trained.
   *
   * @param config shape of the parts; see `retroConfig` for the defaults
   * @param options.seed seed of the initial values, default 0
   * @throws UsageError for a value of the config out of range
   */
  static create(
    base: LanguageModel,
    config: Partial<RetroConfig> = {},
    { seed = 0 }: { seed?: number } = {},
  ): RetroModel {
    const wing = new RetroWing(base.decoder, retroConfig(base.decoder, config));
    const added = wing.specs.map((spec) => {
      return [spec.name, hostTensor('f32', spec.shape, initialValue(spec, seed))] as const;
    });
    return new RetroModel(base, wing, Object.fromEntries(added));
  }

  /** Declares all weights as inputs of a graph, and those of the added parts as targets of differentiation. */
  declare(graph: Graph): DeclaredParameters {
    return declareParameters(graph, this.specs);
  }

  /**
   * Declares the neighbours of a batch as inputs of its graph (see `neighbourFeeds`) and makes the memory that the decoder reads.
   *
   * @param inputs batch of texts, whose number is a dimension
   */
  memory(declared: DeclaredParameters, inputs: TokenInputs): LayerMemory {
    const shape = [inputs.ids.shape[0]!, 'chunks', 'neighbours', 2 * this.wing.config.chunkTokens];
    return this.wing.memory(declared.get, {
      ids: declared.graph.input('neighbours/ids', 'i64', shape),
      mask: declared.graph.input('neighbours/mask', 'f32', shape),
    });
  }
}

/**
 * Writes a RETRO model as a folder: the files of its base, which stay a language model of their own, with `retro.json` and
 * `retro.safetensors`. The folder is replaced as a whole.
 *
 * @param options.base folder of the base, whose files are copied
 * @param options.facts facts about the training, as JSON; they change nothing
 * @throws UsageError if the folder to write is that of the base
 */
export async function saveRetro(
  folder: string,
  model: RetroModel,
  { base, facts = {} }: { base: string; facts?: Readonly<Record<string, unknown>> },
): Promise<void> {
  const names = await readdir(base, { withFileTypes: true });
  const copied = names.filter((entry) => entry.isFile() && !OWN.has(entry.name)).map(({ name }) => name);
  if (join(base, '.') === join(folder, '.'))
    throw new UsageError(`${folder} is the folder of the base: give another one`);
  await writeFolderAtomic(folder, async (temporary) => {
    for (const name of copied) await copyFile(join(base, name), join(temporary, name));
    const { wing, weights, base: own } = model;
    await writeAddedParts(temporary, PARTS, { wing, base: own.weights, weights, facts });
  });
}

const OWN: ReadonlySet<string> = new Set([RETRO_CONFIG, RETRO_WEIGHTS, 'README.md']);

/**
 * Reads the added parts of a RETRO model for its base.
 *
 * @param folder folder of the RETRO model
 * @param base base, loaded from the same folder
 * @throws DataError that names the file where one is missing, damaged or made for other weights
 */
export async function openRetro(folder: string, base: LanguageModel): Promise<RetroModel> {
  const { wing, weights } = await readAddedParts(folder, PARTS, base);
  return new RetroModel(base, wing, weights);
}

/**
 * Loads a RETRO model from its folder. The caller disposes of its base.
 *
 * @throws DataError as `LanguageModel.load` and where the added parts are missing or damaged
 */
export async function loadRetro(
  folder: string,
  options: { onNote?: (note: string) => void } = {},
): Promise<RetroModel> {
  const base = await LanguageModel.load(folder, options);
  try {
    return await openRetro(folder, base);
  } catch (error) {
    await base.dispose();
    throw error;
  }
}
