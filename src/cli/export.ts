import { resolve, sep } from 'node:path';
import type { VectorDifference } from '../export/compare-vectors.ts';
import {
  type ExportedLanguageFile,
  exportLanguageModel,
  holdsLanguageModel,
  LANGUAGE_FORMATS,
  type LanguageExportOptions,
  type LanguageExportReport,
  type LanguageFormat,
} from '../export/export-language-model.ts';
import { DEFAULT_FORMATS, type ExportedFile, exportModel } from '../export/export-model.ts';
import { exportedCards } from '../export/exported-card.ts';
import { EXPORT_DTYPES } from '../models/folder/onnx-export.ts';
import { EXPORT_FORMATS, type ExportFormat } from '../models/folder/tower-files.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { UsageError } from '../util/errors.ts';
import { formatBytes } from '../util/format.ts';
import { lockBeside, withLock } from '../util/lock.ts';
import { suggestion } from '../util/option-table.ts';
import { defineCommand } from './command.ts';
import type { Io } from './io.ts';
import { loadFolder, MODEL_HELP, modelFolder, showProgress } from './model-source.ts';

/** The command `undrift export`: writes a model in formats of other programs and verifies each file. */
export const exportCommand = defineCommand({
  description:
    'Every file is verified before the folder gets its name: it is loaded again, ONNX files by onnxruntime, and its vectors of 200 texts ' +
    'are compared with those of Undrift. If a vector differs, the export fails and leaves nothing behind. Several formats and types are ' +
    'separated by commas. ONNX files have the names that transformers.js expects: model.onnx, model_fp16.onnx, model_quantized.onnx. ' +
    'Those of format onnx-embedding are called embedding.onnx and so on; they include pooling, projection and normalisation, and their ' +
    'only output is the embedding. Of a language model, logits are compared, and the ONNX file is for text-generation: it takes and gives ' +
    'keys and values.',
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
      defaultHelp: `${DEFAULT_FORMATS.join(',')}; of a language model ${LANGUAGE_FORMATS.join(',')}`,
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
    '--model runs/llama --out exported --dtype f32,int8',
  ],
  async run(options, io) {
    const { out, threads } = options;
    const dtypes = words('--dtype', options.dtype, EXPORT_DTYPES);
    const folder = await modelFolder(options.model, io);
    const isLanguageModel = await holdsLanguageModel(folder);
    const known: readonly ExportFormat[] = isLanguageModel ? LANGUAGE_FORMATS : EXPORT_FORMATS;
    const formats = words('--format', options.format ?? (isLanguageModel ? known : DEFAULT_FORMATS), known);
    const inside = (path: string, parent: string) =>
      `${resolve(path)}${sep}`.startsWith(`${resolve(parent)}${sep}`);
    if (inside(out, folder) || inside(folder, out)) {
      throw new UsageError(`--out ${out} would replace the model that is exported, or a part of it`, {
        help: 'name a folder outside the model’s',
      });
    }
    if (isLanguageModel) {
      const settings = { formats: formats as LanguageFormat[], dtypes, threads };
      const { texts, files } = await withLock(lockBeside(out), () =>
        exportLanguage(folder, out, settings, io),
      );
      const rows = files.map((file) => ({ ...file, label: LABELS[file.vectors] }));
      return {
        json: { out, model: options.model, formats, texts, files },
        text: formatted(out, texts, rows),
      };
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
      text: formatted(
        out,
        report.texts,
        report.files.map((file) => ({
          ...file,
          label: `${LABELS[file.vectors]}${file.vectors === 'loaded' ? `, ${file.side}` : ''}`,
        })),
      ),
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

const LABELS: Readonly<Record<(ExportedFile | ExportedLanguageFile)['vectors'], string>> = {
  logits: 'logits',
  sentence_embedding: 'sentence_embedding',
  last_hidden_state: 'last_hidden_state, pooled',
  loaded: 'loaded again',
};

/** Exports a language model. */
async function exportLanguage(
  folder: string,
  out: string,
  options: LanguageExportOptions,
  io: Io,
): Promise<LanguageExportReport> {
  const model = await LanguageModel.load(folder, { onNote: (note) => io.log(`note: ${note}`) });
  try {
    return await exportLanguageModel(out, model, { ...options, onProgress: showProgress(io) });
  } finally {
    io.finishProgress();
    await model.dispose();
  }
}

function formatted(
  out: string,
  texts: number,
  files: readonly (VectorDifference & { path: string; bytes: number; label: string })[],
): string {
  const rows = files.map((file) => [
    file.path,
    formatBytes(file.bytes),
    file.label,
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
