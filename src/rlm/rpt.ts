import type { Graph } from '../graph/graph.ts';
import { checkReplaceable, writeFiles } from '../models/folder/write-towers.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import { languageModelFiles, type SaveLanguageModelOptions } from '../models/language/save-language-model.ts';
import {
  type DeclaredParameters,
  declareParameters,
  initialValue,
  type ParameterSpec,
} from '../nn/parameters.ts';
import { type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { writeFolderAtomic } from '../util/files.ts';
import { type AddedParts, readAddedParts, writeAddedParts } from './added-parts.ts';
import { parseRptConfig, type RptConfig, rptConfig } from './rpt-config.ts';
import { RPT_RETRIEVER, RptWing } from './rpt-wing.ts';

/** File of the config in the folder of an RPT model. */
export const RPT_CONFIG = 'rpt.json';
const PARTS: AddedParts<RptWing> = {
  ...{ name: 'RPT', method: 'rpt', format: 'undrift-rpt-1' },
  ...{ configFile: RPT_CONFIG, weightsFile: 'rpt.safetensors' },
  wing: (decoder, config, file) => new RptWing(decoder, parseRptConfig(decoder, config, file)),
};

/**
 * Retrieval-pretrained transformer (RPT): a language model that retrieves chunks of the text which it reads, beyond the reach of its attention,
 * and reads them by chunked cross-attention. The retriever is a part of the model.
 *
 * @paper Rubin, Berant 2023: "Long-range Language Modeling with Self-retrieval", arXiv:2306.13421
 */
export class RptModel {
  /** Base: the language model without the added parts. */
  readonly base: LanguageModel;
  /** Added parts as functions on symbolic tensors. */
  readonly wing: RptWing;
  /** Weights of the base and of the added parts, by the names of `specs`: live arrays. */
  readonly weights: Readonly<Record<string, HostTensor>>;

  /** Combines a base with added parts and their weights. The base stays the caller's. */
  constructor(base: LanguageModel, wing: RptWing, added: Readonly<Record<string, HostTensor>>) {
    this.base = base;
    this.wing = wing;
    this.weights = { ...base.weights, ...added };
  }

  /**
   * Adds fresh parts to a language model. They change no logit until they are trained.
   *
   * @param config shape of the parts; see `rptConfig` for the defaults
   * @param options.seed seed of the initial values, default 0
   * @throws UsageError for a value of the config out of range
   */
  static create(
    base: LanguageModel,
    config: Partial<RptConfig> = {},
    { seed = 0 }: { seed?: number } = {},
  ): RptModel {
    const wing = new RptWing(base.decoder, rptConfig(base.decoder, config));
    const added = wing.specs.map((spec) => {
      return [spec.name, hostTensor('f32', spec.shape, initialValue(spec, seed))] as const;
    });
    return new RptModel(base, wing, Object.fromEntries(added));
  }

  /**
   * Specifications of the parameters of the base and of the added parts.
   *
   * @param options.frozenBase whether the base is not trained, default false
   * @param options.frozenRetriever whether the maps to queries and keys are not trained, default false
   */
  specs({
    frozenBase = false,
    frozenRetriever = false,
  }: {
    frozenBase?: boolean;
    frozenRetriever?: boolean;
  } = {}): readonly ParameterSpec[] {
    const isFrozen = (spec: ParameterSpec) =>
      spec.name.startsWith(RPT_RETRIEVER) ? frozenRetriever : spec.name in this.base.weights && frozenBase;
    return [...this.base.specs, ...this.wing.specs].map((spec) =>
      isFrozen(spec) ? { ...spec, frozen: true } : spec,
    );
  }

  /** Declares all weights as inputs of a graph, and those that are trained as targets of differentiation. */
  declare(
    graph: Graph,
    options: { frozenBase?: boolean; frozenRetriever?: boolean } = {},
  ): DeclaredParameters {
    return declareParameters(graph, this.specs(options));
  }
}

/**
 * Writes an RPT model as a folder: its base, which stays a language model of its own, with `rpt.json` and `rpt.safetensors`. The folder is
 * replaced as a whole.
 *
 * @param folder folder to write
 * @param model model to write
 * @param options.facts facts about the training, as JSON; they change nothing
 * @throws UndriftError when the folder exists and holds anything but a model of Undrift
 */
export async function saveRpt(
  folder: string,
  model: RptModel,
  {
    facts = {},
    ...options
  }: SaveLanguageModelOptions & { readonly facts?: Readonly<Record<string, unknown>> } = {},
): Promise<void> {
  const { base, wing, weights } = model;
  await checkReplaceable(folder);
  await writeFolderAtomic(folder, async (temporary) => {
    await writeFiles(temporary, languageModelFiles(base, options));
    await writeAddedParts(temporary, PARTS, { wing, base: base.weights, weights, facts });
  });
}

/**
 * Reads the added parts of an RPT model for its base.
 *
 * @param folder folder of the RPT model
 * @param base base, loaded from the same folder
 * @throws DataError that names the file where one is missing, damaged or made for other weights
 */
export async function openRpt(folder: string, base: LanguageModel): Promise<RptModel> {
  const { wing, weights } = await readAddedParts(folder, PARTS, base);
  return new RptModel(base, wing, weights);
}

/**
 * Loads an RPT model from its folder. The caller disposes of its base.
 *
 * @throws DataError as `LanguageModel.load` and where the added parts are missing or damaged
 */
export async function loadRpt(
  folder: string,
  options: { onNote?: (note: string) => void } = {},
): Promise<RptModel> {
  const base = await LanguageModel.load(folder, options);
  try {
    return await openRpt(folder, base);
  } catch (error) {
    await base.dispose();
    throw error;
  }
}
