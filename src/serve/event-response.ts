import { formatEvent } from './browser/event-stream.ts';

/** Result of a route that is sent in parts, as server-sent events. */
export class EventResponse {
  private readonly events: AsyncIterable<{ event: string; data: unknown }>;
  private readonly onEnd: () => void;

  /**
   * @param events  events, whose data is sent as JSON
   * @param onEnd  called once, when the last event is sent or the client has left
   */
  constructor(events: AsyncIterable<{ event: string; data: unknown }>, onEnd: () => void) {
    this.events = events;
    this.onEnd = onEnd;
  }

  /** Makes the response. An event is taken when the client has room for it. */
  response(): Response {
    const iterator = this.events[Symbol.asyncIterator]();
    const encoder = new TextEncoder();
    const { onEnd } = this;
    const stream = new ReadableStream<Uint8Array>({
      async pull(controller) {
        const next = await iterator.next();
        if (next.done) {
          onEnd();
          controller.close();
          return;
        }
        const { event, data } = next.value;
        controller.enqueue(encoder.encode(formatEvent({ event, data: JSON.stringify(data) })));
      },
      async cancel() {
        onEnd();
        await iterator.return?.();
      },
    });
    return new Response(stream, {
      headers: {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        // Proxies otherwise collect a stream before they pass it on.
        'x-accel-buffering': 'no',
      },
    });
  }
}
