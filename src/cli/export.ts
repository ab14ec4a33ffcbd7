import { resolve, sep } from 'node:path';
import { type ExportedFile, exportModel } from '../export/export-model.ts';
import { exportedCards } from '../export/exported-card.ts';
import { EXPORT_DTYPES } from '../models/folder/onnx-export.ts';
import { EXPORT_FORMATS } from '../models/folder/tower-files.ts';
import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { UsageError } from '../util/errors.ts';
import { formatBytes } from '../util/format.ts';
import { lockBeside, withLock } from '../util/lock.ts';
import { suggestion } from '../util/option-table.ts';
import { defineCommand } from './command.ts';
import { loadFolder, MODEL_HELP, modelFolder, showProgress } from './model-source.ts';

/** The command `undrift export`: writes a model in formats of other programs and verifies each file. */
export const exportCommand = defineCommand({
  name: 'export',
  summary: 'write a model for sentence-transformers, transformers, transformers.js or onnxruntime',
  description:
    'Every file is verified before the folder gets its name: it is loaded again, ONNX files by onnxruntime, and its vectors of 200 texts ' +
    'are compared with those of Undrift. If a vector differs, the export fails and leaves nothing behind. Several formats and types are ' +
    'separated by commas. ONNX files have the names that transformers.js expects: model.onnx, model_fp16.onnx, model_quantized.onnx. ' +
    'Those of format onnx-embedding are called embedding.onnx and so on; they include pooling, projection and normalisation, and their ' +
    'only output is the embedding.',
  options: {
    model: { type: 'text', value: 'model', required: true, help: MODEL_HELP },
    out: {
      type: 'text',
      value: 'folder',
      required: true,
      help: 'folder to create; an earlier export in it is replaced',
    },
    format: {
      type: 'list',
      default: ['sentence-transformers', 'onnx'],
      help: `programs that are to read it: ${EXPORT_FORMATS.join(', ')}`,
    },
    dtype: {
      type: 'list',
      default: ['f32'],
      help: `types in which weights are stored: ${EXPORT_DTYPES.join(', ')} (int8: ONNX files only)`,
    },
    threads: COMPUTE_OPTIONS.threads,
  },
  examples: [
    '--model runs/first --out exported',
    '--model runs/first --out exported --format onnx,onnx-embedding --dtype f32,f16,int8 --json',
  ],
  async run(options, io) {
    const { out, threads } = options;
    const formats = words('--format', options.format, EXPORT_FORMATS);
    const dtypes = words('--dtype', options.dtype, EXPORT_DTYPES);
    const folder = await modelFolder(options.model, io);
    const inside = (path: string, parent: string) =>
      `${resolve(path)}${sep}`.startsWith(`${resolve(parent)}${sep}`);
    if (inside(out, folder) || inside(folder, out)) {
      throw new UsageError(`--out ${out} would replace the model that is exported, or a part of it`, {
        help: 'name a folder outside the model’s',
      });
    }
    const report = await withLock(lockBeside(out), async () => {
      const retriever = await loadFolder(folder, io);
      const made = await exportModel(out, retriever, {
        formats,
        dtypes,
        card: await exportedCards(folder, retriever, { formats, dtypes }),
        ...(threads !== undefined && { threads }),
        onProgress: showProgress(io),
      });
      await retriever.dispose();
      return made;
    });
    io.finishProgress();
    return {
      json: { out, model: options.model, formats, ...report },
      text: formatted(out, report.texts, report.files),
    };
  },
});

/**
 * Returns the distinct words of a list option.
 *
 * @throws UsageError for an unknown word
 */
function words<W extends string>(flag: string, texts: readonly string[], known: readonly W[]): W[] {
  const unknown = texts.find((text) => !(known as readonly string[]).includes(text));
  if (unknown !== undefined || texts.length === 0) {
    throw new UsageError(`${flag}: unknown "${unknown ?? ''}"${suggestion(unknown ?? '', known)}`, {
      help: `known: ${known.join(', ')}`,
    });
  }
  return known.filter((word) => texts.includes(word)).sort((a, b) => texts.indexOf(a) - texts.indexOf(b));
}

const LABELS: Readonly<Record<ExportedFile['vectors'], string>> = {
  sentence_embedding: 'sentence_embedding',
  last_hidden_state: 'last_hidden_state, pooled',
  loaded: 'loaded again',
};

function formatted(out: string, texts: number, files: readonly ExportedFile[]): string {
  const rows = files.map((file) => [
    file.path,
    formatBytes(file.bytes),
    `${LABELS[file.vectors]}${file.vectors === 'loaded' ? `, ${file.side}` : ''}`,
    file.largestDifference.toExponential(1),
    file.minCosine.toFixed(6),
  ]);
  const table = [['file', 'size', 'compared', 'largest difference', 'least cosine'], ...rows];
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  const lines = table.map((row) =>
    row
      .map((text, column) => text.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
  return `${out}\nverified on ${texts} texts against this model:\n${lines.map((line) => `  ${line}\n`).join('')}`;
}
