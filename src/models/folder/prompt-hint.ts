import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join, resolve, sep } from 'node:path';
import { option } from '../../util/option-name.ts';

/** Prompt convention: a common way to begin the texts of an encoder. */
interface Convention {
  readonly query: string;
  readonly document: string;
  /** Matches a query on a model card that begins this way, after a quotation mark or in code. */
  readonly shown: RegExp;
  /** Matches names of models trained with this convention. */
  readonly names: RegExp;
}

/**
 * Known conventions. A model that follows one shows its text on the model card. A convention whose text is
 * part of another's comes after it.
 */
const CONVENTIONS: readonly Convention[] = [
  {
    query: 'Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: ',
    document: '',
    shown: /["'`“]Instruct: /,
    names: /e5-.*instruct|e5-mistral|gte-qwen|qwen3-embedding/i,
  },
  {
    query: 'search_query: ',
    document: 'search_document: ',
    shown: /["'`“]search_query: /,
    names: /nomic-embed/i,
  },
  {
    query: 'Represent this sentence for searching relevant passages: ',
    document: '',
    shown: /["'`“]Represent this sentence for searching relevant passages:/,
    names: /bge-(small|base|large)-en|mxbai-embed|arctic-embed/i,
  },
  {
    query: 'query: ',
    document: 'passage: ',
    shown: /["'`“]query: /,
    names: /(^|[-_])e5[-_]/i,
  },
];

/** Characters of a model card that are read at most. */
const CARD_CHARS = 500_000;

/**
 * Writes a note if the folder names no prompts although the model seems to need them: its card shows texts
 * that begin like one of the conventions, or its name is that of such models.
 *
 * @param names  other names of the model, for example from `config.json`
 * @returns text in which options are marked; undefined if nothing suggests prompts
 */
export async function promptHint(folder: string, names: readonly string[] = []): Promise<string | undefined> {
  const card = join(folder, 'README.md');
  const text = existsSync(card) ? (await readFile(card, 'utf8')).slice(0, CARD_CHARS) : '';
  const shown = CONVENTIONS.find((each) => each.shown.test(text));
  const called = [...namesOf(folder), ...names];
  const named = shown ? undefined : CONVENTIONS.find((each) => called.some((name) => each.names.test(name)));
  const found = shown ?? named;
  if (!found) return undefined;
  const why = shown
    ? `README.md shows texts that begin with ${quoted(found.query)}`
    : 'models of this name were trained with prompts';
  const flags = [
    option('queryPrompt', found.query),
    ...(found.document === '' ? [] : [option('docPrompt', found.document)]),
  ];
  return (
    `the folder names no prompts, but ${why}: if the model was trained with them it is much better with ${flags.join(' ')} ` +
    '(or write them into config_sentence_transformers.json, as "prompts": {"query": …, "document": …})'
  );
}

/** Names of a model by its folder: that of the folder, and that of the repository whose snapshot it is. */
function namesOf(folder: string): string[] {
  const path = resolve(folder);
  const repository = path.split(sep).find((part) => part.startsWith('models--'));
  return [basename(path), ...(repository ? repository.split('--').slice(-1) : [])];
}

const quoted = (text: string): string => JSON.stringify(text);
