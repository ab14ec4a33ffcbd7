import type { DenseLayer } from '../../nn/dense.ts';
import type { Pooling } from '../../nn/layers.ts';
import { denseFile } from './dense-modules.ts';
import { type ModuleClass, POOLING_MODES } from './module-list.ts';

/** Old spellings, which every version of sentence-transformers reads; version 6 through a table of its own. */
const CLASSES = 'sentence_transformers.models';

/** Settings of an encoder that the module files hold. */
interface Parts {
  moduleClass: ModuleClass;
  hiddenSize: number;
  dense: readonly DenseLayer[];
  dimensions?: number | undefined;
  pooling: Pooling;
  includePrompt: boolean;
  normalize: boolean;
  maxTokens: number;
  prompts: Readonly<Record<'query' | 'document', string>>;
}

/** Makes the module files of an encoder, by path, and the folders of its dense layers. */
export function moduleFiles(parts: Parts): { files: Record<string, unknown>; dense: readonly string[] } {
  const modules: { idx: number; name: string; path: string; type: string }[] = [];
  const add = (type: string, inFolder = true): string => {
    const idx = modules.length;
    const path = inFolder ? `${idx}_${type}` : '';
    modules.push({ idx, name: String(idx), path, type: `${CLASSES}.${type}` });
    return path;
  };
  const files: Record<string, unknown> = {};
  add(parts.moduleClass, false);
  if (parts.moduleClass === 'Transformer') {
    // The tokenizer itself puts texts in lower case.
    files['sentence_bert_config.json'] = { max_seq_length: parts.maxTokens, do_lower_case: false };
    files[`${add('Pooling')}/config.json`] = {
      word_embedding_dimension: parts.hiddenSize,
      ...Object.fromEntries(
        Object.entries(POOLING_MODES).map(([key, mode]) => [key, parts.pooling === mode]),
      ),
      include_prompt: parts.includePrompt,
    };
  }
  let width = parts.hiddenSize;
  const dense = parts.dense.map((layer) => {
    if (layer.normalizeInput) add('Normalize');
    const folder = add('Dense');
    files[`${folder}/config.json`] = denseFile(layer, width);
    width = layer.size;
    return folder;
  });
  if (parts.normalize) add('Normalize');
  files['modules.json'] = modules;
  files['config_sentence_transformers.json'] = sentenceTransformersConfig(parts);
  return { files, dense };
}

/**
 * Makes the files that join the complete folders `query` and `document` to one asymmetric model, a Router:
 * `encode_query` and `encode_document` each use their own tower.
 */
export function routerFiles(
  parts: Pick<Parts, 'prompts' | 'normalize' | 'dimensions'>,
  tower: Record<string, unknown>,
): Record<string, unknown> {
  const modules = tower['modules.json'] as { path: string; type: string }[];
  const types: Record<string, string> = {};
  const structure: Record<string, string[]> = {};
  for (const side of ['query', 'document']) {
    structure[side] = modules.map(({ path }) => (path === '' ? side : `${side}/${path}`));
    for (const [i, { type }] of modules.entries()) types[structure[side]![i]!] = type;
  }
  return {
    'modules.json': [{ idx: 0, name: '0', path: '', type: `${CLASSES}.Router` }],
    'router_config.json': { types, structure, parameters: { default_route: 'document' } },
    'config_sentence_transformers.json': sentenceTransformersConfig(parts),
  };
}

const sentenceTransformersConfig = ({
  prompts,
  normalize,
  dimensions,
}: Pick<Parts, 'prompts' | 'normalize' | 'dimensions'>) => ({
  model_type: 'SentenceTransformer',
  prompts,
  default_prompt_name: null,
  similarity_fn_name: normalize ? 'cosine' : 'dot',
  ...(dimensions !== undefined && { truncate_dim: dimensions }),
});
