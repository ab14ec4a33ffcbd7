/** @file Makes the table of the fields in model folders of docs/how-it-works/models-and-folders.md. */
import { CONFIG_FIELDS } from '../../src/models/folder/config-json.ts';
import { DENSE_FIELDS } from '../../src/models/folder/dense-modules.ts';
import type { FieldTable } from '../../src/models/folder/field-table.ts';
import { MODEL_FIELDS, NORMALIZE_FIELDS, POOLING_FIELDS } from '../../src/models/folder/module-list.ts';
import {
  MODEL_ARGUMENTS,
  TEXT_ARGUMENTS,
  TOKENIZER_ARGUMENTS,
  TRANSFORMER_FIELDS,
} from '../../src/models/folder/transformer-settings.ts';
import { denseActivations } from '../../src/nn/dense.ts';
import { type MadePage, markdownTable } from './page.ts';

const TABLES: readonly (readonly [string, FieldTable])[] = [
  ['`config.json`, besides the fields of the architecture', CONFIG_FIELDS],
  ['`config_sentence_transformers.json`', MODEL_FIELDS],
  ['`sentence_bert_config.json` and its six older names', TRANSFORMER_FIELDS],
  ['– `model_args`, `model_kwargs`', MODEL_ARGUMENTS],
  ['– `tokenizer_args`, `processor_kwargs`', TOKENIZER_ARGUMENTS],
  ['– `processing_kwargs.text`, `.common`', TEXT_ARGUMENTS],
  ['`1_Pooling/config.json`', POOLING_FIELDS],
  ['`2_Dense/config.json`', DENSE_FIELDS],
  ['`2_Normalize/config.json`', NORMALIZE_FIELDS],
];

/** Makes the generated parts of the page. */
export function folderFieldsPage(): MadePage {
  const names = (table: FieldTable, rule: 'followed' | 'harmless') =>
    Object.keys(table)
      .filter((name) => table[name] === rule)
      .map((name) => `\`${name}\``)
      .join(', ');
  const refused = (table: FieldTable) =>
    Object.entries(table)
      .flatMap(([name, rule]) => (typeof rule === 'object' ? [`\`${name}\`: ${rule.means}`] : []))
      .join('; ');
  const fields = markdownTable(
    ['file', 'followed', 'changes no vector', 'refused where it means that …'],
    TABLES.map(([file, table]) => [file, names(table, 'followed'), names(table, 'harmless'), refused(table)]),
  );
  const activations = Object.keys(denseActivations)
    .map((name) => `\`${name}\``)
    .join(', ');
  return {
    page: 'docs/how-it-works/models-and-folders.md',
    blocks: {
      'folder-fields': fields,
      activations: `Activation functions of Dense layers, by their classes in \`torch.nn\`: ${activations}.`,
    },
  };
}
