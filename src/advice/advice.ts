import { commandLine } from '../util/command-line.ts';
import type { Facts } from './facts.ts';
import { METHOD_RULES } from './method-rules.ts';
import type { Alternative, Evidence, MethodRule, TrainingOptions } from './rule.ts';
import { WARNING_RULES } from './warning-rules.ts';

/** Warning about data, with a remedy. */
export interface Warning {
  /** Id of the rule that warns. */
  readonly rule: string;
  /** Fact that hurts training or evaluation. */
  readonly message: string;
  /** Sentence that says what to do. */
  readonly remedy: string;
  /** Command that does it; null where no command can. */
  readonly command: string | null;
}

/** Recommendation of a training method for a data set. */
export interface Advice {
  /** Id of the recommended method. */
  readonly method: string;
  /** Id of the rule that recommends it. */
  readonly rule: string;
  /** Sentence that says why. */
  readonly reason: string;
  /** Measured figures behind the rule; null where the form of the data leaves no choice. */
  readonly evidence: Evidence | null;
  /** Commands to type: training, then measuring. */
  readonly commands: readonly string[];
  /** Methods to compare with. */
  readonly alternatives: readonly Alternative[];
  readonly warnings: readonly Warning[];
}

/** Folder of the run in suggested commands. */
const RUN = 'runs/first';

/** Recommends a training method, by the first rule of `METHOD_RULES` that applies, and warns by all of `WARNING_RULES`. */
export function adviseOn(facts: Facts): Advice {
  const rule = METHOD_RULES.find(({ applies }) => applies(facts))!;
  const found = WARNING_RULES.flatMap(({ id, find }) => {
    const warning = find(facts);
    return warning ? [{ id, ...warning }] : [];
  });
  const corrected: TrainingOptions = Object.assign({}, ...found.map(({ corrected = {} }) => corrected));
  const train = (options: TrainingOptions) => trainCommand(facts, rule, { ...corrected, ...options });
  const warnings = found.map(({ id, message, remedy, options, corrected: fix, command }) => ({
    rule: id,
    message,
    remedy,
    command: command ?? (options || fix ? train({ ...fix, ...options }) : null),
  }));
  const { id, method, reason, evidence, alternatives = [] } = rule;
  return {
    method,
    rule: id,
    reason: reason(facts),
    evidence,
    commands: [train({}), ...evaluations(facts)],
    alternatives,
    warnings,
  };
}

/** Composes the training command of a rule. */
function trainCommand(facts: Facts, rule: MethodRule, options: TrainingOptions): string {
  const { path, reading, statistics, model } = facts;
  const onTexts = statistics.kind === 'texts';
  return commandLine('train', {
    [onTexts ? 'corpus' : 'data']: path,
    out: RUN,
    method: rule.method === 'in-batch' ? undefined : rule.method,
    ...(model.name !== 'static' && { model: model.name }),
    ...rule.options?.(facts),
    ...options,
    ...reading,
  } as Record<string, string | number | undefined>);
}

/** Composes the commands that measure the run, and BM25 beside it. */
function evaluations({ path, reading, statistics: { kind, splits } }: Facts): string[] {
  const split = ['test', 'dev'].find((name) => name in splits);
  if (split === undefined) return [];
  const metrics = kind === 'scored-pairs' ? 'spearman,pearson' : undefined;
  const measure = (model: string) => commandLine('eval', { model, data: path, split, metrics, ...reading });
  return kind === 'scored-pairs' ? [measure(RUN)] : [measure(RUN), measure('bm25')];
}
