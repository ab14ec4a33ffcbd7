import { WORKERS_OPTION } from '../models/background/encode-workers.ts';
import { ENCODE_DTYPE_OPTION } from '../models/retriever/encode-dtype.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { CommandOptions } from '../util/command-line.ts';
import type { OptionTable } from '../util/option-table.ts';

/** Help of `--data` for text that a language model reads. */
export const TEXT_DATA_HELP =
  'documents: JSONL, CSV, TSV or Parquet with a column text, a text or Markdown file (one document), or a folder of such files';

/** Options for the vectors of a model: their size, for a model trained with `--matryoshka`, and how they are computed. */
export const ENCODING_OPTIONS = {
  dimensions: {
    type: 'integer',
    min: 1,
    help: 'number of leading dimensions of the vectors to keep, normalised again; for models trained with --matryoshka (default: all)',
  },
  ...ENCODE_DTYPE_OPTION,
  ...WORKERS_OPTION,
} as const satisfies OptionTable;

/** Options for the prompts of queries and documents. */
export const PROMPT_OPTIONS = {
  queryPrompt: { type: 'text', help: 'text put before every query, in place of the prompt of the model' },
  docPrompt: { type: 'text', help: 'text put before every document, in place of the prompt of the model' },
} as const satisfies OptionTable;

/** Returns the options of a table that differ from their defaults, to repeat them in a suggested command. */
export const givenOptions = (
  table: OptionTable,
  options: Readonly<Record<string, unknown>>,
): CommandOptions =>
  Object.fromEntries(
    Object.entries(table).flatMap(([key, spec]) => {
      const value = options[key] as CommandOptions[string] | null;
      return (value ?? undefined) === undefined || value === spec.default ? [] : [[key, value!]];
    }),
  );

/** Returns the compute options that were given. */
export function computeOptions(options: { device: string; threads: number | undefined }): ComputeOptions {
  return {
    device: options.device as NonNullable<ComputeOptions['device']>,
    ...(options.threads !== undefined && { threads: options.threads }),
  };
}
