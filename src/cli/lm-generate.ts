import { type ChatMessage, chatPrompt } from '../models/language/chat-template.ts';
import { type GenerationOptions, generate } from '../models/language/generate.ts';
import { GENERATION_OPTIONS } from '../models/language/generation-options.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import { type PromptPassage, passagePrompt, passagesBefore } from '../models/language/passage-prompt.ts';
import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { INSTRUCTIONS, questionText } from '../serve/answer/answerer.ts';
import { isJointRun } from '../train/language-methods/joint-run.ts';
import { runMethod } from '../train/run-folder.ts';
import { UsageError } from '../util/errors.ts';
import { readText } from '../util/files.ts';
import { type OptionValues, pickOptions, withoutDefaults } from '../util/option-table.ts';
import { defineCommand } from './command.ts';
import type { Io } from './io.ts';
import { CHUNK_OPTIONS, openChunkWriter } from './lm-generate-chunks.ts';
import { answerByRun } from './lm-generate-joint.ts';
import { type FoundPassage, findPassages, PASSAGE_OPTIONS } from './lm-passages.ts';
import { loadLanguageModel, MODEL_HELP, modelFolder } from './model-source.ts';
import { computeOptions } from './shared-options.ts';
import { checkCommandLine, textOf } from './text-argument.ts';

const CHAT = 'Chat';

const OPTIONS = {
  model: {
    type: 'text',
    value: 'model',
    required: true,
    nonEmpty: true,
    help: `language model: ${MODEL_HELP}`,
  },
  ...GENERATION_OPTIONS,
  ...withoutDefaults(pickOptions(GENERATION_OPTIONS, 'tokens')),
  specialTokens: {
    type: 'switch',
    default: false,
    help: 'count <|im_end|> and other special tokens that are written in the text as special tokens; without it, they are plain characters, as always in passages and messages',
  },
  chat: {
    type: 'switch',
    default: false,
    help: 'take the text as a message, and print the answer; by the chat template of the model',
    group: CHAT,
  },
  system: {
    type: 'text',
    nonEmpty: true,
    defaultHelp: 'none; with passages, to answer from them',
    help: 'instructions before the message',
    group: CHAT,
  },
  chatTemplate: {
    type: 'text',
    value: 'file',
    nonEmpty: true,
    help: 'chat template in Jinja, in place of that of the model',
    group: CHAT,
  },
  ...PASSAGE_OPTIONS,
  ...CHUNK_OPTIONS,
  ...COMPUTE_OPTIONS,
} as const;

type Options = OptionValues<typeof OPTIONS> & { readonly tokens: number };

/** The command `undrift lm generate`: continues a text. */
export const generateCommand = defineCommand({
  description:
    'Prints the text with its continuation as it is written; with --chat the answer alone. With --json, "text" is what is printed otherwise, ' +
    'and "continuation" the new text alone. With --data or --store, passages are found for the text and put in front of it: title and text ' +
    'of each, the best first, and an empty line after each. With --chat they are numbered, and the model is asked to answer from them. ' +
    'Passages that do not fit beside the text and the new tokens are left out, with a note. A RETRO model with --passage-data reads the ' +
    'neighbours of each chunk of the text, as soon as the chunk is complete. An RPT model retrieves them from the text itself, and from what it ' +
    'has written; the text may be longer than its window. With the folder of a run of realm or atlas as --model, the text is a ' +
    'question: its reader answers it from the documents of --data or --store that its retriever finds, by what it predicts given all of them (atlas), or ' +
    'by the mixture of what it predicts given each (realm).',
  arguments: [
    { name: 'text...', help: 'beginning of the text, or message; - reads it from stdin', required: true },
  ],
  options: OPTIONS,
  examples: [
    '--model HuggingFaceTB/SmolLM2-135M "The capital of France is" --tokens 20',
    '--model runs/stories --temperature 0.8 --top-p 0.9 --seed 3 "Once upon a time"',
    '--model HuggingFaceTB/SmolLM2-135M-Instruct --chat --store stores/docs "How do I read a file line by line?"',
    '--model runs/rpt --tokens 400 - < chapter.txt',
    '--model runs/atlas --data data/squad "Where was the box?"',
  ],
  async run(given, io, words) {
    checkCommandLine('lm generate');
    const options: Options = { ...given, tokens: given.tokens ?? GENERATION_OPTIONS.tokens.default };
    checkChatOptions(options);
    const text = await textOf(words);
    if (isJointRun(options.model)) return await answerByRun(text, given, { table: OPTIONS, io });
    await refusePhraseRun(options.model);
    const compute = computeOptions(options);
    const template = options.chatTemplate === undefined ? undefined : await readText(options.chatTemplate);
    const folder = await modelFolder(options.model, io);
    const model = await loadLanguageModel(folder, io);
    try {
      const write = promptWriter(model, text, { ...options, template });
      // Fails before anything is searched, where there is no template.
      write([]);
      const before = options.chat ? '' : text;
      const writer = await openChunkWriter(model, folder, options, io);
      try {
        const found =
          writer?.takesPassages === false ? undefined : await findPassages(text, options, { io, compute });
        const maxTokens = writer ? writer.maxTokens : model.decoder.maxTokens;
        const { prompt, passages } = readPassages(model, found, { write, maxTokens, options, io });
        const begin = (settings: GenerationOptions) =>
          writer?.generate(prompt, settings) ?? generate(model, prompt, settings);
        const { text: continuation, ...facts } = await streamed(begin, { before, options, io });
        const { queriedChunks, foundNeighbours } = writer?.ledger.totals ?? {};
        return {
          json: {
            ...{ text: before + continuation, continuation, ...facts },
            ...(passages && { passages }),
            ...(writer && { chunks: queriedChunks ?? 0, neighbours: foundNeighbours ?? 0 }),
          },
          text: '\n',
        };
      } finally {
        await writer?.dispose();
      }
    } finally {
      await model.dispose();
    }
  },
});

