import { DOCUMENT_OPTIONS } from '../data/load-options.ts';
import { ANSWER_OPTIONS, answererOf } from '../serve/answer/answer-options.ts';
import { InterruptedError } from '../train/callbacks.ts';
import { pickOptions } from '../util/option-table.ts';
import { defineCommand } from './command.ts';
import { MODEL_HELP } from './model-source.ts';
import { packageVersion } from './package-version.ts';
import { serveCommand, untilStopped } from './serve.ts';
import { indexSource } from './up-index.ts';

/** The command `undrift up`: from a folder of documents to a page to search them. */
export const upCommand = defineCommand({
  description:
    'Reads every layout of documents: Markdown and text files, JSONL, CSV, TSV, Parquet. Without --model, a static encoder is trained on ' +
    'the documents themselves, by crops of them. Given again, the command indexes only what has changed, and removes what is gone. The ' +
    'store and the model lie in the folder of --store, and nothing is written to the folder of documents.',
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
    ...DOCUMENT_OPTIONS,
    ...pickOptions(serveCommand.options, 'port', 'host', 'threads', 'rerank', 'rerankDepth'),
    ...ANSWER_OPTIONS,
    index: { type: 'switch', negative: true, help: 'serve the store as it is' },
  },
  stopsGracefully: true,
  examples: ['notes/', 'handbook.csv --model sentence-transformers/all-MiniLM-L6-v2 --port 9000'],
  async run(options, io, [source]) {
    const { store: folder, threads } = options;
    const compute = { ...(threads !== undefined && { threads }) };
    // Before the indexing, which may take long.
    const answerer = await answererOf(options, process.env.UNDRIFT_ANSWER_KEY || undefined, { threads });
    const token = process.env.UNDRIFT_TOKEN || undefined;
    const { port, host } = options;
    const { checkListening, serveStore } = await import('../serve/server.ts');
    await checkListening({ port, host, token });
    if (options.index ?? true) {
      await indexSource(source!, options, { io, compute }).catch((error) => {
        if (!(error instanceof InterruptedError)) throw error;
      });
    }
    if (io.signal.aborted) {
      return {
        json: { store: folder, stopped: true },
        text: 'stopped: give the command again to go on\n',
        exitCode: 1,
      };
    }
    const { rerank, rerankDepth: depth } = options;
    const server = await serveStore(folder, {
      rerank: rerank === undefined ? undefined : { model: rerank, depth },
      port,
      host,
      threads,
      token,
      answerer,
      version: packageVersion(),
    });
    io.log(`open ${server.url} in a browser (Ctrl-C ends)`);
    await untilStopped(io.signal);
    await server.close();
    return { json: { store: folder, url: server.url }, text: 'stopped\n' };
  },
});
