import type { CommandGroup } from './command.ts';
import { generateCommand } from './lm-generate.ts';

/** The commands `undrift lm …`: language models. */
export const lmCommands: CommandGroup = {
  name: 'lm',
  summary: 'use language models, alone or with retrieval',
  commands: [generateCommand],
};
