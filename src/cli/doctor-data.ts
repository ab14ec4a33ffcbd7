import { type Advice, adviseOn } from '../advice/advice.ts';
import { collectFacts, type Facts } from '../advice/facts.ts';
import { ANY_DATA_OPTIONS } from '../data/load-options.ts';
import { isNewModel, NEW_MODELS } from '../train/settings.ts';
import { count, percent, plural } from '../util/format.ts';
import type { GivenOptions } from '../util/option-table.ts';
import type { CommandResult } from './command.ts';
import type { Io } from './io.ts';
import { loadModel, readOptions } from './model-source.ts';
import { givenOptions } from './shared-options.ts';

/** Runs `undrift doctor --data`: recommends a training method for a data set, and warns about what hurts. */
export async function runDataAdvice(
  path: string,
  { model, ...faults }: { model?: string | undefined } & GivenOptions<typeof ANY_DATA_OPTIONS>,
  io: Io,
): Promise<CommandResult> {
  const isGiven = model !== undefined && !isNewModel(model);
  const retriever = isGiven ? await loadModel(model, io, NEW_MODELS) : undefined;
  try {
    const facts = await collectFacts(path, {
      ...readOptions(io, faults),
      reading: givenOptions(ANY_DATA_OPTIONS, faults),
      model,
      retriever,
    });
    io.finishProgress();
    const advice = adviseOn(facts);
    const { statistics, lengths, exactLengths, unknownRatio, model: plan } = facts;
    return {
      json: { data: path, model: plan, ...advice, lengths, exactLengths, unknownRatio, statistics },
      text: formatAdvice(facts, advice),
    };
  } finally {
    await retriever?.dispose();
  }
}

function formatAdvice(
  facts: Facts,
  { method, reason, evidence, commands, alternatives, warnings }: Advice,
): string {
  const parts = [
    `${formatData(facts)}\n`,
    `recommended method: ${method}\n  ${reason}\n${evidence ? `  measured: ${evidence.text} (docs/${evidence.source})\n` : ''}`,
    commands.map((command) => `  ${command}\n`).join(''),
    ...(alternatives.length > 0
      ? [`compare with:\n${alternatives.map((each) => `  ${each.method}: ${each.reason}\n`).join('')}`]
      : []),
    warnings.length === 0
      ? 'nothing in the data was found to hurt\n'
      : `what hurts:\n${warnings
          .map(
            ({ message, remedy, command }) =>
              `  - ${message}\n    ${remedy}${command ? `: ${command}` : ''}\n`,
          )
          .join('')}`,
  ];
  const notes = facts.statistics.notes.map((note) => `note: ${note}\n`).join('');
  return parts.join('\n') + (notes && `\n${notes}`);
}

/** Describes the data in a line or two. */
function formatData({ path, statistics: { kind, documents, training, splits } }: Facts): string {
  const named = {
    pairs: 'queries with judgements',
    'scored-pairs': 'scored pairs',
    texts: 'documents alone',
  }[kind];
  const inSplits = Object.entries(splits).map(([split, { queries }]) => `${split} ${count(queries)}`);
  const repeated =
    training && kind === 'pairs'
      ? `\non average ${plural(training.queriesPerPositive, 'training query', 'training queries')} for a right document, ` +
        `${plural(training.negativesPerQuery, 'negative')} for a query` +
        (training.scoredRatio > 0 ? `, teacher's scores for ${percent(training.scoredRatio, 0)}` : '')
      : '';
  return `${path}: ${named}, ${count(documents)} documents${inSplits.length > 0 ? `; queries: ${inSplits.join(', ')}` : ''}${repeated}`;
}
