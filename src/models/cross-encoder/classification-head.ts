import { relu, tanh } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { type Activation, activationNames, activations } from '../../nn/activations.ts';
import { dropout, layerNorm, linear, pool } from '../../nn/layers.ts';
import {
  layerNormParameters,
  linearParameters,
  type ParameterSpec,
  type Parameters,
} from '../../nn/parameters.ts';
import { UsageError } from '../../util/errors.ts';
import type { Json } from '../../util/json-objects.ts';
import { configFields } from '../architectures/config-fields.ts';

/** Batch as a head sees it. */
export interface HeadInputs {
  /** Last hidden states, f32[B, T, D]. */
  readonly hidden: Tensor;
  /** f32[B, T]: 1 for tokens, 0 for padding. */
  readonly mask: Tensor;
  /** Applies dropout to vectors f32[B, D], at a place of this name. */
  readonly drop: (vectors: Tensor, site: string) => Tensor;
}

/** Classification head of one label, under the names of Hugging Face's models for sequence classification. */
export interface ClassificationHead {
  /** Class of transformers that has this head, for `architectures` of config.json. */
  readonly modelClass: string;
  /** Fields of config.json that are the head's own, with defaults filled in. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** Parameters by the names that follow the encoder's prefix in the weight file. */
  readonly inEncoder: readonly ParameterSpec[];
  /** Parameters by their whole names in the weight file. */
  readonly outside: readonly ParameterSpec[];
  /** Builds the logit of each text, f32[B, 1]. */
  logits(p: Parameters, inputs: HeadInputs): Tensor;
}

type MakeHead = (size: number, config: Json, file: string) => ClassificationHead;

/** BERT: the first token through the pooler, whose activation is tanh, and a linear layer. */
const bertHead: MakeHead = (size) => ({
  modelClass: 'BertForSequenceClassification',
  fields: {},
  inEncoder: linearParameters('pooler.dense', size, size),
  outside: linearParameters('classifier', size, 1),
  logits: (p, { hidden, mask, drop }) => {
    const pooled = tanh(linear(pool(hidden, mask, 'cls'), p, 'pooler.dense'));
    return linear(drop(pooled, 'classifier'), p, 'classifier');
  },
});

/** RoBERTa and its relatives: dropout, a linear layer with tanh, and a linear layer. */
const robertaHead =
  (modelClass: string): MakeHead =>
  (size) => ({
    modelClass,
    fields: {},
    inEncoder: [],
    outside: [
      ...linearParameters('classifier.dense', size, size),
      ...linearParameters('classifier.out_proj', size, 1),
    ],
    logits: (p, { hidden, mask, drop }) => {
      const first = drop(pool(hidden, mask, 'cls'), 'classifier.dense');
      return linear(
        drop(tanh(linear(first, p, 'classifier.dense')), 'classifier.out_proj'),
        p,
        'classifier.out_proj',
      );
    },
  });

/** DistilBERT: a linear layer with relu, and a linear layer. */
const distilbertHead: MakeHead = (size) => ({
  modelClass: 'DistilBertForSequenceClassification',
  fields: {},
  inEncoder: [],
  outside: [...linearParameters('pre_classifier', size, size), ...linearParameters('classifier', size, 1)],
  logits: (p, { hidden, mask, drop }) => {
    const first = relu(linear(pool(hidden, mask, 'cls'), p, 'pre_classifier'));
    return linear(drop(first, 'classifier'), p, 'classifier');
  },
});

/** ModernBERT: first token or mean, a linear layer, an activation and a norm, and a linear layer. */
const modernbertHead: MakeHead = (size, config, file) => {
  const f = configFields(config, file);
  const pooling = f.oneOf('classifier_pooling', ['cls', 'mean'], 'cls');
  const bias = f.flag('classifier_bias', false);
  const activation: Activation = f.oneOf('classifier_activation', activationNames, 'gelu');
  const norm = { bias: f.flag('norm_bias', false) };
  const epsilon = f.positive('norm_eps', 1e-5);
  return {
    modelClass: 'ModernBertForSequenceClassification',
    fields: { classifier_pooling: pooling, classifier_bias: bias, classifier_activation: activation },
    inEncoder: [],
    outside: [
      ...linearParameters('head.dense', size, size, { bias }),
      ...layerNormParameters('head.norm', size, norm),
      ...linearParameters('classifier', size, 1),
    ],
    logits: (p, { hidden, mask, drop }) => {
      const pooled = pool(hidden, mask, pooling);
      const inner = activations[activation](linear(pooled, p, 'head.dense', { bias }));
      return linear(drop(layerNorm(inner, p, 'head.norm', epsilon, norm), 'classifier'), p, 'classifier');
    },
  };
};

const HEADS: Readonly<Record<string, MakeHead>> = {
  bert: bertHead,
  distilbert: distilbertHead,
  modernbert: modernbertHead,
  mpnet: robertaHead('MPNetForSequenceClassification'),
  roberta: robertaHead('RobertaForSequenceClassification'),
  'xlm-roberta': robertaHead('XLMRobertaForSequenceClassification'),
};

/**
 * Makes the classification head of an architecture.
 *
 * @param size  width D of the encoder
 * @param config  content of config.json
 * @throws UsageError for an architecture without one
 */
export function classificationHead(
  modelType: string,
  { size, config, file }: { size: number; config: Json; file: string },
): ClassificationHead {
  const make = Object.hasOwn(HEADS, modelType) ? HEADS[modelType] : undefined;
  if (make) return make(size, config, file);
  throw new UsageError(
    `a model of the type ${JSON.stringify(modelType)} cannot be a cross-encoder here (${file})`,
    {
      help: `these can: ${Object.keys(HEADS).join(', ')}`,
    },
  );
}

/** Makes the function that applies dropout in a head. */
export const headDropout =
  (rateRatio: number, keys: Tensor | undefined): HeadInputs['drop'] =>
  (vectors, site) =>
    keys ? dropout(vectors, { rateRatio, keys }, { site, perText: [vectors.shape[1]!] }) : vectors;
