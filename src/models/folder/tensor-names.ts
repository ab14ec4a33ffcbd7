import type { SafetensorsReader } from '../../io/safetensors.ts';
import { DataError } from '../../util/errors.ts';

/**
 * Other names of the same tensors, in TensorFlow's checkpoints and in model2vec.
 */
const OLD_NAMES: readonly (readonly [RegExp, string])[] = [
  [/LayerNorm\.weight$/, 'LayerNorm.gamma'],
  [/LayerNorm\.bias$/, 'LayerNorm.beta'],
  [/^embedding\.weight$/, 'embeddings'],
];

/** Name parts that wrappers of PyTorch insert anywhere: torch.compile, FSDP and activation checkpointing. */
const INSERTED = /(?<=^|\.)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\./g;

/**
 * Matches the prefixes that programs put before the names of a whole model: `module.` of DistributedDataParallel,
 * `0.model.` and `0.auto_model.` of a state dictionary of sentence-transformers, `model.` of many trainers.
 */
const WRAPPERS = /^(?:(?:module|model|auto_model|0)\.)*$/;

/** Longest name that is looked at, in characters. */
const LONGEST_NAME = 1000;

/** Names of the tensors of a weight file, as far as they matter for finding parameters. */
type Names = Pick<SafetensorsReader, 'tensors' | 'unreadable' | 'metadata'>;

/** Parameters found in a weight file. */
export interface FoundNames {
  /** Name in the file of each parameter that was found. */
  readonly stored: ReadonlyMap<string, string>;
  /** Prefix under which the parameters were found, without parts that wrappers insert; '' for none. */
  readonly prefix: string;
  /** Whether the prefix is one that programs are known to write. */
  readonly known: boolean;
}

/**
 * Finds the names under which a weight file holds an encoder's parameters.
 *
 * All parameters have the same prefix, the one under which most of them are found: none, that of models with a
 * head, that of a wrapper (`module.`, `0.auto_model.` and so on) or several of these. Another prefix counts if
 * it is the only one. Parameters of a head may lack the last parts of the prefix. A tensor that was left out
 * because it equals another one (a tied table) is found through its alias in the metadata, as
 * `safetensors.torch.save_model` writes it.
 *
 * @param headPrefix prefix of the names in models with a head (see `Architecture`)
 * @throws DataError if the parameters are there under several prefixes that are not known
 */
export function findNames(
  file: string,
  names: Names,
  parameters: readonly string[],
  headPrefix = '',
): FoundNames {
  const plain = plainNames(names);
  const spellings = new Map(parameters.map((name) => [name, spellingsOf(name)]));
  const wanted = new Set([...spellings.values()].flat());
  const counts = new Map<string, number>();
  for (const name of plain.keys()) {
    if (name.length > LONGEST_NAME) continue;
    for (let at = 0; at !== -1; at = nextPart(name, at)) {
      if (wanted.has(name.slice(at))) counts.set(name.slice(0, at), (counts.get(name.slice(0, at)) ?? 0) + 1);
    }
  }
  const isKnown = (prefix: string) =>
    WRAPPERS.test(prefix) ||
    (headPrefix !== '' && prefix.endsWith(headPrefix) && WRAPPERS.test(prefix.slice(0, -headPrefix.length)));
  const ranked = [...counts]
    .map(([prefix, count]) => ({ prefix, count, known: isKnown(prefix) }))
    .sort(
      (a, b) => b.count - a.count || Number(b.known) - Number(a.known) || a.prefix.length - b.prefix.length,
    );
  const [best, second] = ranked;
  if (!best || (!best.known && best.count <= parameters.length / 2)) {
    return { stored: new Map(), prefix: '', known: true };
  }
  if (!best.known && second?.count === best.count) {
    throw new DataError(
      `the parameters are there twice, under the prefixes '${best.prefix}' and '${second.prefix}'`,
      { file, help: 'save the model that you want by itself, without a prefix' },
    );
  }
  const { prefix, known } = best;
  const stored = new Map<string, string>();
  for (const [name, variants] of spellings) {
    for (const tried of shorter(prefix)) {
      const found = variants.map((variant) => plain.get(tried + variant)).find((each) => each !== undefined);
      if (found === undefined) continue;
      stored.set(name, found);
      break;
    }
  }
  return { stored, prefix, known };
}

/** Maps the names of the tensors and of their aliases, without inserted parts, to the names in the file. */
function plainNames({ tensors, unreadable, metadata }: Names): Map<string, string> {
  const plain = new Map<string, string>();
  const has = (name: string) => tensors.has(name) || unreadable.has(name);
  for (const [alias, name] of Object.entries(metadata)) {
    if (has(name)) plain.set(alias.replace(INSERTED, ''), name);
  }
  for (const name of [...tensors.keys(), ...unreadable.keys()]) plain.set(name.replace(INSERTED, ''), name);
  return plain;
}

const spellingsOf = (name: string): string[] => [
  name,
  ...OLD_NAMES.filter(([is]) => is.test(name)).map(([is, old]) => name.replace(is, old)),
];

/** Position after the next dot of a name; -1 if there is none. */
const nextPart = (name: string, from: number): number => name.indexOf('.', from) + 1 || -1;

/** Lists a prefix and what is left of it without its last parts: `module.bert.`, `module.`, ''. */
function shorter(prefix: string): string[] {
  const parts = prefix.split('.').slice(0, -1);
  return Array.from({ length: parts.length + 1 }, (_, left) =>
    parts
      .slice(0, parts.length - left)
      .map((part) => `${part}.`)
      .join(''),
  );
}
