/** Event of a stream in the format of server-sent events. */
export interface StreamEvent {
  /** Kind of event; `message` where the stream names none. */
  readonly event: string;
  /** Its lines of data, joined. */
  readonly data: string;
}

/** Longest event, in characters. A stream without end of line takes no more memory than this. */
const LONGEST = 1 << 20;

/**
 * Reads server-sent events from the bytes of a response, as the HTML standard defines them. Runs in Node and in browsers.
 *
 * @throws Error for an event of more than a million characters
 */
export async function* readEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<StreamEvent> {
  const decoder = new TextDecoder();
  let rest = '';
  let event = '';
  let data: string[] = [];
  for await (const bytes of body) {
    rest += decoder.decode(bytes, { stream: true });
    // A carriage return at the end may be the first half of a line end.
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop()!;
    if (rest.length + data.reduce((sum, line) => sum + line.length, 0) > LONGEST) {
      throw new Error('an event of the stream is too long');
    }
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) yield { event: event || 'message', data: data.join('\n') };
        event = '';
        data = [];
        continue;
      }
      const [, name, value] = /^([^:]*)(?:: ?(.*))?$/s.exec(line)!;
      if (name === 'event') event = value ?? '';
      if (name === 'data') data.push(value ?? '');
    }
  }
}

/** Formats a server-sent event. */
export const formatEvent = ({ event, data }: StreamEvent): string =>
  `event: ${event}\n${data
    .split('\n')
    .map((line) => `data: ${line}\n`)
    .join('')}\n`;
