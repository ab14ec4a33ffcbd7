import { streamTextCorpus, textCorpusName } from '../data/text-corpus.ts';
import { TOKEN_STATES } from '../models/language/decoder.ts';
import { buildDatastore, checkNewDatastore } from '../rlm/build-datastore.ts';
import { countScoredTokens } from '../rlm/evaluate-text.ts';
import { EXCLUSION_OPTIONS, RemainingDocuments } from '../rlm/excluded-documents.ts';
import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { commandLine } from '../util/command-line.ts';
import { count, formatDuration } from '../util/format.ts';
import type { OptionTable } from '../util/option-table.ts';
import { defineCommand } from './command.ts';
import { TEXT_OPTIONS } from './lm-eval.ts';
import { loadLanguageModel, showNotes, showProgress, streamOptions } from './model-source.ts';
import { computeOptions } from './shared-options.ts';

const OPTIONS = {
  ...TEXT_OPTIONS,
  out: { type: 'text', value: 'folder', required: true, nonEmpty: true, help: 'folder to make' },
  keys: {
    type: 'choice',
    choices: TOKEN_STATES,
    value: 'state',
    default: 'feed-forward-input',
    help: `state of the last layer that is the key of a token: ${TOKEN_STATES.join(', ')}`,
  },
  limitTokens: {
    type: 'integer',
    value: 'n',
    min: 1,
    defaultHelp: 'all',
    help: 'tokens to store, from the beginning of the text',
  },
  excludeDocuments: {
    ...EXCLUSION_OPTIONS.excludeDocuments,
    help: 'documents that are not stored, such as the articles of an evaluation: a file of records with a column id, or of one id a line',
  },
  ...COMPUTE_OPTIONS,
} as const satisfies OptionTable;

/** The command `undrift lm datastore`: builds the datastore of kNN-LM. */
export const lmDatastoreCommand = defineCommand({
  description:
    'Writes 2 bytes for each number of a key, and 8 bytes for each token. The folder appears under its name when it is complete. A command ' +
    'that was stopped or killed goes on when it is given again, and gives the same bytes. Only the model that built a datastore can use it.',
  options: OPTIONS,
  stopsGracefully: true,
  examples: [
    '--model HuggingFaceTB/SmolLM2-135M --data wiki.train.jsonl --limit-tokens 200000 --out stores/wiki',
    '--model runs/lm --data train.jsonl --keys output --out stores/output-keys',
  ],
  async run(options, io) {
    const { data, out, keys, window, stride, limitTokens, columns, skipBadRows, excludeDocuments } = options;
    // Before the model is loaded, which may take long.
    checkNewDatastore(out);
    const model = await loadLanguageModel(options.model, io);
    const reading = streamOptions(io, { ...(columns && { columns }), skipBadRows });
    try {
      const startMs = performance.now();
      const windows = { window, stride };
      const name = textCorpusName(data);
      const onNote = showNotes(io);
      const remaining =
        excludeDocuments === undefined ? undefined : await RemainingDocuments.read(excludeDocuments, name);
      const whole = streamTextCorpus(data, { ...reading, onNote: () => {} });
      const counted = remaining?.of(whole) ?? whole;
      const expectedTokens = limitTokens ?? (await countScoredTokens({ model }, counted, windows));
      const documents = streamTextCorpus(data, reading);
      const built = await buildDatastore(model, remaining?.of(documents, onNote) ?? documents, out, {
        ...{ keys, ...windows, limitTokens, expectedTokens, data: remaining?.name ?? name },
        ...computeOptions(options),
        signal: io.signal,
        onProgress: showProgress(io),
        onNote,
      });
      io.finishProgress();
      const { tokens, manifest, resumedTokens } = built;
      const seconds = (performance.now() - startMs) / 1000;
      const done = `${count(tokens)} tokens stored, ${formatDuration(seconds * 1000)}\n`;
      return {
        json: { out, tokens, ...manifest, resumedTokens, stopped: manifest === undefined, seconds },
        ...(manifest
          ? {
              text: `${out}\n${done}next: ${commandLine('lm eval', { model: options.model, data: 'test.jsonl', method: 'knn-lm', datastore: out, tuneData: 'dev.jsonl' })}\n`,
            }
          : { text: `${done}stopped: give the command again to go on\n`, exitCode: 1 as const }),
      };
    } finally {
      await model.dispose();
    }
  },
});
