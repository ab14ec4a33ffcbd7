import type { HeldOutQuery, Method } from '../../methods/contract/method.ts';
import { CostLedger } from '../../objective/cost-ledger.ts';
import type { LanguageSystem, Question } from '../../rlm/language-system.ts';
import { leakFilter } from '../../rlm/leak-filter.ts';
import { denseSource, goldSource, type PassageSource, randomSource } from '../../rlm/passage-source.ts';
import { passagesOf } from '../../rlm/passages.ts';
import type { SystemSpec } from '../../rlm/system-spec.ts';
import { findSystem, SYSTEM_OPTIONS, systems } from '../../rlm/systems.ts';
import { UsageError } from '../../util/errors.ts';
import { checkedValues, type OptionTable } from '../../util/option-table.ts';
import { answeredQuestions } from './evaluate-joint.ts';
import { JOINT_METHODS, JointRun, jointMethods, READ_OPTIONS } from './joint-run.ts';

/** Options of runs with a reader as systems of a comparison. */
export const JOINT_SYSTEM_OPTIONS = {
  /** Folder of the run. */
  run: {
    type: 'text',
    value: 'folder',
    nonEmpty: true,
    help: 'folder of a run of realm or atlas, whose retriever and reader answer',
  },
  ...READ_OPTIONS,
} as const satisfies OptionTable;

/** Makes the kind of system of a method that trains a reader: it answers questions with both models of a run. */
const jointSystem = ({ id, paper }: Method): SystemSpec => ({
  id,
  summary: 'retriever and reader of a run, on questions',
  ...(paper && { paper }),
  options: JOINT_SYSTEM_OPTIONS,
  controls: (
    [
      ['none', 'none'],
      ['random', 'random'],
      ['oracle', 'gold'],
    ] as const
  ).map(([name, read]) => ({ name: `${id}-${name}`, method: id, options: { read }, follows: () => true })),
  async open(model, options, { corpus, onProgress, onNote, device, threads }) {
    const { run: folder, read, readSeed } = checkedValues(JOINT_SYSTEM_OPTIONS, options);
    if (folder === undefined) {
      throw new UsageError(`run is missing: the folder of a run of ${id}`, {
        help: `train one by undrift lm train --method ${id}`,
      });
    }
    if (!corpus) {
      throw new UsageError(`a run of ${id} answers questions, and this is running text`, {
        help: 'give a data set with answers to its queries',
      });
    }
    const compute = { ...(device && { device }), ...(threads && { threads }) };
    const run = await JointRun.open(folder, { method: id, option: 'run', onProgress, onNote, ...compute });
    const passages = passagesOf(corpus);
    const ledger = new CostLedger();
    let source: PassageSource | undefined;
    try {
      source =
        read === 'none'
          ? undefined
          : read === 'random'
            ? randomSource(passages, leakFilter(passages), { seed: readSeed })
            : read === 'gold'
              ? goldSource(passages)
              : await denseSource(run.retriever, passages, leakFilter(passages), { ...compute, onProgress });
    } catch (error) {
      await run.dispose();
      throw error;
    }
    const find = async (questions: readonly Question[]): Promise<HeldOutQuery[]> => {
      const most = questions.reduce((count, { right }) => Math.max(count, right.length), 0);
      const asked = questions.map(({ segment: { query, gold } }) => ({ text: query!, gold }));
      const depth = run.readings.candidates + (run.withoutPositives ? most : 0);
      const found = await source?.find(asked, Math.min(depth, passages.size), ledger);
      return questions.map(({ id, answers, right }, i) => {
        const { rows = new Int32Array(0), scores = new Float32Array(0) } = found?.[i] ?? {};
        const leaves = run.withoutPositives && read !== 'gold';
        const leftOut = new Set(leaves ? Array.from(right, (row) => passages.text(row)) : []);
        const documents = Array.from(rows, (row, at) => ({
          row,
          text: passages.text(row),
          score: scores[at]!,
        }));
        return {
          ...{ id, answers, query: asked[i]!.text },
          documents: documents.filter(({ text }) => !leftOut.has(text)).slice(0, run.readings.candidates),
        };
      });
    };
    return {
      name: id,
      model,
      ledger,
      score: async () => {
        throw new UsageError(`a run of ${id} answers questions, and scores no running text`);
      },
      async answer(questions, { answerTokens }) {
        const queries = await find(questions);
        return answeredQuestions(queries, await run.answer(queries, answerTokens), run.depth);
      },
      async dispose() {
        await source?.dispose();
        await run.dispose();
      },
    } satisfies LanguageSystem;
  },
});

/** Runs with a reader as kinds of systems. */
export const jointSystems: readonly SystemSpec[] = jointMethods.map(jointSystem);

/** Every kind of system that a comparison measures. */
export const comparedSystems: readonly SystemSpec[] = [...systems, ...jointSystems];

/** Options of all systems that a comparison measures. */
export const COMPARED_OPTIONS: OptionTable = { ...SYSTEM_OPTIONS, ...JOINT_SYSTEM_OPTIONS };

/**
 * Finds a kind of system that a comparison measures by its id.
 *
 * @throws UsageError for an unknown id, with the list of ids
 */
export const findComparedSystem = (id: string): SystemSpec =>
  jointSystems.find((system) => system.id === id.toLowerCase()) ?? findSystem(id, JOINT_METHODS);