/** @throws UsageError for a run of NPM, whose model fills masks */
async function refusePhraseRun(model: string): Promise<void> {
  if ((await runMethod(model)) !== 'npm') return;
  throw new UsageError(`--model ${model}: a run of npm, whose encoder fills masks and continues no text`, {
    help: `undrift lm fill --model ${model} --data FILE "a text with one [MASK]" fills a mask with phrases of texts`,
  });
}

function checkChatOptions({ chat, system, chatTemplate, specialTokens }: Options): void {
  if (chat) {
    if (specialTokens) {
      throw new UsageError('--special-tokens has no meaning with --chat', {
        help: 'the chat template writes the special tokens; a message has none',
      });
    }
    return;
  }
  const given =
    system !== undefined ? '--system' : chatTemplate !== undefined ? '--chat-template' : undefined;
  if (given) throw new UsageError(`${given} has no meaning without --chat`);
}

/** Returns the function that writes the prompt with some passages, as token ids. */
function promptWriter(
  model: LanguageModel,
  text: string,
  { chat, system, chatTemplate, template, specialTokens }: Options & { template: string | undefined },
): (passages: readonly PromptPassage[]) => ArrayLike<number> {
  if (!chat) return (passages) => passagesBefore(model, text, passages, { specialTokens });
  return (passages) => {
    const instructions = system ?? (passages.length > 0 ? INSTRUCTIONS : undefined);
    const messages: ChatMessage[] = [
      ...(instructions === undefined ? [] : [{ role: 'system' as const, content: instructions }]),
      { role: 'user', content: passages.length > 0 ? questionText(text, passages) : text },
    ];
    return chatPrompt(model, messages, { template, source: chatTemplate });
  };
}

/** Makes the prompt with the passages that fit, and tells which were read. */
function readPassages(
  model: LanguageModel,
  found: readonly FoundPassage[] | undefined,
  {
    write,
    maxTokens,
    options: { tokens, passageTokens },
    io,
  }: {
    write: (passages: readonly PromptPassage[]) => ArrayLike<number>;
    maxTokens: number | undefined;
    options: Options;
    io: Io;
  },
) {
  if (found?.length === 0) io.log('note: no passage was found; the text is read alone');
  const { ids, passages } = passagePrompt(model, found ?? [], {
    ...{ tokens, passageTokens, write, maxTokens },
  });
  const described = passages.map(({ read, cut }, i) => {
    const { id, title, score } = found![i]!;
    return { rank: i + 1, id, title, score, read, cut };
  });
  for (const { rank, id, title, score, read, cut } of described) {
    const state = read ? (cut ? '  (its end was cut off)' : '') : '  (left out: it does not fit)';
    io.log(`passage ${rank}  ${score.toFixed(4)}  ${id}${title && `  ${title}`}${state}`);
  }
  return { prompt: ids, passages: found && described };
}

/** Generates and prints as the text comes. */
async function streamed(
  begin: (settings: GenerationOptions) => ReturnType<typeof generate>,
  { before, options, io }: { before: string; options: Options; io: Io },
) {
  const startMs = performance.now();
  let firstMs: number | undefined;
  const { tokens, temperature, topP, topK, seed, stop, packWeights } = options;
  const settings = { tokens, temperature, topP, topK, seed, stop, packWeights, signal: io.signal };
  const pieces = begin({ ...settings, ...computeOptions(options) });
  for (let isFirst = true; ; isFirst = false) {
    const { done, value } = await pieces.next();
    // The text given is printed when the options are known to be right.
    if (isFirst) await io.stream(before);
    if (!done) {
      firstMs ??= performance.now() - startMs;
      await io.stream(value);
      continue;
    }
    const { text, finish, promptTokens, ids } = value;
    return {
      text,
      finish,
      promptTokens,
      tokens: ids.length,
      seconds: (performance.now() - startMs) / 1000,
      firstTextSeconds: firstMs === undefined ? null : firstMs / 1000,
    };
  }
}
