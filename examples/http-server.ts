/**
 * Search over HTTP, with the vectors of all documents in memory.
 *
 *   npx tsx http-server.ts MODEL DATA [PORT]
 *   curl 'http://127.0.0.1:8080/search?q=undo+a+commit&k=3'
 *
 * It listens on this machine only, and has no authentication: put it behind a server that has.
 */
import { createServer } from 'node:http';
import { ExactIndex, loadCorpus, loadRetriever } from 'undrift';

const [MODEL = 'runs/first', DATA = 'data/api-docs', PORT = '8080'] = process.argv.slice(2);
const LONGEST_QUERY = 2000;
const MOST_RESULTS = 100;

const retriever = await loadRetriever(MODEL);
const corpus = await loadCorpus(DATA);
const vectors = await retriever.encode('document', [...corpus.texts()]);
const index = ExactIndex.create(vectors, retriever.dimension);

const server = createServer(async (request, response) => {
  const answer = (status: number, body: object) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`);
  try {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
    const query = searchParams.get('q')?.trim() ?? '';
    const k = Number(searchParams.get('k') ?? 10);
    if (pathname === '/health') return answer(200, { documents: corpus.size });
    if (pathname !== '/search') return answer(404, { error: 'try /search?q=…' });
    if (query === '' || query.length > LONGEST_QUERY)
      return answer(400, { error: `q should have 1 to ${LONGEST_QUERY} characters` });
    if (!Number.isInteger(k) || k < 1 || k > MOST_RESULTS)
      return answer(400, { error: `k should be a whole number from 1 to ${MOST_RESULTS}` });
    const { rows, scores } = await index.search(await retriever.encode('query', [query]), k);
    const results = Array.from(rows, (row, i) => ({
      id: corpus.id(row),
      score: scores[i],
      text: corpus.text(row),
    }));
    answer(200, { query, results });
  } catch (error) {
    console.error(error);
    answer(500, { error: 'the search failed' });
  }
});
server.listen(Number(PORT), '127.0.0.1', () => {
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : PORT;
  console.log(`${corpus.size} documents on http://127.0.0.1:${port}/search?q=…`);
});
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => server.close(() => process.exit(0)));
