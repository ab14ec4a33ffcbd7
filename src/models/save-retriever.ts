import { existsSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeSafetensors } from '../io/safetensors.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { modelIds } from '../text/tokenizer-json.ts';
import { UndriftError } from '../util/errors.ts';
import { fileError, writeFolderAtomic } from '../util/files.ts';
import { embeddingSpaceId } from './embedding-space.ts';
import { PROJECTION } from './encoder.ts';
import { type ModelCard, modelCard } from './model-card.ts';
import { exportOnnx } from './onnx-export.ts';
import type { Retriever, Side } from './retriever.ts';
import { moduleFiles, routerFiles } from './sentence-transformers.ts';
import { hasOnlyPlainWeights, storedWeights } from './stored-weights.ts';
import { UNDRIFT_JSON, type UndriftJson, undriftJson } from './undrift-json.ts';

export interface SaveOptions {
  /** What the model card says beside what the model itself knows. */
  card?: ModelCard;
  /** Whether to write `onnx/model.onnx`, a second copy of the weights (true). */
  onnx?: boolean;
}

/** Whatever a model folder of ours can hold: a folder with anything else is not replaced. */
const OWN_NAMES =
  /^(undrift|config|config_sentence_transformers|modules|router_config|sentence_bert_config|special_tokens_map|tokenizer|tokenizer_config)\.json$|^model\.safetensors$|^README\.md$|^onnx$|^\d_(Pooling|Dense|Normalize)$|^(query|document)$/;

/**
 * Writes a retriever as a model folder that Undrift, sentence-transformers, transformers and transformers.js read:
 *
 *     config.json, model.safetensors                   architecture and weights, under Hugging Face's names
 *     tokenizer.json, tokenizer_config.json, special_tokens_map.json
 *     modules.json, 1_Pooling/, 2_Dense/, sentence_bert_config.json, config_sentence_transformers.json
 *     undrift.json                                     towers, prompts, lengths of each side, embedding space, steps
 *     onnx/model.onnx, README.md                       the encoder with its weights; the model card
 *
 * Separate towers are two such folders, `query/` and `document/`, joined by `undrift.json` and a Router on top.
 *
 * The folder is replaced as a whole: at every moment it holds the old model or the new one.
 *
 * @returns  the embedding-space id
 * @throws UndriftError where the folder exists and holds anything that is not a model of ours.
 */
export async function saveRetriever(
  folder: string,
  retriever: Retriever,
  options: SaveOptions = {},
): Promise<string> {
  await checkReplaceable(folder);
  const embeddingSpace = embeddingSpaceId(retriever);
  await writeFolderAtomic(folder, async (temporary) => {
    if (retriever.config.towers === 'shared') {
      await writeFiles(temporary, await towerFiles(retriever, embeddingSpace, options));
      return;
    }
    let modules: Record<string, unknown> = {};
    for (const side of ['query', 'document'] as const) {
      const files = await towerFiles(retriever, embeddingSpace, options, side);
      await writeFiles(join(temporary, side), files);
      modules = files.json;
    }
    const { normalize } = retriever.config.encoder;
    await writeFiles(temporary, {
      json: {
        ...('modules.json' in modules ? routerFiles({ ...retriever.config, normalize }, modules) : {}),
        [UNDRIFT_JSON]: undriftJson(describe(retriever, embeddingSpace)),
      },
      raw: { 'README.md': modelCard(retriever, { ...options.card, embeddingSpace }) },
      tensors: {},
    });
  });
  return embeddingSpace;
}

async function checkReplaceable(folder: string): Promise<void> {
  if (!existsSync(folder)) return;
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    throw fileError(error, folder, 'write');
  }
  const foreign = names.find((name) => !OWN_NAMES.test(name));
  if (names.length > 0 && (foreign !== undefined || !names.includes(UNDRIFT_JSON))) {
    throw new UndriftError(
      foreign === undefined
        ? `${folder} exists and was not made by Undrift: it has no ${UNDRIFT_JSON}`
        : `${folder} exists and holds "${foreign}", which is no part of a model folder`,
      { help: 'a model replaces its whole folder: choose another one, or move the old one away' },
    );
  }
}

/** Files of one folder, by path. */
interface Files {
  json: Record<string, unknown>;
  raw: Record<string, string | Uint8Array>;
  tensors: Record<string, Parameters<typeof writeSafetensors>[1]>;
}

