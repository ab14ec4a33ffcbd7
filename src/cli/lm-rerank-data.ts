import type { LanguageModel } from '../models/language/language-model.ts';
import { CostLedger } from '../objective/cost-ledger.ts';
import { openTask, TASK_OPTIONS, taskKind } from '../rlm/evaluation-task.ts';
import { countScored, type Segment, scoredTokens } from '../rlm/language-system.ts';
import { FRONT_OPTIONS } from '../rlm/passage-front.ts';
import type { PassageSource } from '../rlm/passage-source.ts';
import { RERANKER_LIST_OPTIONS, rerankerLists } from '../rlm/reranker-lists.ts';
import { openSource, SOURCE_OPTIONS } from '../rlm/source-options.ts';
import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { commandLine } from '../util/command-line.ts';
import { DataError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { count, formatDuration } from '../util/format.ts';
import { lockBeside, withLock } from '../util/lock.ts';
import {
  checkedValues,
  type OptionTable,
  type OptionValues,
  pickOptions,
  withDefaults,
  withoutDefaults,
} from '../util/option-table.ts';
import { type CommandResult, defineCommand } from './command.ts';
import type { Io } from './io.ts';
import { TEXT_OPTIONS, taskOptions } from './lm-eval.ts';
import { loadLanguageModel, showNotes, showProgress } from './model-source.ts';
import { checkNotOfData, checkOutputName } from './output-file.ts';
import { computeOptions, TEXT_DATA_HELP } from './shared-options.ts';
import { ledgerText } from './training-report.ts';

/** Split whose questions are searched for: a reranker is trained on what no test measures. */
const SPLIT = 'train';

/** Options of what is scored, which depend on the kind of data: their defaults are filled in when it is known. */
const TASK = withDefaults(
  pickOptions(TASK_OPTIONS, 'limitTokens', 'task', 'split', 'prompt', 'limitQueries'),
  { split: SPLIT },
);

const OPTIONS = {
  ...TEXT_OPTIONS,
  data: {
    ...TEXT_OPTIONS.data,
    help: `${TEXT_DATA_HELP}; or a data set with queries and answers.jsonl, whose questions are searched for`,
  },
  out: {
    type: 'text',
    value: 'file.jsonl',
    required: true,
    help: 'file to write: one list of passages per line, with the log-likelihoods of what followed',
  },
  ...withoutDefaults(TASK),
  ...RERANKER_LIST_OPTIONS,
  ...SOURCE_OPTIONS,
  // The paper trains with the next 16 tokens.
  ...withDefaults(FRONT_OPTIONS, { retrievalStride: 16 }),
  ...COMPUTE_OPTIONS,
} as const satisfies OptionTable;

/** The command `undrift lm rerank-data`: writes the lists with which a predictive reranker is trained. */
export const lmRerankDataCommand = defineCommand({
  description:
    'Finds passages for stretches of text or for questions, and scores the text that follows after each of them. Each line has query, ' +
    'positive (the passage with which the text is likeliest), negative (the others) and scores (log-likelihoods in nats, the positive ' +
    'first): data for undrift train --method cross-encoder --loss marginal-likelihood, which trains the predictive reranker of in-context ' +
    'RALM. The language model is not trained. Give the options of retrieval with which the reranker will be used.',
  options: OPTIONS,
  examples: [
    '--model HuggingFaceTB/SmolLM2-135M --data wiki.train.jsonl --passage-data wiki.train.jsonl --limit-tokens 200000 --out lists.jsonl',
    '--model runs/lm --data data/squad --limit-queries 5000 --candidates 16 --out lists.jsonl',
  ],
  async run(options, io) {
    const { out, data } = options;
    checkOutputName(out, '.jsonl');
    checkNotOfData(out, data);
    return await withLock(lockBeside(out), async () => {
      const model = await loadLanguageModel(options.model, io);
      try {
        return await write(model, options, io);
      } finally {
        await model.dispose();
      }
    });
  },
});

async function write(
  model: LanguageModel,
  options: OptionValues<typeof OPTIONS>,
  io: Io,
): Promise<CommandResult> {
  const startMs = performance.now();
  const { data, out, columns, skipBadRows } = options;
  const onNote = showNotes(io);
  const onProgress = showProgress(io);
  const compute = computeOptions(options);
  const asked = taskOptions(options);
  const isQuestions = (await taskKind(data, asked)) === 'questions';
  const split = isQuestions && { split: asked.split ?? SPLIT };
  const task = await openTask(model, data, {
    ...asked,
    ...split,
    ...{ columns, skipBadRows, onProgress, onNote },
  });
  const { corpus } = task;
  const { source, passageEncodes, dispose } = await openSource(options, {
    ...{ corpus, onProgress, onNote },
    ...compute,
  });
  const ledger = new CostLedger();
  if (passageEncodes > 0) ledger.add('passageEncodes', passageEncodes);
  const segments = [...task.segments()];
  const done = { lists: 0, passages: 0 };
  try {
    await writeFileAtomic(out, lines(model, source, { segments, options, ledger, done, io }));
  } finally {
    await dispose();
  }
  io.finishProgress();
  const seconds = (performance.now() - startMs) / 1000;
  const train = {
    method: 'cross-encoder',
    loss: 'marginal-likelihood',
    model: 'sentence-transformers/all-MiniLM-L6-v2',
    negatives: options.candidates - 1,
    data: out,
    out: 'runs/reranker',
  };
  return {
    json: {
      ...{ out, ...done, data: task.name, fingerprint: task.fingerprint },
      ...split,
      candidates: options.candidates,
      cost: ledger.totals,
      seconds: Number(seconds.toFixed(3)),
    },
    text:
      `${count(done.lists)} lists with ${count(done.passages)} passages in ${out}, ${formatDuration(seconds * 1000)}\n` +
      `${ledgerText(ledger.totals)}\n` +
      `train on them: ${commandLine('train', train)}\n`,
  };
}

/** Lines of the file. Counts what is in them, and shows how many tokens are scored. */
async function* lines(
  model: LanguageModel,
  source: PassageSource,
  {
    segments,
    options,
    ledger,
    done,
    io,
  }: {
    segments: readonly Segment[];
    options: OptionValues<typeof OPTIONS>;
    ledger: CostLedger;
    done: { lists: number; passages: number };
    io: Io;
  },
): AsyncGenerator<string> {
  const total = countScored(segments);
  let scored = 0;
  const counted = function* () {
    for (const segment of segments) {
      yield segment;
      scored += scoredTokens(segment);
      io.progress('score', scored, { total, unit: 'tokens' });
    }
  };
  const settings = {
    ...{ candidates: options.candidates, ledger },
    ...checkedValues(FRONT_OPTIONS, options),
    ...computeOptions(options),
  };
  for await (const list of rerankerLists(model, source, counted(), settings)) {
    done.lists += 1;
    done.passages += list.scores.length;
    yield `${JSON.stringify(list)}\n`;
  }
  if (done.lists > 0) return;
  throw new DataError('no text has two passages to choose from', {
    file: options.data,
    help: 'give more documents to find passages in, or a leak filter that leaves more of them',
  });
}
