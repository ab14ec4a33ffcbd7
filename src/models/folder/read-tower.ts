import { join } from 'node:path';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { DataError, UsageError } from '../../util/errors.ts';
import { readJson } from '../../util/files.ts';
import { type Json, objectIn, optionalJson } from '../../util/json-objects.ts';
import type { EncoderWeights } from '../architectures/architecture.ts';
import { Encoder, type EncoderConfig, projectionTo } from '../retriever/encoder.ts';
import { checkConfig, usualPooling } from './config-json.ts';
import { readDenseWeights } from './dense-modules.ts';
import type { LoadOptions } from './load-options.ts';
import { lowerCased } from './lower-case.ts';
import { type ModuleList, readModuleList } from './module-list.ts';
import { requireConfig } from './no-model.ts';
import { readTokenizer } from './read-tokenizer.ts';
import { readStaticWeights, staticConfig } from './static-table.ts';
import type { UndriftJson } from './undrift-json.ts';
import { openWeights, readWeights } from './weight-files.ts';

/** Encoder and tokenizer read from a folder. */
export interface Tower {
  /** Folder of the encoder's files. */
  inside: string;
  tokenizer: Tokenizer;
  encoder: Encoder;
  /** Weights; a projection that is still to be initialised is absent. */
  weights: EncoderWeights;
  modules: ModuleList | undefined;
}

/**
 * Reads tokenizer, configuration and weights of one encoder.
 *
 * @param own  content of `undrift.json`; undefined for folders of other programs
 */
export async function readTower(
  folder: string,
  own: UndriftJson | undefined,
  options: LoadOptions,
): Promise<Tower> {
  const modules = await readModuleList(folder);
  const inside = join(folder, modules?.encoder ?? '');
  const configFile = join(inside, 'config.json');
  const file = join(inside, 'model.safetensors');
  const isStatic = modules?.moduleClass === 'StaticEmbedding';
  if (!isStatic) requireConfig(configFile);
  const stored = isStatic ? await optionalJson(configFile) : objectIn(await readJson(configFile), configFile);
  const config = { ...stored, ...modules?.transformer?.config };
  if (!isStatic) checkConfig(config, inside);
  const given = await readTokenizer(inside, {
    config,
    isWhole: isStatic || own !== undefined,
    settings: modules?.transformer?.tokenizer,
    onNote: options.onNote,
  });
  const tokenizer = modules?.transformer?.lowerCase ? lowerCased(given) : given;
  const reader = await openWeights(inside);
  try {
    const model = isStatic ? staticConfig(stored, reader, file) : (config as EncoderConfig['model']);
    const dense = storedDense(modules, own, reader.tensors.get('projection.weight')?.dims[0]);
    const asked = options.projectionSize;
    if (dense.length > 0 && asked !== undefined && asked !== dense.at(-1)!.size) {
      throw new UsageError(
        `${folder} has a projection to ${dense.at(-1)!.size} dimensions, not to ${asked}`,
        { help: 'leave the size out, or start from a model without a projection' },
      );
    }
    const settings = encoderSettings(own, modules, config, options);
    const layers = dense.length > 0 ? { dense } : projectionTo(asked);
    const encoder = new Encoder(withinSize({ model, ...settings, ...layers }, options), configFile);
    const inModules = modules?.dense ?? [];
    const elsewhere = new Set(
      dense.length === 0 || inModules.length > 0 ? encoder.denseSpecs.flat().map(({ name }) => name) : [],
    );
    const inFile = encoder.specs.filter(({ name }) => !elsewhere.has(name));
    const read = isStatic ? readStaticWeights : readWeights;
    const weights: Record<string, HostTensor> = {
      ...(await read(reader, inFile, {
        file,
        isFoldable: (name) => encoder.isFoldable(name),
        headPrefix: encoder.headPrefix,
        onNote: options.onNote,
      })),
    };
    for (const [i, { folder: own }] of inModules.entries()) {
      Object.assign(weights, await readDenseWeights(join(folder, own), encoder.denseSpecs[i]!));
    }
    if (tokenizer.vocabSize > encoder.vocabSize) {
      throw new DataError(
        `the tokenizer has ${tokenizer.vocabSize} tokens, the embedding table in model.safetensors only ${encoder.vocabSize} rows`,
        {
          file: join(inside, 'tokenizer.json'),
          help: 'the tokenizer and the weights come from different models',
        },
      );
    }
    return { inside, tokenizer, encoder, weights, modules };
  } finally {
    await reader.close();
  }
}

/** Dense layers whose weights the folder has. */
function storedDense(
  modules: ModuleList | undefined,
  own: UndriftJson | undefined,
  projectionSize: number | undefined,
): NonNullable<EncoderConfig['dense']> {
  if (modules && modules.dense.length > 0) return modules.dense.map(({ layer }) => layer);
  return own?.dense ?? projectionTo(own?.projectionSize ?? projectionSize).dense ?? [];
}

/** Removes a number of dimensions to keep that is not below the size of the vectors, as Python does when it cuts. */
function withinSize({ dimensions, ...config }: EncoderConfig, options: LoadOptions): EncoderConfig {
  if (dimensions === undefined) return config;
  const whole = new Encoder(config).dimension;
  return dimensions >= whole && options.dimensions === undefined ? config : { ...config, dimensions };
}

/** Chooses pooling and normalisation: as asked for, else as in the folder, else the usual ones. */
function encoderSettings(
  own: UndriftJson | undefined,
  modules: ModuleList | undefined,
  config: Json,
  options: LoadOptions,
): Pick<EncoderConfig, 'pooling' | 'normalize' | 'dimensions' | 'includePrompt'> {
  let pooling = options.pooling ?? own?.pooling ?? modules?.pooling?.pooling;
  if (!pooling) {
    pooling = modules?.moduleClass === 'StaticEmbedding' ? 'mean' : usualPooling(config);
    if (modules?.moduleClass !== 'StaticEmbedding') {
      options.onNote?.(`the folder names no pooling: ${pooling} is assumed`);
    }
  }
  const normalize = options.normalize ?? own?.normalize ?? modules?.normalize;
  if (normalize === undefined) {
    options.onNote?.('the folder names no similarity: cosine is assumed, so vectors are normalised');
  }
  const dimensions = options.dimensions ?? own?.dimensions ?? modules?.dimensions;
  const includePrompt = own ? (own.includePrompt ?? true) : (modules?.pooling?.includePrompt ?? true);
  return {
    pooling,
    normalize: normalize ?? true,
    ...(dimensions !== undefined && { dimensions }),
    ...(!includePrompt && { includePrompt }),
  };
}
