import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { PASSAGE_OPTIONS } from '../data/load-options.ts';
import { streamDocuments } from '../data/stream-documents.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { ANSWER_OPTIONS, answererOf } from '../serve/answer/answer-options.ts';
import { indexPassages } from '../store/index-passages.ts';
import { Store } from '../store/store.ts';
import { loadEncoder } from '../store/stored-encoder.ts';
import { TERM_OPTIONS } from '../text/bm25-options.ts';
import { trainRetriever } from '../train/train-retriever.ts';
import { count } from '../util/format.ts';
import { optionValues, pickOptions } from '../util/option-table.ts';
import { defineCommand } from './command.ts';
import type { Io } from './io.ts';
import { loadFolder, loadModel, MODEL_HELP, showProgress, streamOptions } from './model-source.ts';
import { packageVersion } from './package-version.ts';
import { serveCommand } from './serve.ts';

/** Updates of the encoder that is trained where no model is given: seconds for a folder of notes, a minute for thousands of pages. */
const TRAINING_STEPS = 600;

/** The command `undrift up`: from a folder of documents to a page to search them. */
export const upCommand = defineCommand({
  name: 'up',
  summary: 'index a folder of documents and serve a page to search it',
  description:
    'Reads every layout of documents: Markdown and text files, JSONL, CSV, TSV, Parquet. Without --model, a static encoder is trained on ' +
    'the documents themselves, by crops of them. Given again, the command indexes only what has changed. The store and the model lie in ' +
    'the folder of --store, and nothing is written to the folder of documents.',
  arguments: [{ name: 'dir', help: 'folder or file of documents', required: true }],
  options: {
    store: {
      type: 'text',
      value: 'folder',
      nonEmpty: true,
      default: 'undrift-store',
      help: 'folder for the store',
    },
    model: { type: 'text', value: 'model', help: `${MODEL_HELP} (default: trained on the documents)` },
    ...PASSAGE_OPTIONS,
    ...pickOptions(serveCommand.options, 'port', 'host', 'threads'),
    ...ANSWER_OPTIONS,
    index: { type: 'switch', negative: true, help: 'serve the store as it is' },
  },
  stopsGracefully: true,
  examples: ['notes/', 'handbook.csv --model sentence-transformers/all-MiniLM-L6-v2 --port 9000'],
  async run(options, io, [source]) {
    const { store: folder, threads } = options;
    const compute = { ...(threads !== undefined && { threads }) };
    // Before the indexing, which may take long.
    const answerer = answererOf(options, process.env.UNDRIFT_ANSWER_KEY || undefined);
    if (options.index ?? true) await indexSource(source!, options, { io, compute });
    if (io.signal.aborted) {
      return {
        json: { store: folder, stopped: true },
        text: 'stopped: give the command again to go on\n',
        exitCode: 1,
      };
    }
    const { serveStore } = await import('../serve/server.ts');
    const server = await serveStore(folder, {
      port: options.port,
      host: options.host,
      threads,
      token: process.env.UNDRIFT_TOKEN || undefined,
      answerer,
      version: packageVersion(),
    });
    io.log(`open ${server.url} in a browser (Ctrl-C ends)`);
    await new Promise<void>((resolve) =>
      io.signal.addEventListener('abort', () => resolve(), { once: true }),
    );
    await server.close();
    return { json: { store: folder, url: server.url }, text: 'stopped\n' };
  },
});

type Options = {
  readonly store: string;
  readonly model: string | undefined;
  readonly passageWords: number;
  readonly passageOverlap: number | undefined;
};

async function indexSource(
  source: string,
  options: Options,
  { io, compute }: { io: Io; compute: { threads?: number } },
): Promise<void> {
  const store = await Store.open(options.store, {
    create: optionValues(TERM_OPTIONS, {}),
    onNote: (note) => io.log(`note: ${note}`),
  });
  const retriever = await encoderFor(store, source, options, { io, compute });
  const documents = streamDocuments(source, {
    ...streamOptions(io),
    passageWords: options.passageWords,
    passageOverlap: options.passageOverlap,
  });
  const counts = await indexPassages(store, retriever, documents, {
    ...compute,
    model: options.model ?? 'trained on the documents',
    signal: io.signal,
    onProgress: ({ stage, done, total, unit }) => io.progress(stage, done, { total, unit }),
  });
  io.finishProgress();
  io.log(
    `${count(counts.read)} passages: ${count(counts.added)} new, ${count(counts.changed)} changed, ` +
      `${count(counts.unchanged)} as before`,
  );
  await retriever.dispose();
  await store.close();
}

/** Returns the model that was given, that of the store, or one that is trained on the documents. */
async function encoderFor(
  store: Store,
  source: string,
  { model, store: folder, passageWords, passageOverlap }: Options,
  { io, compute }: { io: Io; compute: { threads?: number } },
): Promise<Retriever> {
  if (model !== undefined) return await loadModel(model, io);
  if (store.head.current !== null) return await loadEncoder(store, store.head.current, compute);
  const out = join(folder, 'training');
  io.log('no model is given: a static encoder is trained on the documents');
  const trained = await trainRetriever(
    {
      method: 'crop',
      data: source,
      out,
      model: 'static',
      steps: TRAINING_STEPS,
      evalSplit: 'none',
      passageWords,
      passageOverlap,
      ...compute,
      resume: existsSync(join(out, 'settings.json')),
    },
    {
      signal: io.signal,
      onNote: (note) => io.log(`note: ${note}`),
      onProgress: showProgress(io),
      onStep: ({ step }) => io.progress('train', step, { total: TRAINING_STEPS, unit: 'steps' }),
    },
  );
  io.finishProgress();
  return await loadFolder(trained.model, io);
}
