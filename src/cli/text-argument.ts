import { isUtf8 } from 'node:buffer';
import { buffer } from 'node:stream/consumers';
import { DataError, UsageError } from '../util/errors.ts';

/**
 * Maximum length of the command line, in bytes.
 *
 * On Linux, onnxruntime 1.30 reads /proc/self/cmdline and overflows the stack if the command line has some
 * 30,000 bytes (at the usual stack size of 8 MiB). The process then ends without a message.
 */
const MAX_COMMAND_LINE_BYTES = 16_384;

/** Returns the text that the words of a command line make, or that of stdin where they are `-`. */
export const textOf = async (words: readonly string[]): Promise<string> =>
  words.join(' ') === '-' ? await readStdin() : words.join(' ');

async function readStdin(): Promise<string> {
  const bytes = await buffer(process.stdin);
  if (!isUtf8(bytes)) {
    throw new DataError('not UTF-8', {
      file: 'stdin',
      help: 'convert it, for example with iconv -f LATIN1 -t UTF-8',
    });
  }
  return bytes.toString('utf8');
}

/**
 * Refuses a command line that the runtime cannot bear. Commands that load a model call it.
 *
 * @param command  name of the command, for advice
 */
export function checkCommandLine(command: string): void {
  const commandLineBytes = Buffer.byteLength(process.argv.join(' '));
  if (commandLineBytes > MAX_COMMAND_LINE_BYTES) {
    throw new UsageError(`a command line of ${commandLineBytes} bytes is too long for onnxruntime`, {
      help: `give the text on stdin: undrift ${command} … - < text.txt`,
    });
  }
}
