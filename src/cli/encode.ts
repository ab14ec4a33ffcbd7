import { joinTitle } from '../data/corpus.ts';
import { readLines } from '../data/lines.ts';
import { DOCUMENT_OPTIONS, type LoadOptions } from '../data/load-options.ts';
import { streamDocuments, streamQueries } from '../data/stream-documents.ts';
import type { Retriever, Side } from '../models/retriever/retriever.ts';
import { manifestFile } from '../retrieval/vector-manifest.ts';
import { openVectorWriter } from '../retrieval/write-vectors.ts';
import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { DataError, UsageError } from '../util/errors.ts';
import { count, formatCount, formatDuration } from '../util/format.ts';
import { defineCommand } from './command.ts';
import type { Io } from './io.ts';
import { loadModel, MODEL_HELP, streamOptions } from './model-source.ts';
import { checkOutputName } from './output-file.ts';
import { computeOptions, ENCODING_OPTIONS, PROMPT_OPTIONS } from './shared-options.ts';

/** Number of texts, or of their characters, after which the texts read so far are encoded. */
const CHUNK_TEXTS = 8192;
const CHUNK_CHARACTERS = 1 << 24;

/** Size limit of JSON output, in bytes. A larger output has to go to a file. */
const JSON_LIMIT_BYTES = 50e6;
/** Typical size of a number in JSON, in bytes: `-0.0123456789,`. */
const JSON_BYTES_PER_NUMBER = 13;

/** The command `undrift encode`: encodes texts to vectors. */
export const encodeCommand = defineCommand({
  description:
    'Row i of the .npy file is the vector of line i, or of document i of the corpus. The ids of documents or queries are written to ' +
    'a file beside it, one per line. The manifest FILE.npy.json says of which model and which texts the vectors are; commands that read ' +
    'them check it. Memory is bounded whatever the number of texts.',
  options: {
    model: { type: 'text', value: 'model', required: true, help: MODEL_HELP },
    input: { type: 'text', value: 'file', help: 'texts, one per line (plain or .gz)' },
    data: {
      type: 'text',
      value: 'folder',
      help: 'data set or file whose documents or queries to encode',
    },
    side: {
      type: 'choice',
      choices: ['document', 'query'],
      default: 'document',
      help: 'encode as documents or as queries, which decides prompt, length limit and tower',
    },
    out: { type: 'text', value: 'file.npy', help: 'file for the vectors, f32[texts, D]' },
    ...DOCUMENT_OPTIONS,
    ...ENCODING_OPTIONS,
    ...PROMPT_OPTIONS,
    ...COMPUTE_OPTIONS,
  },
  examples: [
    '--model runs/first --data data/api-docs --out documents.npy',
    '--model runs/first --input questions.txt --side query --json',
  ],
  async run(options, io) {
    const { out, side, input, data } = options;
    if ((input === undefined) === (data === undefined)) {
      throw new UsageError(
        input === undefined
          ? 'nothing to encode: --input or --data is missing'
          : '--input and --data exclude each other',
      );
    }
    if (out !== undefined) checkOutputName(out, '.npy');
    const startMs = performance.now();
    const retriever = await loadModel(options.model, io, [], options);
    const source = input !== undefined ? linesOf(input) : dataOf(data!, side, streamOptions(io, options));
    const sink = out === undefined ? new JsonSink(retriever.dimension) : await npySink(out, retriever, side);
    try {
      await encodeAll(retriever, { side, source, sink, io, compute: computeOptions(options) });
      if (sink.rows === 0) throw new DataError('holds no text', { file: (input ?? data)! });
      await sink.close();
    } catch (error) {
      await sink.discard();
      throw error;
    }
    await retriever.dispose();
    io.finishProgress();

    const seconds = (performance.now() - startMs) / 1000;
    const shape = { rows: sink.rows, dimension: retriever.dimension };
    const facts = { model: options.model, side, ...shape, seconds: Number(seconds.toFixed(3)) };
    if (sink instanceof JsonSink) {
      return { json: { embeddings: sink.embeddings, ...facts }, text: sink.text() };
    }
    const files = { out: out!, ...(source.hasIds && { ids: idsFile(out!) }), manifest: manifestFile(out!) };
    const speed = `${formatCount(shape.rows / seconds)} texts/s, ${formatDuration(seconds * 1000)}`;
    return {
      json: { ...files, ...facts },
      text: `${Object.values(files).join('\n')}\n${count(shape.rows)} × ${shape.dimension} (${speed})\n`,
    };
  },
});

