import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { commandLine } from './command-line.ts';

it('composes a command, without options that are not given', () => {
  const options = { data: 'a/b', batchSize: 16, overwrite: true, resume: false, lr: undefined };
  expect(commandLine('train', options)).toBe('undrift train --data a/b --batch-size 16 --overwrite');
  expect(commandLine('data stats', {}, ['my data'])).toBe("undrift data stats 'my data'");
});

it.each(["it's", 'a b', '$HOME', 'a"b', '*', '', 'naïve', '~/x', 'a\nb'])('quotes %j for a shell', (word) => {
  const line = commandLine('x', { data: word }).replace('undrift x --data', 'printf %s');
  expect(execFileSync('sh', ['-c', line], { encoding: 'utf8' })).toBe(word);
});
