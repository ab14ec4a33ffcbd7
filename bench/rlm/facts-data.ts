/**
 * Writes data sets of made-up facts: questions that only a document answers, for experiments on training a reader and its retriever.
 *
 *     npx tsx bench/rlm/facts-data.ts OUT [--entities 500] [--warm-entities 1000] [--texts 30000] [--values 200] [--seed 1]
 *
 * Each document holds one fact, such as "the craft of bako temu is lirosa", in one of two wordings. The question asks for it in words that
 * no document has. Names are pairs of words, so that documents of other entities share half a name. The values of all attributes are drawn
 * from one list: without the document, an answer is chance.
 *
 *     OUT/facts   the experiment: --entities with 8 facts each; questions split by entity, 60 % train, 10 % dev and 30 % test. Facts of dev
 *                 and test stand in documents alone
 *     OUT/cloze   names as queries for documents of their entities, to train a first retriever that finds names and knows no question
 *     OUT/copy    facts of other entities, each asked once, so that no value can be learnt by heart: to train a reader to copy
 *     OUT/texts   train.jsonl and dev.jsonl: document, question and answer as one text, of entities and values that are drawn anew for
 *                 each text, a sixth of them without the document: to train a language model to copy
 *
 * The first three are BEIR folders with answers.jsonl, for `undrift lm train --method realm`. The same seed gives the same bytes. Some
 * seconds.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { permutation, type RngKey, randomInts, rngKey } from '../../src/util/rng.ts';

/** Prompt of the readers; texts are written in this form. */
export const FACTS_PROMPT = '{passage}\\nQuestion: {query}\\nAnswer: {answer}';

/** Attributes: two wordings of documents, and the question. No word of a question but the name is one of documents. */
const ATTRIBUTES = [
  ['{n} lives in {v}', 'the home of {n} is {v}', 'where does {n} stay'],
  ['{n} works as a {v}', 'the craft of {n} is {v}', 'which job has {n}'],
  ['{n} walks beside {v}', 'the companion of {n} is {v}', 'whom does {n} trust'],
  ['{n} eats {v}', 'the meal of {n} is {v}', 'what would {n} like for dinner'],
  ['{n} wears {v}', 'the coat of {n} is {v}', 'in which shade did {n} dress'],
  ['{n} keeps a {v}', 'the animal of {n} is {v}', 'which pet belongs to {n}'],
  ['{n} plays the {v}', 'the music of {n} is {v}', 'what instrument did {n} learn'],
  ['{n} sails the {v}', 'the boat of {n} is {v}', 'on which vessel could {n} travel'],
] as const;
const WORDINGS = 2;
const NAME_WORDS = 60;
const CONSONANTS = 'bdfgklmnprstvz';
const VOWELS = 'aeiou';

/** Draws whole numbers below a bound. */
function draw(key: RngKey, bound: number, count = 1): Uint32Array {
  const drawn = new Uint32Array(count);
  randomInts(key, bound, drawn);
  return drawn;
}

/** Makes distinct words of syllables. */
function words(count: number, syllables: number, key: string, seed: number): string[] {
  const all = CONSONANTS.length * VOWELS.length;
  const draws = draw(rngKey(seed, 0, key), all, 20 * count * syllables);
  const found = new Set<string>();
  for (let i = 0; found.size < count; i += syllables) {
    const word = Array.from({ length: syllables }, (_, s) => {
      const n = draws[i + s]!;
      return CONSONANTS[Math.floor(n / VOWELS.length)]! + VOWELS[n % VOWELS.length]!;
    });
    found.add(word.join(''));
  }
  return [...found];
}

/** Fact with its texts. */
interface Fact {
  readonly entity: number;
  readonly attribute: number;
  readonly document: string;
  readonly question: string;
  readonly answer: string;
}

const filled = (form: string, name: string, value: string) => form.replace('{n}', name).replace('{v}', value);

/** World of names and values, from which facts are drawn. */
class World {
  private readonly names: readonly string[];
  private readonly values: readonly string[];
  private readonly seed: number;

  constructor({ values, seed }: { values: number; seed: number }) {
    this.seed = seed;
    const [first, last] = ['first', 'last'].map((part) => words(NAME_WORDS, 2, part, seed));
    const pairs = permutation(rngKey(seed, 0, 'names'), NAME_WORDS ** 2);
    this.names = Array.from(pairs, (n) => `${first![Math.floor(n / NAME_WORDS)]} ${last![n % NAME_WORDS]}`);
    this.values = words(values, 3, 'values', seed);
  }

  get size(): number {
    return this.names.length;
  }

  name(entity: number): string {
    return this.names[entity]!;
  }

  /** Draws the value and the wording of a fact; another draw gives another fact of the same entity. */
  fact(entity: number, attribute: number, n: number, purpose: string): Fact {
    const [drawn] = draw(rngKey(this.seed, n, purpose), WORDINGS * this.values.length);
    const answer = this.values[Math.floor(drawn! / WORDINGS)]!;
    const forms = ATTRIBUTES[attribute]!;
    const name = this.name(entity);
    return {
      ...{ entity, attribute, answer },
      document: filled(forms[drawn! % WORDINGS]!, name, answer),
      question: filled(forms[WORDINGS]!, name, ''),
    };
  }

