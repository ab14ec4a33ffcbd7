import type { Tensor } from '../../graph/tensor.ts';
import { type Activation, activationNames, activations } from '../../nn/activations.ts';
import { layerNorm, linear } from '../../nn/layers.ts';
import {
  layerNormParameters,
  linearParameters,
  type ParameterSpec,
  type Parameters,
} from '../../nn/parameters.ts';
import type { Json } from '../../util/json-objects.ts';
import { configFields } from '../architectures/config-fields.ts';

/**
 * Head of a masked language model, under the names of Hugging Face's models for masked language modelling. It maps a hidden state to a
 * vector, whose products with the rows of the matrix of the logits, plus a bias, are the logits of the tokens.
 */
export interface MaskedHead {
  /** Class of transformers that has this head, for `architectures` of config.json. */
  readonly modelClass: string;
  /** Fields of config.json that are the head's own, with defaults filled in. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** Parameters by their whole names in the weight file, without matrix and bias of the logits. */
  readonly specs: readonly ParameterSpec[];
  /** Name of the matrix of the logits where it is not the table of tokens. */
  readonly matrix: string;
  /** Name of the bias of the logits; undefined where there is none. */
  readonly bias: string | undefined;
  /** Name under which files may repeat the bias, and which the bias has where the matrix is not the table of tokens. */
  readonly matrixBias?: string | undefined;
  /** Builds the vectors of hidden states, f32[R, D]. */
  transform(p: Parameters, hidden: Tensor): Tensor;
}

/** Content of config.json, and facts on the encoder. */
interface HeadSource {
  /** Width D of the encoder. */
  readonly size: number;
  readonly config: Json;
  readonly file: string;
}

type MakeHead = (source: HeadSource) => MaskedHead;

/** Names of the parts of a head with a linear layer, an activation and a norm. */
interface HeadNames {
  readonly dense: string;
  readonly norm: string;
  readonly matrix: string;
  readonly bias: string;
  readonly matrixBias?: string;
}

/** Makes a head of a linear layer, an activation, a norm with bias, and logits with bias. */
const denseHead = (
  modelClass: string,
  { dense, norm, ...names }: HeadNames,
  { size, activation, epsilon }: { size: number; activation: Activation; epsilon: number },
): MaskedHead => ({
  modelClass,
  fields: {},
  ...names,
  specs: [...linearParameters(dense, size, size), ...layerNormParameters(norm, size)],
  transform: (p, hidden) => layerNorm(activations[activation](linear(hidden, p, dense)), p, norm, epsilon),
});

const BERT_NAMES: HeadNames = {
  dense: 'cls.predictions.transform.dense',
  norm: 'cls.predictions.transform.LayerNorm',
  matrix: 'cls.predictions.decoder.weight',
  bias: 'cls.predictions.bias',
  matrixBias: 'cls.predictions.decoder.bias',
};

const ROBERTA_NAMES: HeadNames = {
  dense: 'lm_head.dense',
  norm: 'lm_head.layer_norm',
  matrix: 'lm_head.decoder.weight',
  bias: 'lm_head.bias',
  matrixBias: 'lm_head.decoder.bias',
};

const DISTILBERT_NAMES: HeadNames = {
  dense: 'vocab_transform',
  norm: 'vocab_layer_norm',
  matrix: 'vocab_projector.weight',
  bias: 'vocab_projector.bias',
};

/** Epsilon of the norm in DistilBERT, which is not a field of the configuration. */
const DISTILBERT_EPSILON = 1e-12;

const bertHead: MakeHead = ({ size, config, file }) => {
  const f = configFields(config, file);
  const activation = f.oneOf('hidden_act', activationNames, 'gelu');
  return denseHead('BertForMaskedLM', BERT_NAMES, {
    ...{ size, activation, epsilon: f.positive('layer_norm_eps', 1e-12) },
  });
};

/** RoBERTa and its relatives: the activation is gelu, whatever that of the layers. */
const robertaHead =
  (modelClass: string): MakeHead =>
  ({ size, config, file }) =>
    denseHead(modelClass, ROBERTA_NAMES, {
      ...{ size, activation: 'gelu' },
      epsilon: configFields(config, file).positive('layer_norm_eps', 1e-12),
    });

const distilbertHead: MakeHead = ({ size, config, file }) => {
  const activation = configFields(config, file).oneOf('activation', activationNames, 'gelu');
  return denseHead('DistilBertForMaskedLM', DISTILBERT_NAMES, {
    ...{ size, activation, epsilon: DISTILBERT_EPSILON },
  });
};

const modernbertHead: MakeHead = ({ size, config, file }) => {
  const f = configFields(config, file);
  const bias = f.flag('classifier_bias', false);
  const hasLogitBias = f.flag('decoder_bias', true);
  const activation = f.oneOf('classifier_activation', activationNames, 'gelu');
  const norm = { bias: f.flag('norm_bias', false) };
  const epsilon = f.positive('norm_eps', 1e-5);
  return {
    modelClass: 'ModernBertForMaskedLM',
    fields: { classifier_bias: bias, classifier_activation: activation, decoder_bias: hasLogitBias },
    specs: [
      ...linearParameters('head.dense', size, size, { bias }),
      ...layerNormParameters('head.norm', size, norm),
    ],
    matrix: 'decoder.weight',
    bias: hasLogitBias ? 'decoder.bias' : undefined,
    transform(p, hidden) {
      const inner = activations[activation](linear(hidden, p, 'head.dense', { bias }));
      return layerNorm(inner, p, 'head.norm', epsilon, norm);
    },
  };
};

const HEADS: Readonly<Record<string, MakeHead>> = {
  bert: bertHead,
  distilbert: distilbertHead,
  modernbert: modernbertHead,
  mpnet: robertaHead('MPNetForMaskedLM'),
  roberta: robertaHead('RobertaForMaskedLM'),
  'xlm-roberta': robertaHead('XLMRobertaForMaskedLM'),
};

/** Values of `model_type` of masked language models. */
export const MASKED_MODEL_TYPES: readonly string[] = Object.keys(HEADS);

/** Makes the head of an architecture; undefined for one without such a head. */
export const maskedHead = (modelType: string, source: HeadSource): MaskedHead | undefined =>
  Object.hasOwn(HEADS, modelType) ? HEADS[modelType]!(source) : undefined;