async function writeFiles(folder: string, { json, raw, tensors }: Files): Promise<void> {
  const contents: Record<string, string | Uint8Array> = { ...raw };
  for (const [path, value] of Object.entries(json))
    contents[path] = `${JSON.stringify(value, undefined, 2)}\n`;
  for (const [path, content] of Object.entries(contents)) {
    const file = join(folder, path);
    try {
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, content);
    } catch (error) {
      throw fileError(error, file, 'write');
    }
  }
  for (const [path, weights] of Object.entries(tensors)) await writeSafetensors(join(folder, path), weights);
}

/** A complete folder for shared towers, or for one tower of a pair. */
async function towerFiles(
  retriever: Retriever,
  embeddingSpace: string,
  { card, onnx = true }: SaveOptions,
  tower?: Side,
): Promise<Files> {
  const { encoder, tokenizer, config } = retriever;
  const { pooling, normalize, projectionSize } = encoder.config;
  const { prompts } = config;
  const side = tower ?? 'document';
  const { [PROJECTION]: projection, ...weights } = storedWeights(retriever, side);
  // Other programs have one length for all texts.
  const maxTokens = tower ? config.maxTokens[tower] : Math.max(...Object.values(config.maxTokens));
  const { moduleClass } = encoder;
  // With weights of its tokens a bag is no StaticEmbedding, and nothing else that sentence-transformers has.
  const modules = !hasOnlyPlainWeights(retriever, side)
    ? undefined
    : moduleFiles({
        moduleClass,
        hiddenSize: encoder.hiddenSize,
        projectionSize,
        pooling,
        normalize,
        maxTokens,
        prompts,
      });
  const tensors: Files['tensors'] = { 'model.safetensors': weights };
  if (projection && modules?.projection) {
    tensors[`${modules.projection}/model.safetensors`] = { 'linear.weight': projection };
  } else if (projection) {
    tensors['model.safetensors'] = { ...weights, [PROJECTION]: projection };
  }
  const tokens = specialTokens(tokenizer);
  const tokenizerFile = {
    ...tokenizer.toJson(),
    // A StaticEmbedding knows no longest text but this one; everybody else cuts with settings of his own.
    truncation:
      moduleClass === 'StaticEmbedding'
        ? { direction: 'Right', max_length: maxTokens, strategy: 'LongestFirst', stride: 0 }
        : null,
    padding: null,
  };
  return {
    json: {
      'config.json': {
        ...encoder.configFile,
        pad_token_id: tokenizer.specialIds.pad ?? 0,
        torch_dtype: 'float32',
      },
      'tokenizer_config.json': {
        // The class that takes tokenizer.json as it is; BertTokenizer would put its own settings in the place of the file's.
        tokenizer_class: 'PreTrainedTokenizerFast',
        model_max_length: maxTokens,
        model_input_names: ['input_ids', ...(encoder.tokenTypes ? ['token_type_ids'] : []), 'attention_mask'],
        clean_up_tokenization_spaces: false,
        ...tokens,
      },
      'special_tokens_map.json': tokens,
      ...modules?.files,
      [UNDRIFT_JSON]: undriftJson(describe(retriever, embeddingSpace, tower)),
    },
    raw: {
      'tokenizer.json': `${JSON.stringify(tokenizerFile)}\n`,
      'README.md': modelCard(retriever, { ...card, embeddingSpace }, tower),
      ...(onnx && { 'onnx/model.onnx': exportOnnx(retriever, side, { embeddingSpace }) }),
    },
    tensors,
  };
}

function describe(retriever: Retriever, embeddingSpace: string, tower?: Side): UndriftJson {
  const { towers, prompts, maxTokens } = retriever.config;
  const { pooling, normalize, projectionSize } = retriever.encoder.config;
  return {
    towers: tower ? 'shared' : towers,
    ...(tower && { tower }),
    pooling,
    normalize,
    ...(projectionSize && { projectionSize }),
    prompts,
    maxTokens,
    embeddingSpace,
    trainedSteps: retriever.trainedSteps,
  };
}

/** `{"cls_token": "[CLS]", …}` for the tokens that have a role. */
function specialTokens(tokenizer: Tokenizer): Record<string, string> {
  const { model, added_tokens } = tokenizer.toJson();
  const tokens = new Map([...modelIds(model)].map(([token, id]) => [id, token]));
  for (const { id, content } of added_tokens) tokens.set(id, content);
  return Object.fromEntries(
    Object.entries(tokenizer.specialIds).map(([role, id]) => [`${role}_token`, tokens.get(id)!]),
  );
}