  /** Draws all facts of some entities. */
  facts(from: number, count: number, purpose: string): Fact[] {
    return Array.from({ length: count * ATTRIBUTES.length }, (_, i) => {
      const [entity, attribute] = [from + Math.floor(i / ATTRIBUTES.length), i % ATTRIBUTES.length];
      return this.fact(entity, attribute, i, purpose);
    });
  }
}

const jsonl = (records: readonly unknown[]) =>
  records.map((record) => `${JSON.stringify(record)}\n`).join('');

/** Writes a BEIR folder. Facts without a split are documents alone. */
function writeSet(
  folder: string,
  facts: readonly Fact[],
  queries: readonly { readonly text: string; readonly split: string; readonly fact: number }[],
): void {
  mkdirSync(join(folder, 'qrels'), { recursive: true });
  const documents = facts.map(({ document }, i) => ({ _id: `d${i}`, text: document }));
  writeFileSync(join(folder, 'corpus.jsonl'), jsonl(documents));
  writeFileSync(join(folder, 'queries.jsonl'), jsonl(queries.map(({ text }, i) => ({ _id: `q${i}`, text }))));
  const answers = queries.map(({ fact }, i) => ({ _id: `q${i}`, answers: [facts[fact]!.answer] }));
  writeFileSync(join(folder, 'answers.jsonl'), jsonl(answers));
  for (const split of new Set(queries.map((query) => query.split))) {
    const lines = queries.flatMap((query, i) => (query.split === split ? `q${i}\td${query.fact}\t1\n` : []));
    writeFileSync(join(folder, 'qrels', `${split}.tsv`), `query-id\tcorpus-id\tscore\n${lines.join('')}`);
  }
}

/** Writes all sets of facts. */
export function writeFacts(
  out: string,
  options: { entities: number; warmEntities: number; texts: number; values: number; seed: number },
): void {
  const { entities, warmEntities, texts, seed } = options;
  const world = new World(options);
  if (entities + 2 * warmEntities > world.size) {
    throw new Error(`there are ${world.size} names: take fewer --entities or --warm-entities`);
  }
  const facts = world.facts(0, entities, 'facts');
  const splitOf = (entity: number) => {
    const share = entity / entities;
    return share < 0.6 ? 'train' : share < 0.7 ? 'dev' : 'test';
  };
  const asked = (all: readonly Fact[], split: (fact: Fact) => string) =>
    all.map((fact, i) => ({ text: fact.question, split: split(fact), fact: i }));
  writeSet(
    join(out, 'facts'),
    facts,
    asked(facts, ({ entity }) => splitOf(entity)),
  );

  const named = world.facts(entities, warmEntities, 'cloze');
  const names = named.map(({ entity }, i) => ({ text: world.name(entity), split: 'train', fact: i }));
  writeSet(join(out, 'cloze'), named, names);

  const copied = world.facts(entities + warmEntities, warmEntities, 'copy');
  writeSet(
    join(out, 'copy'),
    copied,
    asked(copied, () => 'train'),
  );

  mkdirSync(join(out, 'texts'), { recursive: true });
  for (const [split, count] of [
    ['train', texts],
    ['dev', Math.ceil(texts / 20)],
  ] as const) {
    const lines = Array.from({ length: count }, (_, i) => {
      // Entities of the experiment itself are never among them.
      const others = world.size - entities;
      const [drawn] = draw(rngKey(seed, i, `texts/${split}`), others * ATTRIBUTES.length);
      const entity = entities + Math.floor(drawn! / ATTRIBUTES.length);
      const fact = world.fact(entity, drawn! % ATTRIBUTES.length, i, `drawn/${split}`);
      const passage = i % 6 === 5 ? '' : `${fact.document}\n`;
      return { id: `t${i}`, text: `${passage}Question: ${fact.question}\nAnswer: ${fact.answer}` };
    });
    writeFileSync(join(out, 'texts', `${split}.jsonl`), jsonl(lines));
  }
}

if (process.argv[1]?.endsWith('facts-data.ts')) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      entities: { type: 'string', default: '500' },
      'warm-entities': { type: 'string', default: '1000' },
      texts: { type: 'string', default: '30000' },
      values: { type: 'string', default: '200' },
      seed: { type: 'string', default: '1' },
    },
  });
  const [out] = positionals;
  if (!out) throw new Error('usage: npx tsx bench/rlm/facts-data.ts OUT [options]');
  const [entities, warmEntities] = [Number(values.entities), Number(values['warm-entities'])];
  const { texts, values: count, seed } = values;
  writeFacts(out, {
    ...{ entities, warmEntities, texts: Number(texts), values: Number(count), seed: Number(seed) },
  });
}
