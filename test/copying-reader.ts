import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeSafetensors } from '../src/io/safetensors.ts';
import { hostTensor } from '../src/runtime/host-tensor.ts';
import type { Tokenizer } from '../src/text/tokenizer.ts';
import { tempFiles } from './temp-files.ts';

/**
 * Writes a language model that copies: the more often a token stands in the text so far, the more likely it comes next. An answer is
 * then the more likely the more of its words the passage has.
 *
 * It is a Llama of one layer whose weights are set by hand. Each token has a dimension of its own; queries and keys are 0, so that
 * attention is the mean over all tokens so far; the feed-forward block is 0.
 *
 * @param options.end  id of its end token; default none
 * @returns  its folder, as Hugging Face has it
 */
export async function copyingReader(tokenizer: Tokenizer, { end }: { end?: number } = {}): Promise<string> {
  const V = tokenizer.vocabSize;
  const D = V + (V % 2);
  const folder = tempFiles({});
  const config = {
    ...{ model_type: 'llama', architectures: ['LlamaForCausalLM'], vocab_size: V, hidden_size: D },
    ...{
      intermediate_size: 2,
      num_hidden_layers: 1,
      num_attention_heads: 1,
      num_key_value_heads: 1,
      head_dim: D,
    },
    ...{ max_position_embeddings: 256, rms_norm_eps: 1e-6, hidden_act: 'silu', tie_word_embeddings: true },
    ...(end !== undefined && { eos_token_id: end }),
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer.toJson()));
  const matrix = (rows: number, columns: number, diagonal: number) => {
    const data = new Float32Array(rows * columns);
    for (let i = 0; i < Math.min(rows, columns); i++) data[i * columns + i] = diagonal;
    return hostTensor('f32', [rows, columns], data);
  };
  const ones = () => hostTensor('f32', [D], new Float32Array(D).fill(1));
  const layer = 'model.layers.0';
  await writeSafetensors(join(folder, 'model.safetensors'), {
    'model.embed_tokens.weight': matrix(V, D, 1),
    [`${layer}.self_attn.q_proj.weight`]: matrix(D, D, 0),
    [`${layer}.self_attn.k_proj.weight`]: matrix(D, D, 0),
    [`${layer}.self_attn.v_proj.weight`]: matrix(D, D, 1),
    [`${layer}.self_attn.o_proj.weight`]: matrix(D, D, 3),
    [`${layer}.mlp.gate_proj.weight`]: matrix(2, D, 0),
    [`${layer}.mlp.up_proj.weight`]: matrix(2, D, 0),
    [`${layer}.mlp.down_proj.weight`]: matrix(D, 2, 0),
    [`${layer}.input_layernorm.weight`]: ones(),
    [`${layer}.post_attention_layernorm.weight`]: ones(),
    'model.norm.weight': ones(),
  });
  return folder;
}
