/**
 * Answers a question about the API of Node and TypeScript: a retriever finds declarations, and a language model reads them.
 *
 *     npm run quickstart
 *     npx tsx examples/answer-with-passages.ts quickstart-data runs/quickstart HuggingFaceTB/SmolLM2-135M-Instruct \
 *       "compress data with gzip"
 *
 * The last argument is the question. Without the retriever's folder (give "bm25" in its place), BM25 finds the declarations.
 */
import {
  bm25Source,
  denseSource,
  findModel,
  generate,
  inContextSystem,
  LanguageModel,
  leakFilter,
  loadCorpus,
  loadRetriever,
  passagesOf,
} from 'undrift';

const [data, finder, reader, ...words] = process.argv.slice(2);
const question = words.join(' ');
if (!data || !finder || !reader || question === '') {
  throw new Error('usage: answer-with-passages.ts DATA RETRIEVER|bm25 MODEL QUESTION');
}

// Retriever: the declarations that fit the question best.
const passages = passagesOf(await loadCorpus(data));
const filter = leakFilter(passages);
const source =
  finder === 'bm25'
    ? bm25Source(passages, filter)
    : await denseSource(await loadRetriever(finder), passages, filter);

// Reader: the language model reads, of the best four, the one with which the question is likeliest, and then the question.
const model = await LanguageModel.load(await findModel(reader));
const system = inContextSystem(model, source, {
  candidates: 4,
  reranker: 'log-probability',
  passageFormat: 'Declaration: {passage}\n',
});
const prompt = `Question: which function or type is this? ${question}\nAnswer:`;
const { before } = model.tokenizer.wrapper;
const ids = Int32Array.from([...before, ...model.tokenizer.encodeRaw(prompt)]);
const room = model.decoder.maxTokens;
const segment = { ids, from: ids.length, head: before.length, query: question, room };
const [reading] = await system.read!([segment]);

for (const row of reading!.rows)
  console.log(`read ${passages.id(row)}: ${passages.text(row).slice(0, 200)}\n`);
process.stdout.write('answer:');
for await (const piece of generate(model, reading!.sequences[0]!, { tokens: 48, stop: ['\n'] })) {
  process.stdout.write(piece);
}
console.log();
await system.dispose();
await source.dispose();
