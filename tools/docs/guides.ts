/** @file Makes the tables of rules in docs/guides/choosing-a-method.md, from the rules of `undrift doctor --data`. */
import { METHOD_RULES } from '../../src/advice/method-rules.ts';
import type { Evidence } from '../../src/advice/rule.ts';
import { WARNING_RULES } from '../../src/advice/warning-rules.ts';
import { type MadePage, markdownTable } from './page.ts';

/** Makes the generated parts of docs/guides/choosing-a-method.md. */
export const methodGuide = (): MadePage => ({
  page: 'docs/guides/choosing-a-method.md',
  blocks: {
    'method-rules': markdownTable(
      ['rule', 'your data', 'method', 'why', 'measured'],
      METHOD_RULES.map(({ id, when, method, because, evidence }) => [
        `\`${id}\``,
        when,
        `[\`${method}\`](../methods.md#${method})`,
        because,
        measured(evidence),
      ]),
    ),
    'warning-rules': markdownTable(
      ['warning', 'when', 'harm'],
      WARNING_RULES.map(({ id, when, harm }) => [`\`${id}\``, when, harm]),
    ),
  },
});

const measured = (evidence: Evidence | null): string =>
  evidence ? `${evidence.text} ([${evidence.source.split('#')[0]}](../${evidence.source}))` : '–';
