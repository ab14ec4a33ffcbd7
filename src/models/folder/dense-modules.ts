import { join } from 'node:path';
import { type DenseActivation, type DenseLayer, denseActivations } from '../../nn/dense.ts';
import type { ParameterSpec } from '../../nn/parameters.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import { DataError } from '../../util/errors.ts';
import { readJson } from '../../util/files.ts';
import { objectIn } from '../../util/json-objects.ts';
import { configFields } from '../architectures/config-fields.ts';
import { checkFields, type FieldTable, isOneOf } from './field-table.ts';
import { openWeights, readWeights } from './weight-files.ts';

const WHOLE_VECTOR = {
  accepts: isOneOf('sentence_embedding'),
  means: 'the layer does not act on the pooled vector',
  help: 'dense layers after the pooling can be read',
};

/** Fields of the file of a Dense module. Others are left by sentence-transformers too. */
export const DENSE_FIELDS: FieldTable = {
  in_features: 'followed',
  out_features: 'followed',
  bias: 'followed',
  activation_function: 'followed',
  use_residual: 'followed',
  module_input_name: WHOLE_VECTOR,
  module_output_name: WHOLE_VECTOR,
};

/** Modules of PyTorch's activation functions; the others are in `activation`. */
const TORCH_MODULES: Readonly<Partial<Record<DenseActivation, string>>> = { Identity: 'linear' };

/** Class path of an activation function, as sentence-transformers writes it. */
const torchPath = (activation: DenseActivation): string =>
  `torch.nn.modules.${TORCH_MODULES[activation] ?? 'activation'}.${activation}`;

/** Matches the class path of a module of PyTorch. */
const TORCH_CLASS = /^torch\.nn\.(?:modules\.(?:\w+\.)?)?(\w+)$/;

/**
 * Reads the configuration of a Dense module.
 *
 * @throws DataError for a field that is invalid or not supported
 */
export async function readDenseLayer(file: string): Promise<DenseLayer> {
  const config = objectIn(await readJson(file), file);
  checkFields(config, file, DENSE_FIELDS);
  const f = configFields(config, file);
  const { activation_function: path = torchPath('Tanh') } = config;
  const name = typeof path === 'string' ? TORCH_CLASS.exec(path)?.[1] : undefined;
  if (name === undefined || !Object.hasOwn(denseActivations, name)) {
    throw new DataError(`"activation_function" is ${JSON.stringify(path)}, which we do not have`, {
      file,
      help: `these classes of torch.nn can be read: ${Object.keys(denseActivations).join(', ')}`,
    });
  }
  return {
    size: f.count('out_features'),
    ...(f.flag('bias', true) && { bias: true }),
    ...(name !== 'Identity' && { activation: name as DenseActivation }),
    ...(f.flag('use_residual', false) && { residual: true }),
  };
}

/** Makes the configuration of a Dense module. */
export const denseFile = (
  { size, bias = false, activation = 'Identity', residual }: DenseLayer,
  inputs: number,
): Record<string, unknown> => ({
  in_features: inputs,
  out_features: size,
  bias,
  activation_function: torchPath(activation),
  ...(residual && { use_residual: true }),
});

/** Name of a layer's parameter in the weight file of its Dense module. */
export function moduleTensor(parameter: string): string {
  const ending = parameter.slice(parameter.indexOf('.') + 1);
  return ending.startsWith('residual.') ? ending : `linear.${ending}`;
}

/**
 * Reads the weights of a Dense module.
 *
 * @param folder  folder of the module
 * @param specs  parameters of the layer
 * @returns weights by the names of the parameters
 * @throws DataError when a tensor is missing, or has another shape than the configuration says
 */
export async function readDenseWeights(
  folder: string,
  specs: readonly ParameterSpec[],
): Promise<Record<string, HostTensor>> {
  const file = join(folder, 'model.safetensors');
  const reader = await openWeights(folder);
  try {
    const named = specs.map((spec) => ({ ...spec, name: moduleTensor(spec.name) }));
    const weights = await readWeights(reader, named, { file });
    return Object.fromEntries(specs.map(({ name }, i) => [name, weights[named[i]!.name]!]));
  } finally {
    await reader.close();
  }
}
