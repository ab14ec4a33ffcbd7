import { generate } from '../models/language/generate.ts';
import { GENERATION_OPTIONS } from '../models/language/generation-options.ts';
import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { defineCommand } from './command.ts';
import { Interrupted } from './io.ts';
import { loadLanguageModel, MODEL_HELP } from './model-source.ts';
import { computeOptions } from './shared-options.ts';
import { checkCommandLine, textOf } from './text-argument.ts';

const OPTIONS = {
  model: {
    type: 'text',
    value: 'model',
    required: true,
    nonEmpty: true,
    help: `language model: ${MODEL_HELP}`,
  },
  ...GENERATION_OPTIONS,
  ...COMPUTE_OPTIONS,
} as const;

/** The command `undrift lm generate`: continues a text. */
export const generateCommand = defineCommand({
  name: 'generate',
  summary: 'continue a text with a language model',
  description:
    'Prints the text with its continuation, as it is written. With --json, "text" is the text with its continuation, and "continuation" the ' +
    'new text alone.',
  arguments: [{ name: 'text...', help: 'beginning of the text; - reads it from stdin', required: true }],
  options: OPTIONS,
  examples: [
    '--model HuggingFaceTB/SmolLM2-135M "The capital of France is" --tokens 20',
    '--model runs/stories --temperature 0.8 --top-p 0.9 --seed 3 "Once upon a time"',
  ],
  async run({ model: path, device, threads, ...options }, io, words) {
    checkCommandLine('lm generate');
    const text = await textOf(words);
    const model = await loadLanguageModel(path, io);
    try {
      const startMs = performance.now();
      let firstMs: number | undefined;
      const { signal } = io;
      const pieces = generate(model, text, { ...options, ...computeOptions({ device, threads }), signal });
      await io.stream(text);
      for (;;) {
        const { done, value } = await pieces.next();
        if (!done) {
          firstMs ??= performance.now() - startMs;
          await io.stream(value);
          continue;
        }
        const seconds = (performance.now() - startMs) / 1000;
        const { text: continuation, ids, promptTokens, finish } = value;
        return {
          json: {
            text: text + continuation,
            continuation,
            finish,
            promptTokens,
            tokens: ids.length,
            seconds,
            firstTextSeconds: firstMs === undefined ? null : firstMs / 1000,
          },
          text: '\n',
        };
      }
    } catch (error) {
      throw io.signal.aborted ? new Interrupted() : error;
    } finally {
      await model.dispose();
    }
  },
});