/** Source of the texts to encode. */
interface Source {
  readonly texts: AsyncIterable<{ readonly text: string; readonly id?: string }>;
  /** Whether the texts have ids. */
  readonly hasIds: boolean;
}

const linesOf = (file: string): Source => ({
  texts: readLines(file),
  hasIds: false,
});

function dataOf(path: string, side: Side, reading: LoadOptions): Source {
  const stream = side === 'document' ? streamDocuments : streamQueries;
  return {
    texts: (async function* () {
      for await (const { id, title, text } of stream(path, reading))
        yield { id, text: joinTitle(title, text) };
    })(),
    hasIds: true,
  };
}

const idsFile = (out: string): string => out.replace(/\.npy$/, '.ids.txt');

/** Destination of the vectors. */
interface Sink {
  readonly rows: number;
  /**
   * Announces `rows` more vectors before their texts are encoded, so that no work is wasted.
   *
   * @throws UsageError if so many vectors are too large for the destination
   */
  expect(rows: number): void;
  /** Appends the vectors of some texts. */
  append(vectors: Float32Array, texts: readonly string[], ids?: readonly string[]): Promise<void>;
  close(): Promise<void>;
  discard(): Promise<void>;
}

async function npySink(out: string, retriever: Retriever, side: Side): Promise<Sink> {
  const writer = await openVectorWriter(out, { retriever, side, idsFile: idsFile(out) });
  return {
    get rows() {
      return writer.rows;
    },
    expect() {},
    append: (vectors, texts, ids) => writer.append(vectors, texts, ids),
    async close() {
      await writer.close();
    },
    discard: () => writer.discard(),
  };
}

/** Collects vectors as numbers for JSON, up to `JSON_LIMIT_BYTES`. */
class JsonSink implements Sink {
  readonly embeddings: number[][] = [];
  private readonly dimension: number;

  constructor(dimension: number) {
    this.dimension = dimension;
  }

  get rows(): number {
    return this.embeddings.length;
  }

  expect(rows: number): void {
    const bytes = (this.rows + rows) * this.dimension * JSON_BYTES_PER_NUMBER;
    if (bytes <= JSON_LIMIT_BYTES) return;
    throw new UsageError(
      `${this.rows + rows} or more vectors of dimension ${this.dimension} would be over ${JSON_LIMIT_BYTES / 1e6} MB of JSON`,
      { help: 'write them to a file: --out vectors.npy' },
    );
  }

  async append(vectors: Float32Array): Promise<void> {
    for (let start = 0; start < vectors.length; start += this.dimension) {
      this.embeddings.push(Array.from(vectors.subarray(start, start + this.dimension), shortest));
    }
  }

  /** Formats one vector per line, its values separated by spaces. */
  text(): string {
    return this.embeddings.map((vector) => `${vector.join(' ')}\n`).join('');
  }

  async close(): Promise<void> {}

  async discard(): Promise<void> {}
}

/** Rounds a number to nine significant digits, which distinguish any two f32. */
const shortest = (value: number): number => Number(value.toPrecision(9));

async function encodeAll(
  retriever: Retriever,
  {
    side,
    source,
    sink,
    io,
    compute,
  }: { side: Side; source: Source; sink: Sink; io: Io; compute: ComputeOptions },
): Promise<void> {
  const stage = side === 'query' ? 'encode queries' : 'encode documents';
  let chunk: string[] = [];
  let ids: string[] = [];
  let characters = 0;
  const flush = async () => {
    const before = sink.rows;
    sink.expect(chunk.length);
    const vectors = await retriever.encode(side, chunk, {
      ...compute,
      onProgress: ({ done }) => io.progress(stage, before + done, {}),
    });
    await sink.append(vectors, chunk, source.hasIds ? ids : undefined);
    chunk = [];
    ids = [];
    characters = 0;
  };
  for await (const { text, id = '' } of source.texts) {
    chunk.push(text);
    ids.push(id);
    characters += text.length;
    if (chunk.length === CHUNK_TEXTS || characters >= CHUNK_CHARACTERS) await flush();
  }
  if (chunk.length > 0) await flush();
}
