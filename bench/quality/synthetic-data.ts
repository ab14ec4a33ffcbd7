import { permutation, type RngKey, randomInts, rngKey } from '../../src/util/rng.ts';

/** Options of `syntheticData`: numbers of documents, queries and word types, and the seed. */
export interface SyntheticOptions {
  documents: number;
  trainQueries: number;
  devQueries: number;
  testQueries: number;
  topics: number;
  facetsPerTopic: number;
  backgroundWords: number;
  seed: number;
}

/** Default options. */
export const SYNTHETIC_DEFAULTS: SyntheticOptions = {
  documents: 10_000,
  trainQueries: 6_000,
  devQueries: 500,
  testQueries: 2_000,
  topics: 40,
  facetsPerTopic: 16,
  backgroundWords: 200,
  seed: 1,
};

/** Word types of a topic and of a facet. */
const TOPIC_TYPES = 8;
const FACET_TYPES = 3;
/** Words of a document: of its topic, of each of its facets, of the background. */
const TOPIC_WORDS = 8;
const FACETS = 3;
const FACET_WORDS = 3;
const BACKGROUND_WORDS = 7;
/** Words of a query: of its topic, of each of its facets, of the background. */
const QUERY_WORDS = 2;

/** Query with its answer. */
export interface SyntheticQuery {
  /** Text of the query. */
  text: string;
  /** Row of the only document that answers the query. */
  document: number;
}

/** Synthetic data set. */
export interface SyntheticData {
  /** Texts of the documents. */
  documents: string[];
  /** Queries by split. */
  queries: Readonly<Record<'train' | 'dev' | 'test', SyntheticQuery[]>>;
  /** Half of the words of each document, in any order. A first encoder learns from them without queries. */
  crops: string[];
  /** All words that documents or queries may have, in a fixed order. */
  vocabulary: string[];
}

/**
 * Makes a data set in which negatives matter, small enough to train in seconds. Documents differ in facets,
 * and queries use other words for half of their content.
 *
 * - A document has 24 words: 8 of one topic (8 word types each), 3 of each of 3 facets of this topic (3 word
 *   types each), 7 background words. Documents of a topic differ only in their facets and in the facet that
 *   comes first.
 * - A query has 10 words: 2 of its document's topic, 2 of each of its facets, 2 of the background. No two
 *   queries have the same document. The words of a query are drawn separately, with replacement, so they need
 *   not be those of its document.
 * - Half of all word types have a paraphrase, which replaces the word in queries and occurs in no document.
 *   Paraphrases have to be learnt. Counting common words (BM25) finds the other half.
 *
 * Document i depends only on (seed, i) and the numbers of word types.
 *
 * @throws RangeError for fewer documents than queries, or fewer than three facets per topic
 */
export function syntheticData(given: Partial<SyntheticOptions> = {}): SyntheticData {
  const options = { ...SYNTHETIC_DEFAULTS, ...given };
  const { documents: count, trainQueries, devQueries, testQueries, facetsPerTopic, seed } = options;
  if (trainQueries + devQueries + testQueries > count) {
    throw new RangeError(`${count} documents are fewer than queries: each query has a document of its own`);
  }
  if (facetsPerTopic < FACETS) throw new RangeError(`a document has ${FACETS} different facets of a topic`);

  const types = wordTypes(options);
  const half = permutation(rngKey(seed, 0, 'paraphrases'), types.length).subarray(0, types.length / 2);
  const paraphrased = new Set(half);
  const asked = (type: number) => (paraphrased.has(type) ? paraphrase(types[type]!) : types[type]!);
  const order = permutation(rngKey(seed, 0, 'queries'), count);
  const makeQueries = (from: number, length: number): SyntheticQuery[] =>
    Array.from(order.subarray(from, from + length), (document) => {
      const key = (group: number) => rngKey(seed, document, `query words/${group}`);
      const words = drawWords(groupsOf(document, options), () => QUERY_WORDS, key);
      return { document, text: words.map(asked).join(' ') };
    });
  const documents = Array.from({ length: count }, (_, row) => {
    const key = (group: number) => rngKey(seed, row, `document words/${group}`);
    const words = drawWords(groupsOf(row, options), ({ documentWords }) => documentWords, key);
    return words.map((type) => types[type]!);
  });
  return {
    documents: documents.map((words) => words.join(' ')),
    queries: {
      train: makeQueries(0, trainQueries),
      dev: makeQueries(trainQueries, devQueries),
      test: makeQueries(trainQueries + devQueries, testQueries),
    },
    crops: documents.map((words, row) => {
      const order = permutation(rngKey(seed, row, 'crop'), words.length).subarray(0, words.length / 2);
      return Array.from(order, (at) => words[at]!).join(' ');
    }),
    vocabulary: [...types, ...types.filter((_, type) => paraphrased.has(type)).map(paraphrase)],
  };
}

const paraphrase = (word: string): string => `other${word}`;

/** Lists the word types in order: of the topics, the facets, the background. */
function wordTypes({ topics, facetsPerTopic, backgroundWords }: SyntheticOptions): string[] {
  const list = (length: number, word: (i: number) => string) => Array.from({ length }, (_, i) => word(i));
  const ofTopic = list(topics * TOPIC_TYPES, (i) => `topic${Math.floor(i / TOPIC_TYPES)}x${i % TOPIC_TYPES}`);
  const ofFacet = list(topics * facetsPerTopic * FACET_TYPES, (i) => {
    const facet = Math.floor(i / FACET_TYPES);
    return `facet${Math.floor(facet / facetsPerTopic)}x${facet % facetsPerTopic}x${i % FACET_TYPES}`;
  });
  return [...ofTopic, ...ofFacet, ...list(backgroundWords, (i) => `word${i}`)];
}

/** Returns the word types of a document: those of its topic, its facets, and the background. */
function groupsOf(row: number, { topics, facetsPerTopic, backgroundWords, seed }: SyntheticOptions): Group[] {
  const topic = draw(rngKey(seed, row, 'topic'), topics, 1)[0]!;
  const facets = permutation(rngKey(seed, row, 'facets'), facetsPerTopic).subarray(0, FACETS);
  const firstOfFacets = topics * TOPIC_TYPES;
  const firstOfBackground = firstOfFacets + topics * facetsPerTopic * FACET_TYPES;
  return [
    { first: topic * TOPIC_TYPES, types: TOPIC_TYPES, documentWords: TOPIC_WORDS },
    ...Array.from(facets, (facet) => ({
      first: firstOfFacets + (topic * facetsPerTopic + facet) * FACET_TYPES,
      types: FACET_TYPES,
      documentWords: FACET_WORDS,
    })),
    { first: firstOfBackground, types: backgroundWords, documentWords: BACKGROUND_WORDS },
  ];
}

/** Range of word types: `first` … `first + types − 1`. */
interface Group {
  readonly first: number;
  readonly types: number;
  readonly documentWords: number;
}

/** Draws `count` words from each group, with all types equally likely. */
const drawWords = (groups: readonly Group[], count: (group: Group) => number, key: (i: number) => RngKey) =>
  groups.flatMap((group, i) => draw(key(i), group.types, count(group)).map((type) => group.first + type));

function draw(key: RngKey, bound: number, length: number): number[] {
  const out = new Int32Array(length);
  randomInts(key, bound, out);
  return [...out];
}
