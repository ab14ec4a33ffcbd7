import { describe, expect, it } from 'vitest';
import { runCommand } from '../../test/run-command.ts';
import { methods } from '../methods/methods.ts';
import { systems } from '../rlm/systems.ts';
import { taxonomy } from '../rlm/taxonomy.ts';
import { JOINT_METHODS } from '../train/language-methods/joint-run.ts';
import { languageTrainings } from '../train/language-methods/language-trainings.ts';
import { kebabCase } from '../util/option-name.ts';
import { allOptions } from './command.ts';
import { specsByPath } from './commands.ts';
import { lmMethodsCommand } from './lm-methods.ts';

const ids = {
  train: methods.map(({ id }) => id).concat('cross-encoder'),
  'lm train': languageTrainings.map(({ id }) => id),
  'lm eval': systems.map(({ id }) => id).concat(JOINT_METHODS),
} as const;
const lines = taxonomy.flatMap(({ train, use }) => [train ?? [], use ?? []].flat());
const named = (command: string) =>
  lines.flatMap((line) => (line.startsWith(`${command} --method `) ? line.split(' ').slice(-1) : []));

describe('lm methods', () => {
  it('lists every system and every training', () => {
    for (const id of ids['lm eval'].filter((id) => id !== 'none')) expect(named('lm eval')).toContain(id);
    // These train models that retrieve nothing.
    const plain = ['language-model', 'masked'];
    for (const id of ids['lm train'].filter((id) => !plain.includes(id)))
      expect(named('lm train')).toContain(id);
  });

  it('gives commands that exist, with their options', async () => {
    const specs = await specsByPath();
    for (const line of lines) {
      const words = line.slice(0, `${line} --`.indexOf(' --')).split(' ');
      const options = allOptions(specs.get(words.join(' '))!);
      const flags = Object.keys(options).map((key) => `--${kebabCase(key)}`);
      for (const [flag] of line.matchAll(/--[a-z-]+/g)) expect(flags, line).toContain(flag);
      const method = /--method (\S+)/.exec(line)?.[1];
      if (method) expect(ids[words.join(' ') as keyof typeof ids], line).toContain(method);
    }
  });

  it('prints each method in its order, and one object with --json', async () => {
    const { json, text = '' } = await runCommand(lmMethodsCommand, {});
    expect(json).toEqual({ methods: taxonomy });
    expect(text).toContain('JOINT, IN BATCH\n  TRIME (Zhong et al. 2022)\n    trained  language model\n');
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(100);
  });
});
