import type { GenerationOptions } from '../models/language/generate.ts';
import { generationSettings } from '../models/language/generation-options.ts';
import { JointRun } from '../train/language-methods/joint-run.ts';
import { UsageError } from '../util/errors.ts';
import type { GivenValues, OptionTable, OptionValues } from '../util/option-table.ts';
import type { CommandResult } from './command.ts';
import type { Io } from './io.ts';
import { findPassages, type PASSAGE_OPTIONS } from './lm-passages.ts';
import { showNotes, showProgress } from './model-source.ts';
import { refuseOthers } from './refuse-others.ts';
import { computeOptions } from './shared-options.ts';

/** Longest answer in tokens, where neither the command nor the run says. */
const ANSWER_TOKENS = 16;

/** Options that have a meaning for a run with a reader. */
const TAKEN = [
  ...['model', 'tokens', 'temperature', 'topP', 'topK', 'seed', 'stop'],
  ...['data', 'store', 'passages', 'columns', 'skipBadRows', 'device', 'threads'],
];

/** Answers a question with the retriever and the reader of a run, for `undrift lm generate`. */
export async function answerByRun(
  question: string,
  options: OptionValues<typeof PASSAGE_OPTIONS> &
    Pick<GenerationOptions, 'temperature' | 'topP' | 'topK' | 'seed' | 'stop'> & {
      readonly model: string;
      readonly tokens: number | undefined;
      readonly device: string;
      readonly threads: number | undefined;
    },
  { table, io }: { table: OptionTable; io: Io },
): Promise<CommandResult> {
  refuseOthers(table, options as GivenValues, {
    allowed: TAKEN,
    purpose:
      'a run with a reader, which answers from the documents of --data or --store that its retriever finds',
  });
  if (question.trim() === '') throw new UsageError('there is no question to answer');
  const { temperature, topP, topK, seed, stop } = options;
  const settings = { temperature, topP, topK, seed, stop };
  generationSettings(settings);
  const startMs = performance.now();
  const compute = computeOptions(options);
  const run = await JointRun.open(options.model, {
    ...{ onProgress: showProgress(io), onNote: showNotes(io) },
    ...compute,
  });
  try {
    const { depth } = run;
    const found = await findPassages(
      question,
      { ...options, passages: options.passages ?? depth },
      { io, compute, retriever: run.retriever },
    );
    if (!found) io.log('note: without --data or --store the reader reads the question alone');
    else if (found.length === 0) io.log('note: no passage was found; the question is read alone');
    const tokens = options.tokens ?? (run.answerTokens || ANSWER_TOKENS);
    const answer = await run.write(question, found ?? [], { ...settings, tokens, signal: io.signal });
    io.finishProgress();
    const passages = found?.map(({ id, score }, i) => ({ rank: i + 1, id, score, read: i < depth }));
    for (const { rank, id, score, read } of passages ?? [])
      io.log(`passage ${rank}  ${score.toFixed(4)}  ${id}${read ? '' : '  (not read)'}`);
    return {
      json: {
        ...{ text: answer, question, method: run.method, seconds: (performance.now() - startMs) / 1000 },
        ...(passages && { passages }),
      },
      text: `${answer}\n`,
    };
  } finally {
    await run.dispose();
  }
}
