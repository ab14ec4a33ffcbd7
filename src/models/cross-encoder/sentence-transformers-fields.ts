import { DataError } from '../../util/errors.ts';
import { isObject, type Json } from '../../util/json-objects.ts';
import { CONFIG_FIELDS } from '../folder/config-json.ts';
import { type FieldTable, isOff, isOneOf } from '../folder/field-table.ts';
import { TEXT_ARGUMENTS, TRANSFORMER_FIELDS } from '../folder/transformer-settings.ts';
import type { ScoreActivation } from './cross-encoder.ts';

const ONE_SCORE = {
  help: 'cross-encoders that are transformers with a classification head of one label can be read',
};

/** Fields of `config_sentence_transformers.json` of a CrossEncoder. */
export const CROSS_ENCODER_FIELDS: FieldTable = {
  activation_fn: 'followed',
  prompts: 'followed',
  default_prompt_name: 'followed',
  model_type: {
    accepts: isOneOf('CrossEncoder'),
    means: 'the model does not score pairs of texts',
    ...ONE_SCORE,
  },
  // Everything is computed in f32.
  keep_in_fp32_modules: 'harmless',
  __version__: 'harmless',
  requirements: 'harmless',
};

/** Fields of the file of a Transformer module that scores pairs. */
export const SCORING_FIELDS: FieldTable = {
  ...TRANSFORMER_FIELDS,
  transformer_task: {
    accepts: isOneOf('sequence-classification'),
    means: 'the score is not the logit of a classification head',
    ...ONE_SCORE,
  },
  module_output_name: {
    accepts: isOneOf('scores'),
    means: 'the module does not give the scores',
    ...ONE_SCORE,
  },
  modality_config: {
    accepts: givesLogits,
    means: 'texts do not go through the model as they are, or its logits are not what is taken',
    ...ONE_SCORE,
  },
};

/** Arguments of each call of the tokenizer on pairs. */
export const PAIR_ARGUMENTS: FieldTable = {
  ...TEXT_ARGUMENTS,
  truncation: {
    accepts: isOneOf(true, 'longest_first'),
    means: 'long pairs are not cut in this way',
    help: 'remove the field from a copy of the folder; the longer one of two texts is then cut first',
  },
};

const { auto_map: ownCode } = CONFIG_FIELDS;

/** Fields of `config.json` beside those of the architecture and of its head. */
export const CLASSIFIER_CONFIG_FIELDS: FieldTable = {
  ...CONFIG_FIELDS,
  auto_map: {
    ...(ownCode as Exclude<typeof ownCode, string | undefined>),
    accepts: (value) =>
      (ownCode as Exclude<typeof ownCode, string | undefined>).accepts(value) &&
      !(isObject(value) && 'AutoModelForSequenceClassification' in value),
  },
  pruned_heads: {
    accepts: (value) => isOff(value) || (isObject(value) && Object.keys(value).length === 0),
    means: 'attention heads are left out',
    help: 'models with all of their attention heads can be read',
  },
};

/** Tells whether texts go to `forward`, whose logits are taken. */
function givesLogits(value: unknown): boolean {
  if (value === null || value === undefined) return true;
  if (!isObject(value) || 'message' in value || !isObject(value.text)) return false;
  const { method, method_output_name: output } = value.text;
  return method === 'forward' && [output].flat().join() === 'logits';
}

/** Paths of the classes of PyTorch, as files name them, by what they compute. */
const ACTIVATIONS: Readonly<Record<string, ScoreActivation>> = {
  'torch.nn.modules.activation.Sigmoid': 'sigmoid',
  'torch.nn.Sigmoid': 'sigmoid',
  'torch.nn.modules.linear.Identity': 'identity',
  'torch.nn.Identity': 'identity',
};

/** Class of PyTorch for an activation, as sentence-transformers writes it. */
export const activationClass = (activation: ScoreActivation): string =>
  activation === 'sigmoid' ? 'torch.nn.modules.activation.Sigmoid' : 'torch.nn.modules.linear.Identity';

/**
 * Reads the activation of a cross-encoder, in the order in which sentence-transformers looks for it. Without any it is the sigmoid,
 * as there.
 *
 * @param places  values with the file and the field that they come from, the first that counts first
 * @throws DataError for an activation that is not supported
 */
export function activationOf(
  places: readonly { readonly value: unknown; readonly file: string; readonly field: string }[],
): ScoreActivation {
  const found = places.find(({ value }) => value !== undefined && value !== null);
  if (!found) return 'sigmoid';
  const { value, file, field } = found;
  const known =
    typeof value === 'string' && Object.hasOwn(ACTIVATIONS, value) ? ACTIVATIONS[value] : undefined;
  if (known) return known;
  throw new DataError(
    `"${field}" is ${JSON.stringify(value)}: scores go through a function that we do not have`,
    {
      file,
      help: `${Object.keys(ACTIVATIONS).slice(0, 3).join(', ')} can be read; the order of scores is the same without the function if it rises everywhere: write torch.nn.Identity in a copy of the folder`,
    },
  );
}

/**
 * Reads the number of labels of a classification head as transformers does; undefined for a model without one.
 *
 * @param config  content of config.json
 */
export function labelCount(config: Json): number | undefined {
  const { id2label, num_labels: count, architectures } = config;
  const classes = Array.isArray(architectures) ? (architectures as unknown[]) : [];
  const isClassifier = classes.some(
    (name) => typeof name === 'string' && name.endsWith('ForSequenceClassification'),
  );
  if (!isClassifier) return undefined;
  if (isObject(id2label)) return Object.keys(id2label).length;
  return typeof count === 'number' ? count : 2;
}
