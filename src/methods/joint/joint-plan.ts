import { parseRefreshPolicy } from '../../cache/refresh-policy.ts';
import { parameterCount } from '../../nn/parameters.ts';
import { UsageError } from '../../util/errors.ts';
import { count } from '../../util/format.ts';
import { option } from '../../util/option-name.ts';
import { optionValues, pickOptions } from '../../util/option-table.ts';
import type { MethodContext, RunPlan } from '../contract/method.ts';
import { CANDIDATE_OPTIONS, checkCandidates, describeCandidates } from '../table/candidate-plan.ts';
import { noReader } from '../table/reader-loss.ts';
import { READER_OPTIONS } from '../table/reader-options.ts';
import { tableRows } from '../table/table-options.ts';
import { JOINT_READER_OPTIONS } from './joint-options.ts';

/** Options of every method that trains a reader beside the retriever. */
export const JOINT_OPTIONS = {
  ...pickOptions(
    READER_OPTIONS,
    'reader',
    'readerPrompt',
    'readerTokens',
    'readerEvalQueries',
    'leaveOutPositives',
  ),
  ...JOINT_READER_OPTIONS,
  ...CANDIDATE_OPTIONS,
};

/**
 * Checks the plan of a joint run, before anything is loaded or embedded.
 *
 * @throws UsageError where options contradict each other, and where no reader is named
 */
export function checkJointPlan(id: string, plan: RunPlan): void {
  const { reader, readerTuning, readerLora, readerLoraTargets } = optionValues(JOINT_OPTIONS, plan.options);
  if (reader === undefined) throw noReader();
  checkCandidates(id, plan);
  if (plan.frozenRetriever && readerTuning === 'frozen') {
    throw new UsageError('nothing is left to train: retriever and reader are frozen', {
      help: `train the reader by ${option('readerTuning', 'full')} or ${option('readerTuning', 'lora')}, or freeze less of the retriever (${option('freeze')})`,
    });
  }
  if (readerTuning === 'lora') return;
  const asked = readerLora !== undefined ? 'readerLora' : readerLoraTargets ? 'readerLoraTargets' : undefined;
  if (asked === undefined) return;
  throw new UsageError(`${option(asked)} without ${option('readerTuning', 'lora')}`, {
    help: `add ${option('readerTuning', 'lora')}, or leave ${option(asked)} out`,
  });
}

/**
 * Describes the candidates, the reader and the cost of a joint run: one sentence a line.
 *
 * @param of.beside  candidates beside those of the table, in words
 * @param of.prompts  prompts of each query
 */
export function describeJoint(plan: RunPlan, of: { beside?: string; prompts: number }): string[] {
  const { readerTuning } = optionValues(JOINT_OPTIONS, plan.options);
  const too = plan.frozenRetriever ? '' : ' too';
  const trained = { full: `is trained${too}`, lora: 'is trained by adapters', frozen: 'stays as it is' };
  const { beside = '', prompts } = of;
  return [
    ...describeCandidates(plan, { beside, loss: `the reader ${trained[readerTuning]}` }),
    `prompts that the reader reads: ${count(plan.updates * plan.accumulate * plan.batchSize * prompts)}`,
  ];
}

/**
 * Makes the report of what the freshness of the table has cost, as a share of the time of steps, beside the formula of the papers: an
 * event `overhead` of the log, and a note, after the last update.
 *
 *     refresh every R updates:  2 N T P_ret / (W R)      over-retrieve:  2 B L T P_ret / W
 *
 * with N rows, T tokens of a document, P_ret parameters of the retriever, B queries in an update, and W operations of the reader in an
 * update (`readerFlops` of the ledger): 2 for each parameter and token, 4 or 6 with a gradient to adapters or weights. Where each candidate
 * is read as one text of T tokens, this is N P_ret / (4 B K P_lm R) of the papers. An encoder-decoder reads passages with its encoder alone,
 * and only answers with its decoder. The formula counts only the two models.
 */
export function overheadReport({
  options,
  ledger,
  retriever,
  documents,
  totalSteps = 1,
  onEvent,
  onNote,
}: MethodContext): () => void {
  const { overRetrieve: L, cacheSize, refresh } = optionValues(JOINT_OPTIONS, options);
  const embedding = (2 * parameterCount(retriever.specs) * documents.totalTokens) / documents.rows;
  const { every, async } = parseRefreshPolicy(refresh);
  const R = every ?? async?.every;
  const N = tableRows(cacheSize, documents.rows);
  return () => {
    const { stepMs = 0, updateMs = 0, sampleMs = 0, refreshMs = 0, rerankMs = 0 } = ledger.totals;
    const { readerQueries = 0, readerFlops = 0 } = ledger.totals;
    const work = stepMs + updateMs + sampleMs;
    const figures: Record<string, number> = {
      ...(R && {
        refreshFormula: (N * embedding * totalSteps) / (readerFlops * R),
        refreshMeasured: refreshMs / work,
      }),
      ...(L > 0 && {
        overRetrieveFormula: (readerQueries * L * embedding) / readerFlops,
        overRetrieveMeasured: rerankMs / work,
      }),
    };
    const names = Object.keys(figures);
    if (names.length === 0) return;
    onEvent?.('overhead', figures);
    const words = names.map((name) => `${name} ${(100 * figures[name]!).toFixed(1)} %`);
    onNote?.(`cost of a fresh table, as a share of the time of steps: ${words.join(', ')}`);
  };
}
