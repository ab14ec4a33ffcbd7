import { DataError } from '../util/errors.ts';
import { foreignFile } from '../util/foreign-file.ts';
import { parseShallowJson, TOO_DEEP } from '../util/shallow-json.ts';
import { quote } from './corpus.ts';
import { type LineOptions, readLines } from './lines.ts';
import { type DataRecord, describe } from './record.ts';

/**
 * Streams the objects of a JSONL file, plain or gzip: one JSON object a line. Blank lines are skipped.
 *
 * @throws DataError with file and line for a line that is not a JSON object, and for everything that {@link
 *   readLines} refuses
 */
export async function* readJsonl(file: string, options: LineOptions = {}): AsyncGenerator<DataRecord> {
  for await (const { text, line } of readLines(file, options)) {
    if (text.trim() === '') continue;
    let record: DataRecord;
    try {
      record = parseJsonLine(text, file, line);
    } catch (error) {
      if (!options.onBadLine) throw error;
      options.onBadLine(error);
      continue;
    }
    yield record;
  }
}

/**
 * Parses one line of JSONL as a record.
 *
 * @throws DataError with file and line when the line is not a JSON object
 */
export function parseJsonLine(text: string, file: string, line: number): DataRecord {
  let fields: unknown;
  try {
    fields = parseShallowJson(text);
  } catch (cause) {
    const deep = (cause as Error).message === TOO_DEEP;
    const foreign = line === 1 ? foreignFile(text) : undefined;
    if (foreign) throw new DataError(`this is ${foreign.is}`, { file, line, cause, help: foreign.help });
    const reason = deep ? `JSON ${TOO_DEEP}` : `bad JSON: ${quote(text.trim())}`;
    throw new DataError(reason, { file, line, cause, ...(!deep && { help: advice(text) }) });
  }
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) {
    throw new DataError(`expected a JSON object, found ${describe(fields)}`, {
      file,
      line,
      help: advice(text),
    });
  }
  return { fields: fields as Record<string, unknown>, file, line };
}

function advice(text: string): string {
  const start = text.trimStart();
  if (start.startsWith('[')) return "one object a line is wanted; jq -c '.[]' turns a JSON array into that";
  if (/^\{\s*$/.test(start)) return 'one object a line is wanted; jq -c . turns spread-out JSON into that';
  return 'one complete JSON object a line is wanted; was the file cut short?';
}
