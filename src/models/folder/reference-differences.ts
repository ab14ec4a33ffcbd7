import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readModuleList } from './module-list.ts';
import { UNDRIFT_JSON } from './undrift-json.ts';

/**
 * Lists the settings of a folder in which Undrift deliberately differs from sentence-transformers, so that its
 * vectors are not those of Python; none for a folder of Undrift. Settings that Undrift cannot follow at all are
 * refused when the folder is loaded.
 */
export async function referenceDifferences(folder: string): Promise<string[]> {
  if (existsSync(join(folder, UNDRIFT_JSON))) return [];
  const modules = await readModuleList(folder);
  if (!modules) return [];
  const { prompts, dimensions, normalize } = modules;
  const found: string[] = [];
  const name = ['passage', 'corpus'].find((each) => prompts[each] !== undefined && prompts[each] !== '');
  if (name !== undefined && prompts.document === undefined) {
    found.push(
      `the prompt "${name}" comes before documents; encode_document of sentence-transformers uses none, because it finds an empty prompt "document" first`,
    );
  }
  if (dimensions !== undefined && normalize) {
    found.push(
      '"truncate_dim": vectors are cut, then normalised; sentence-transformers normalises first, so its vectors are shorter than 1',
    );
  }
  if (!existsSync(join(folder, 'modules.json')) && modules.moduleClass === 'Transformer') {
    found.push(
      'there is no modules.json, without which sentence-transformers reads neither pooling nor prompts of the folder; Undrift does',
    );
  }
  return found;
}
