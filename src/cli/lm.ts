import type { CommandGroup } from './command.ts';
import { compareLanguageCommand } from './lm-compare.ts';
import { lmDatastoreCommand } from './lm-datastore.ts';
import { lmEvalCommand } from './lm-eval.ts';
import { lmFillCommand } from './lm-fill.ts';
import { generateCommand } from './lm-generate.ts';
import { lmMethodsCommand } from './lm-methods.ts';
import { lmRerankDataCommand } from './lm-rerank-data.ts';
import { lmTrainCommand } from './lm-train.ts';

/** The commands `undrift lm …`: language models. */
export const lmCommands: CommandGroup = {
  name: 'lm',
  summary: 'train and use language models, alone or with retrieval',
  commands: [
    lmTrainCommand,
    lmEvalCommand,
    lmDatastoreCommand,
    lmRerankDataCommand,
    generateCommand,
    lmFillCommand,
    compareLanguageCommand,
    lmMethodsCommand,
  ],
};
