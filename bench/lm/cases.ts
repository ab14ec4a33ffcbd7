import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exportLanguageModel } from '../../src/export/export-language-model.ts';
import { Decoder, type ModelConfig } from '../../src/models/language/decoder.ts';
import { LanguageModel } from '../../src/models/language/language-model.ts';
import { saveLanguageModel } from '../../src/models/language/save-language-model.ts';
import { initialValue } from '../../src/nn/parameters.ts';
import { type HostTensor, hostTensor } from '../../src/runtime/host-tensor.ts';
import { Tokenizer } from '../../src/text/tokenizer.ts';
import { trainVocabulary } from '../../src/text/train-vocabulary.ts';

/** Batch of token windows. */
export interface WindowShape {
  /** Number of windows, B. */
  readonly windows: number;
  /** Tokens of each, T. */
  readonly tokens: number;
}

/** Model of a case: a folder, or a new model with random weights. */
export type ModelName = 'given' | 'llama-20m' | 'llama-tiny';

/** Cases of the suites `score`, `train` and `generate`. The model `given` is the folder of the option `--model`. */
export const LM_CASES = {
  score: {
    'given-512': { model: 'given', windows: 8, tokens: 512 },
    'given-1024': { model: 'given', windows: 4, tokens: 1024 },
    '20m-512': { model: 'llama-20m', windows: 16, tokens: 512 },
    'tiny-64': { model: 'llama-tiny', windows: 4, tokens: 64 },
  },
  train: {
    '20m': { model: 'llama-20m', windows: 8, tokens: 256, lora: 0 },
    'given-lora': { model: 'given', windows: 2, tokens: 512, lora: 8 },
    tiny: { model: 'llama-tiny', windows: 2, tokens: 32, lora: 0 },
    'tiny-lora': { model: 'llama-tiny', windows: 2, tokens: 32, lora: 4 },
  },
  generate: {
    'given-first-512': { model: 'given', prompt: 512, tokens: 1 },
    'given-next-64': { model: 'given', prompt: 32, tokens: 64 },
    'tiny-next-16': { model: 'llama-tiny', prompt: 8, tokens: 16 },
  },
} as const satisfies {
  score: Record<string, WindowShape & { model: ModelName }>;
  train: Record<string, WindowShape & { model: ModelName; lora: number }>;
  generate: Record<string, { model: ModelName; prompt: number; tokens: number }>;
};

const LLAMA = { model_type: 'llama', tie_word_embeddings: true, rms_norm_eps: 1e-5 };

/** Configs of the new models. That of 20 million parameters has 20.5. */
const CONFIGS: Record<Exclude<ModelName, 'given'>, Record<string, unknown>> = {
  'llama-20m': {
    ...LLAMA,
    ...{ vocab_size: 16_384, hidden_size: 384, num_hidden_layers: 8, intermediate_size: 1024 },
    ...{ num_attention_heads: 6, num_key_value_heads: 6, max_position_embeddings: 1024 },
  },
  'llama-tiny': {
    ...LLAMA,
    ...{ vocab_size: 512, hidden_size: 32, num_hidden_layers: 2, intermediate_size: 64 },
    ...{ num_attention_heads: 2, num_key_value_heads: 1, max_position_embeddings: 128 },
  },
};

/** Makes the folder of a new model, once. Both sides of a comparison read it. */
export async function modelFolder(name: Exclude<ModelName, 'given'>): Promise<string> {
  const folder = fileURLToPath(new URL(`../results/tmp/lm/${name}`, import.meta.url));
  if (existsSync(folder)) return folder;
  const decoder = new Decoder(CONFIGS[name] as ModelConfig);
  const tokenizer = Tokenizer.fromJson(
    trainVocabulary(['a text whose words are the vocabulary'], {
      model: 'wordpiece',
      vocabSize: 60,
      minFrequency: 1,
      alphabetLimit: 40,
    }),
  );
  const weights: Record<string, HostTensor> = {};
  for (const spec of decoder.specs) {
    weights[spec.name] = hostTensor('f32', spec.shape as number[], initialValue(spec, 1));
  }
  await saveLanguageModel(folder, new LanguageModel(decoder, tokenizer, weights));
  return folder;
}

/** Exports a model for transformers.js, once. */
export async function exportedFolder(folder: string): Promise<string> {
  const out = fileURLToPath(new URL(`../results/tmp/lm/onnx-${basename(folder)}`, import.meta.url));
  if (existsSync(out)) return out;
  const model = await LanguageModel.load(folder);
  await exportLanguageModel(out, model, { formats: ['onnx'], texts: ['a text', 'another one'] });
  await model.dispose();
  return out;
}

/** Token ids of a window: a function of its number that both sides compute. Ids 0 to 3 are left out. */
export const windowIds = (window: number, tokens: number, vocabSize: number): Int32Array =>
  Int32Array.from({ length: tokens }, (_, t) => 4 + (((window * tokens + t) * 7919) % (vocabSize - 4)));
