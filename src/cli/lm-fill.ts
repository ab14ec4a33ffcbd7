import { streamTextCorpus } from '../data/text-corpus.ts';
import { type FillOptions, PhraseIndex } from '../rlm/npm.ts';
import { FILL_OPTIONS } from '../rlm/npm-options.ts';
import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { count, plural } from '../util/format.ts';
import { type OptionTable, pickOptions } from '../util/option-table.ts';
import { defineCommand } from './command.ts';
import { TEXT_OPTIONS } from './lm-eval.ts';
import { loadModel, MODEL_HELP, showProgress, streamOptions } from './model-source.ts';
import { computeOptions } from './shared-options.ts';
import { checkCommandLine, textOf } from './text-argument.ts';

const OPTIONS = {
  model: {
    ...TEXT_OPTIONS.model,
    help: `encoder that finds phrases, as undrift lm train --method npm makes it: ${MODEL_HELP}`,
  },
  ...pickOptions(TEXT_OPTIONS, 'data', 'columns', 'skipBadRows'),
  window: {
    type: 'integer',
    value: 'n',
    min: 3,
    defaultHelp: 'as long as the model reads documents',
    help: 'tokens of a document that are read at once',
  },
  ...FILL_OPTIONS,
  ...COMPUTE_OPTIONS,
} as const satisfies OptionTable;

const fillOptions = ({
  count,
  k,
  mostTokens,
  temperature,
  lengthPower,
  exclude,
}: FillOptions): FillOptions => ({
  ...{ count, k, mostTokens, temperature, lengthPower, exclude },
});

/** The command `undrift lm fill`: fills a mask with phrases of texts. */
export const lmFillCommand = defineCommand({
  description:
    'Reads the texts of --data with the encoder, and lists the phrases that fill the mask, best first, with their scores, their number of ' +
    'occurrences, and the document of the best one. The states of all tokens are in memory.',
  arguments: [
    { name: 'text...', help: 'text with one mask, such as [MASK]; - reads it from stdin', required: true },
  ],
  options: OPTIONS,
  examples: [
    '--model runs/npm --data articles.jsonl.gz "They met under the [MASK]."',
    '--model runs/npm --data articles.jsonl.gz --length-power 0.5 --count 3 --json "the [MASK] of France"',
  ],
  async run(options, io, words) {
    checkCommandLine('lm fill');
    const { columns, skipBadRows, window } = options;
    const text = await textOf(words);
    const model = await loadModel(options.model, io);
    const reading = streamOptions(io, { ...(columns && { columns }), skipBadRows });
    try {
      const index = await PhraseIndex.build(model, streamTextCorpus(options.data, reading), {
        ...{ window, onProgress: showProgress(io), ...computeOptions(options) },
      });
      try {
        io.finishProgress();
        const phrases = await index.fill(text, fillOptions(options));
        const lines = phrases.map(
          ({ phrase, score, occurrences, best }) =>
            `${score.toFixed(4)}  ${phrase}  (${plural(occurrences, 'occurrence')}, ${best.document})`,
        );
        return {
          json: { text, tokens: index.size, phrases },
          text: `${lines.join('\n')}\n${count(index.size)} tokens searched\n`,
        };
      } finally {
        await index.dispose();
      }
    } finally {
      await model.dispose();
    }
  },
});
