import { EXCHANGE_FORMATS, type ExchangeSource, formatOf } from '../exchange/exchange-row.ts';
import { databaseVectors, exportVectors, storeVectors } from '../exchange/export-vectors.ts';
import { importToDatabase, importVectors } from '../exchange/import-vectors.ts';
import { readRows } from '../exchange/read-rows.ts';
import { isPostgres, shownStore } from '../foreign/postgres-address.ts';
import { embeddingSpaceId } from '../models/retriever/embedding-space.ts';
import { Store } from '../store/store.ts';
import { STORE_OPTION } from '../store/store-options.ts';
import { TERM_OPTIONS } from '../text/bm25-options.ts';
import { commandLine } from '../util/command-line.ts';
import { count, formatDuration } from '../util/format.ts';
import { optionValues } from '../util/option-table.ts';
import { defineCommand } from './command.ts';
import { lastingName, withPostgres } from './migrate-postgres.ts';
import { loadModel, MODEL_HELP, showProgress } from './model-source.ts';
import { refuseOthers } from './refuse-others.ts';
import { ENCODING_OPTIONS, PROMPT_OPTIONS } from './shared-options.ts';

const STORE = {
  store: { ...STORE_OPTION.store, required: true, help: 'folder of the store, or table of PostgreSQL' },
} as const;

const FORMAT = {
  format: {
    type: 'choice',
    choices: EXCHANGE_FORMATS,
    help: 'format of the file; npy is a folder with vectors.npy and rows.jsonl (default: by the name)',
  },
} as const;

export const exportCommand = defineCommand({
  description:
    'The file appears under its name when it is complete. Memory is bounded whatever the number of passages. Reading it again gives ' +
    'the same bytes of the vectors.',
  options: {
    ...STORE,
    to: { type: 'text', value: 'file', required: true, nonEmpty: true, help: 'file, or folder for npy' },
    ...FORMAT,
    space: { type: 'text', value: 'id', help: 'embedding space (default: the current one)' },
    withoutTexts: { type: 'switch', default: false, help: 'leave out titles, texts and metadata' },
  },
  examples: [
    '--store stores/docs --to vectors.parquet',
    "--store 'postgres://me@localhost/app?table=passages' --to vectors/ --format npy --without-texts",
  ],
  async run({ store: name, to, format: given, space, withoutTexts }, io) {
    const format = given ?? formatOf(to);
    const settings = { space, texts: !withoutTexts };
    const work = async (source: ExchangeSource) => {
      const startMs = performance.now();
      const rows = await exportVectors(source, to, { format, onProgress: showProgress(io) });
      io.finishProgress();
      const { id, dimension, model } = source.space;
      return {
        json: { store: shownStore(name), to, format, rows, space: id, dimension, model },
        text: `${to}\n${count(rows)} vectors of the space ${id}, D ${dimension}, ${formatDuration(performance.now() - startMs)}\n`,
      };
    };
    if (isPostgres(name))
      return await withPostgres(name, async (table) => await work(await databaseVectors(table, settings)));
    const store = await Store.open(name, { onNote: (note) => io.log(`note: ${note}`) });
    try {
      return await work(await storeVectors(store, settings));
    } finally {
      await store.close();
    }
  },
});

const IMPORT_OPTIONS = {
  ...STORE,
  from: {
    type: 'text',
    value: 'file',
    required: true,
    nonEmpty: true,
    help: 'JSONL, plain or gzip, Parquet, or a folder with npy',
  },
  ...FORMAT,
  model: { type: 'text', value: 'model', help: `model that made the vectors: ${MODEL_HELP}` },
  ...ENCODING_OPTIONS,
  ...PROMPT_OPTIONS,
} as const;

export const importCommand = defineCommand({
  description:
    'Reads what undrift store export writes. Vectors of an unknown embedding space are refused unless --model names the model that made ' +
    'them. Passages are added or replaced by the texts of the file. A command that was stopped goes on when it is given again.',
  options: IMPORT_OPTIONS,
  stopsGracefully: true,
  examples: [
    '--store stores/copy --from vectors.parquet --model runs/first',
    '--store stores/docs --from vectors/',
  ],
  async run(options, io) {
    const { store: name, from, format, model } = options;
    const isTable = isPostgres(name);
    if (isTable) {
      const allowed = Object.keys({ ...STORE, ...FORMAT, from, model });
      // The state of a table has the name of the model alone.
      refuseOthers(IMPORT_OPTIONS, options, { allowed, purpose: 'a table of PostgreSQL' });
    }
    const rows = readRows(from, format);
    const retriever = model === undefined ? undefined : await loadModel(model, io, [], options);
    const settings = {
      retriever,
      model: model && isTable ? lastingName(model) : model,
      signal: io.signal,
      onProgress: showProgress(io),
    };
    const run = async () => {
      if (isPostgres(name))
        return await withPostgres(name, (table) => importToDatabase(table, rows, settings));
      const store = await Store.open(name, {
        create: retriever && optionValues(TERM_OPTIONS, {}),
        onNote: (note) => io.log(`note: ${note}`),
      });
      try {
        return await importVectors(store, rows, settings);
      } finally {
        await store.close();
      }
    };
    const counts = await run();
    io.finishProgress();
    const space = counts.space ?? (retriever ? embeddingSpaceId(retriever) : null);
    await retriever?.dispose();
    const { read, added, changed, vectors, correctedLeftOut } = counts;
    if (correctedLeftOut > 0) {
      io.log(`note: ${count(correctedLeftOut)} corrected vectors are left out: a store keeps true ones only`);
    }
    const stopped = io.signal.aborted;
    const shown = shownStore(name);
    return {
      json: { store: shown, from, ...counts, space, stopped },
      text:
        `${count(vectors)} vectors of ${count(read)} rows stored (space ${space ?? 'none'}); ` +
        `${count(added)} passages added, ${count(changed)} changed\n` +
        (stopped
          ? 'stopped: give the command again to go on\n'
          : `next: ${commandLine('status', { store: shown })}\n`),
      ...(stopped && { exitCode: 1 as const }),
    };
  },
});
