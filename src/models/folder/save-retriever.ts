import { writeFolderAtomic } from '../../util/files.ts';
import { embeddingSpaceId } from '../retriever/embedding-space.ts';
import type { Retriever } from '../retriever/retriever.ts';
import { hasOnlyPlainWeights } from '../retriever/stored-weights.ts';
import { type ModelCard, modelCard } from './model-card.ts';
import { savedFormats } from './tower-files.ts';
import { checkReplaceable, writeTowers } from './write-towers.ts';

/** Settings of {@link saveRetriever}. */
export interface SaveOptions {
  /** Facts for the model card beyond the model itself. */
  card?: ModelCard;
  /**
   * Write `onnx/model.onnx`, a second copy of the weights. Default true, but for a retriever that encodes in int8, of whose space the vectors
   * of this file are not.
   */
  onnx?: boolean;
  /**
   * Fold weights that other programs do not know into those that they know, which rounds. Default true. Without, a model that is loaded
   * again computes the same bits.
   */
  fold?: boolean;
}

/**
 * Writes a retriever as a model folder that Undrift, sentence-transformers, transformers and transformers.js
 * read:
 *
 *     config.json, model.safetensors                   architecture and weights, under Hugging Face's names
 *     tokenizer.json, tokenizer_config.json, special_tokens_map.json
 *     modules.json, 1_Pooling/, 2_Dense/, sentence_bert_config.json, config_sentence_transformers.json
 *     undrift.json                                     towers, prompts, lengths of each side, embedding space, steps
 *     onnx/model.onnx, README.md                       the encoder with its weights; the model card
 *
 * Separate towers are two such folders, `query/` and `document/`, joined by `undrift.json` and a Router in
 * the outer folder.
 *
 * The folder is replaced as a whole: at every moment it holds the old model or the new one.
 *
 * @returns id of the embedding space
 * @throws UndriftError when the folder exists and holds anything but a model of Undrift
 */
export async function saveRetriever(
  folder: string,
  retriever: Retriever,
  options: SaveOptions = {},
): Promise<string> {
  await checkReplaceable(folder);
  const embeddingSpace = embeddingSpaceId(retriever);
  const { onnx = retriever.encodeDtype === 'f32', fold } = options;
  const sides = ['query', 'document'] as const;
  const known = sides.every((side) => hasOnlyPlainWeights(retriever, side, { fold }));
  const formats = savedFormats(known, onnx);
  const card = { ...options.card, formats, embeddingSpace };
  await writeFolderAtomic(folder, (temporary) =>
    writeTowers(temporary, retriever, {
      formats,
      fold,
      embeddingSpace,
      card: (tower) => modelCard(retriever, card, tower),
    }),
  );
  return embeddingSpace;
}
