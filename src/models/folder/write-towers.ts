import { existsSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeSafetensors } from '../../io/safetensors.ts';
import { ByteDigest } from '../../util/byte-digest.ts';
import { UndriftError } from '../../util/errors.ts';
import { fileError } from '../../util/files.ts';
import type { Retriever, Side } from '../retriever/retriever.ts';
import { routerFiles } from './module-files.ts';
import { describeRetriever, type Files, type TowerFilesOptions, towerFiles } from './tower-files.ts';
import { UNDRIFT_JSON, undriftJson } from './undrift-json.ts';

/** Matches the names that a model folder of Undrift can hold. A folder with any other name inside is not replaced. */
const OWN_NAMES =
  /^(undrift|config|config_sentence_transformers|modules|router_config|sentence_bert_config|special_tokens_map|tokenizer|tokenizer_config|generation_config|rpt)\.json$|^chat_template\.jinja$|^(model|rpt)\.safetensors$|^README\.md$|^onnx$|^\d+_(Pooling|Dense|Normalize)$|^(query|document)$/;

/**
 * Checks that a folder is absent, empty, or a model folder of Undrift, which may be replaced as a whole.
 *
 * @throws UndriftError when it holds anything else
 */
export async function checkReplaceable(folder: string): Promise<void> {
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

/** Settings of {@link writeTowers}. */
export interface TowersOptions extends Omit<TowerFilesOptions, 'card' | 'tower'> {
  /** Makes the text of the model card: of one tower of a pair, or of the whole without an argument. */
  card: (tower?: Side) => string;
}

/**
 * Writes the files of a retriever into a folder: one complete folder for shared towers, two joined folders
 * for separate ones.
 */
export async function writeTowers(
  folder: string,
  retriever: Retriever,
  options: TowersOptions,
): Promise<void> {
  const { card, ...shared } = options;
  if (retriever.config.towers === 'shared') {
    await writeFiles(folder, towerFiles(retriever, { ...shared, card: card() }));
    return;
  }
  let modules: Record<string, unknown> = {};
  const weights: Record<string, string> = {};
  for (const tower of ['query', 'document'] as const) {
    const files = towerFiles(retriever, { ...shared, card: card(tower), tower });
    const own = await writeFiles(join(folder, tower), files);
    for (const [path, digest] of Object.entries(own)) weights[`${tower}/${path}`] = digest;
    modules = files.json;
  }
  const { normalize, dimensions } = retriever.config.encoder;
  await writeFiles(folder, {
    json: {
      ...('modules.json' in modules
        ? routerFiles({ ...retriever.config, normalize, dimensions }, modules)
        : {}),
      [UNDRIFT_JSON]: undriftJson({ ...describeRetriever(retriever, options.embeddingSpace), weights }),
    },
    raw: { 'README.md': card() },
    tensors: {},
  });
}

/**
 * Writes the files of a folder. The digests of its files of weights become a part of its `undrift.json`.
 *
 * @returns  SHA-256 of the files of weights, by path
 */
export async function writeFiles(
  folder: string,
  { json, raw, tensors }: Files,
): Promise<Record<string, string>> {
  const weights: Record<string, string> = {};
  for (const [path, values] of Object.entries(tensors)) {
    const digest = new ByteDigest();
    await writeSafetensors(join(folder, path), values, undefined, (bytes) => digest.add(bytes));
    weights[path] = digest.digest();
  }
  const contents: Files['raw'] = { ...raw };
  for (const [path, value] of Object.entries(json)) {
    const isOwn = path === UNDRIFT_JSON && Object.keys(weights).length > 0;
    const content = isOwn ? { ...(value as object), weights } : value;
    contents[path] = `${JSON.stringify(content, undefined, 2)}\n`;
  }
  for (const [path, content] of Object.entries(contents)) {
    const file = join(folder, path);
    try {
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, typeof content === 'string' ? content : content());
    } catch (error) {
      throw fileError(error, file, 'write');
    }
  }
  return weights;
}
