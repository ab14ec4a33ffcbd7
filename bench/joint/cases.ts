import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { JudgedData } from '../../src/data/data-in-memory.ts';
import { createSequenceToSequence } from '../../src/models/encoder-decoder/create-sequence-to-sequence.ts';
import { saveSequenceToSequence } from '../../src/models/encoder-decoder/save-sequence-to-sequence.ts';
import { saveRetriever } from '../../src/models/folder/save-retriever.ts';
import { createLanguageModel } from '../../src/models/language/create-language-model.ts';
import { QUESTION_PROMPT, ReaderPrompt } from '../../src/models/language/reader-prompt.ts';
import { saveLanguageModel } from '../../src/models/language/save-language-model.ts';
import { createRetriever } from '../../src/models/retriever/create-retriever.ts';
import { Tokenizer } from '../../src/text/tokenizer.ts';
import { trainVocabulary } from '../../src/text/train-vocabulary.ts';
import { randomInts, rngKey } from '../../src/util/rng.ts';

/** Models with random weights: a T5 and a BERT of one width, and a small llama. */
export interface ModelShape {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
}

/** Texts of a case: queries, documents and the words of each. Answers have two words. */
export interface TextShape {
  readonly queries: number;
  readonly documents: number;
  readonly words: number;
}

/** Batch size, candidates, and the texts. */
export type JointShape = TextShape & { readonly batch: number; readonly candidates: number };

export const SHAPES = {
  small: { hidden: 512, layers: 6, heads: 8 },
  tiny: { hidden: 32, layers: 1, heads: 2 },
} as const satisfies Record<string, ModelShape>;
export type ShapeName = keyof typeof SHAPES;

/** A step of Atlas beside PyTorch: every query reads all documents, so that nothing depends on a search. */
export const FUSION_CASES = {
  't5-small': { shape: 'small', batch: 4, queries: 4, candidates: 8, documents: 8, words: 96 },
  tiny: { shape: 'tiny', batch: 2, queries: 2, candidates: 3, documents: 3, words: 12 },
} as const satisfies Record<string, JointShape & { shape: ShapeName }>;

const GIVEN = { batch: 4, queries: 64, candidates: 3, documents: 500, words: 48 } as const;
const TINY = { batch: 2, queries: 8, candidates: 3, documents: 20, words: 12 } as const;

/** Runs whose steps are measured by part. The readers and retrievers `given` are the folders of the options. */
export const PART_CASES = {
  'realm-given': { method: 'realm', shape: 'given', ...GIVEN },
  'atlas-given': { method: 'atlas', shape: 'given', ...GIVEN },
  'atlas-t5-small': { method: 'atlas', shape: 'small', ...GIVEN, candidates: 8 },
  'tiny-realm': { method: 'realm', shape: 'tiny', ...TINY },
  'tiny-atlas': { method: 'atlas', shape: 'tiny', ...TINY },
} as const satisfies Record<string, JointShape & { method: 'realm' | 'atlas'; shape: ShapeName | 'given' }>;

const VOCABULARY = 2000;

/** Draws a text of random words of three letters and a number. */
function text(words: number, row: number, purpose: string): string {
  const drawn = new Uint32Array(words);
  randomInts(rngKey(1, row, purpose), VOCABULARY, drawn);
  return Array.from(drawn, (n) => `word${n}`).join(' ');
}

/** Makes queries with their answers and documents. */
export function jointData({ queries, documents, words }: TextShape): JudgedData {
  const id = (row: number) => `${row}`;
  const list = <T>(count: number, make: (row: number) => T) =>
    Array.from({ length: count }, (_, row) => make(row));
  return {
    documents: list(documents, (row) => ({ id: id(row), text: text(words, row, 'document') })),
    queries: list(queries, (row) => ({ id: id(row), text: text(8, row, 'query') })),
    answers: list(queries, (row) => ({ id: id(row), answers: [text(2, row, 'answer')] })),
    judgements: { train: list(queries, (row) => ({ queryId: id(row), docId: id(row % documents) })) },
  };
}

const folderOf = (name: string) => fileURLToPath(new URL(`../results/tmp/joint/${name}`, import.meta.url));

/** Makes the models of a shape, once. Returns the folders of retriever, T5 and llama. */
export async function jointModels(name: ShapeName): Promise<Record<'retriever' | 't5' | 'llama', string>> {
  const folder = folderOf(name);
  const folders = {
    ...{ retriever: join(folder, 'retriever'), t5: join(folder, 't5') },
    llama: join(folder, 'llama'),
  };
  if (existsSync(folders.llama)) return folders;
  mkdirSync(folder, { recursive: true });
  const { hidden, layers, heads } = SHAPES[name];
  const words = Array.from({ length: VOCABULARY }, (_, n) => `word${n}`).join(' ');
  const tokenizer = Tokenizer.fromJson(
    trainVocabulary([words, `Question: Answer: ${words}`], { model: 'wordpiece', vocabSize: 4096 }),
  );
  const retriever = createRetriever({
    ...{ kind: 'transformer', tokenizer, hidden, layers, heads, maxQueryTokens: 64, maxDocTokens: 512 },
    seed: 1,
  });
  await saveRetriever(folders.retriever, retriever);
  await saveSequenceToSequence(
    folders.t5,
    createSequenceToSequence({ tokenizer, hidden, layers, heads, seed: 1 }),
  );
  const llama = createLanguageModel({
    ...{ kind: 'llama', tokenizer, hidden: 32, layers: 1, heads: 2, maxTokens: 512, seed: 1 },
  });
  await saveLanguageModel(folders.llama, llama);
  for (const model of [retriever, llama]) await model.dispose();
  return folders;
}

/** Writes the token ids of a batch that reads all documents, for the other side. Returns the file. */
export async function batchFile(shape: ShapeName, texts: TextShape): Promise<string> {
  const { documents, queries, answers } = jointData(texts);
  const [{ retriever }, file] = [await jointModels(shape), join(folderOf(shape), 'batch.json')];
  const tokenizer = await readSavedTokenizer(retriever);
  const prompt = new ReaderPrompt(QUESTION_PROMPT);
  const end = tokenizer.specialIds.eos ?? tokenizer.specialIds.sep!;
  const asked = [...(queries as Iterable<{ text: string }>)].map(({ text: query }) => query);
  const read = [...(documents as Iterable<{ text: string }>)].map((document) => document.text);
  const written = [...(answers as Iterable<{ answers: string[] }>)].map((each) => each.answers[0]!);
  const content = {
    queries: asked.map((query) => [...tokenizer.encode(query)]),
    documents: read.map((document) => [...tokenizer.encode(document)]),
    inputs: asked.map((query) => read.map((passage) => [...prompt.context(tokenizer, { passage, query })])),
    targets: written.map((answer) => [...tokenizer.encodeOrdinary(answer), end]),
  };
  writeFileSync(file, JSON.stringify(content));
  return file;
}

async function readSavedTokenizer(folder: string): Promise<Tokenizer> {
  const { readFile } = await import('node:fs/promises');
  return Tokenizer.fromJson(JSON.parse(await readFile(join(folder, 'tokenizer.json'), 'utf8')));
}
