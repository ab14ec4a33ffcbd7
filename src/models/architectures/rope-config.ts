import type { RopeConfig, RopeScaling } from '../../nn/rotary.ts';
import { DataError } from '../../util/errors.ts';
import type { Json } from '../../util/json-objects.ts';
import { configFields } from './config-fields.ts';

const SCALINGS = ['default', 'linear', 'llama3'] as const;

/**
 * Reads the rotary settings of a config.json: `rope_parameters`, written by transformers since version 5, or
 * `rope_theta` and `rope_scaling` of earlier versions.
 *
 * @param options.theta  default of `rope_theta`
 * @throws DataError for an unsupported kind of scaling, or rotation of only a part of each head
 */
export function ropeConfig(json: Json, file: string, { theta }: { theta: number }): RopeConfig {
  const given = json.rope_parameters ?? json.rope_scaling ?? {};
  if (typeof given !== 'object' || Array.isArray(given)) {
    throw new DataError(`"rope_parameters" must be an object, found ${JSON.stringify(given)}`, { file });
  }
  const parameters: Json = { rope_theta: json.rope_theta, ...given };
  const f = configFields(parameters, file);
  const kind = parameters.rope_type ?? parameters.type ?? 'default';
  if (!SCALINGS.includes(kind as (typeof SCALINGS)[number])) {
    throw new DataError(`rope scaling "${kind}" is not supported`, {
      file,
      help: `these are: ${SCALINGS.join(', ')}; without scaling the model reads texts of its first training length`,
    });
  }
  const turned = parameters.partial_rotary_factor ?? json.partial_rotary_factor ?? 1;
  if (turned !== 1) throw new DataError(`"partial_rotary_factor" ${turned} is not supported: 1 is`, { file });
  return {
    rope_theta: f.positive('rope_theta', theta),
    rope_scaling: scaling(kind as string, f, json, file),
  };
}

function scaling(
  kind: string,
  f: ReturnType<typeof configFields>,
  json: Json,
  file: string,
): RopeScaling | null {
  if (kind === 'linear') return { rope_type: 'linear', factor: f.positive('factor') };
  if (kind !== 'llama3') return null;
  const longest = configFields(json, file).count('max_position_embeddings');
  return {
    rope_type: 'llama3',
    factor: f.positive('factor'),
    low_freq_factor: f.positive('low_freq_factor'),
    high_freq_factor: f.positive('high_freq_factor'),
    original_max_position_embeddings: f.count('original_max_position_embeddings', longest),
  };
}
