import { Worker } from 'node:worker_threads';
import { findModel } from '../../models/folder/find-model.ts';
import { builtScript } from '../../util/built-script.ts';
import { UndriftError } from '../../util/errors.ts';
import type { Answerer, AnswerPart, AnswerPassage } from './answerer.ts';

/** Settings of the thread that runs a language model. */
export interface AnswerThreadSettings {
  /** Folder of the model. */
  readonly folder: string;
  /** Threads inside one operation; undefined for all cores. */
  readonly threads: number | undefined;
}

/** Message to the thread: a question, or the number of one that nobody waits for any more. */
export type AnswerRequest =
  | { readonly id: number; readonly question: string; readonly passages: readonly AnswerPassage[] }
  | { readonly cancel: number };

/** Message of the thread: id 0 is its start. */
export type AnswerMessage =
  | { readonly id: number; readonly text: string }
  | { readonly id: number; readonly end: { readonly isCut: boolean } }
  | { readonly id: number; readonly error: { readonly message: string; readonly help?: string | undefined } };

/** Messages in the order in which they come, for one reader. */
class Inbox {
  private readonly messages: AnswerMessage[] = [];
  private wake: () => void = () => {};

  push(message: AnswerMessage): void {
    this.messages.push(message);
    this.wake();
  }

  async next(): Promise<AnswerMessage> {
    while (this.messages.length === 0) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    return this.messages.shift()!;
  }
}

/**
 * Language model that runs in a thread of this process, so that the thread of the server never waits for it. Questions are answered one
 * after the other.
 */
export class LocalAnswerer implements Answerer {
  readonly name: string;
  private readonly settings: AnswerThreadSettings;
  private readonly inboxes = new Map<number, Inbox>();
  private worker: Worker | undefined;
  private questions = 0;

  private constructor(name: string, settings: AnswerThreadSettings) {
    this.name = name;
    this.settings = settings;
  }

  /**
   * Finds the model, and loads it in a thread.
   *
   * @param model  folder, run, or name on the hub
   * @throws UsageError when there is no such model
   * @throws UndriftError when it cannot be loaded, or has no chat template
   */
  static async start(
    model: string,
    { threads }: { threads?: number | undefined } = {},
  ): Promise<LocalAnswerer> {
    const folder = await findModel(model, [], { option: 'answerModel' });
    const answerer = new LocalAnswerer(model, { folder, threads });
    await answerer.launch();
    return answerer;
  }

  async *answer(
    question: string,
    passages: readonly AnswerPassage[],
    signal: AbortSignal,
  ): AsyncGenerator<AnswerPart> {
    if (!this.worker) await this.launch();
    this.questions += 1;
    const id = this.questions;
    const inbox = this.open(id);
    const leave = () => inbox.push({ id, error: { message: 'aborted' } });
    signal.addEventListener('abort', leave, { once: true });
    let hasEnded = false;
    try {
      signal.throwIfAborted();
      this.send({ id, question, passages: passages.map(({ title, text }) => ({ title, text })) });
      for (;;) {
        const message = await inbox.next();
        signal.throwIfAborted();
        if ('text' in message) {
          yield { text: message.text };
          continue;
        }
        hasEnded = true;
        if ('error' in message) throw errorOf(message.error);
        if (message.end.isCut) yield { text: '', isCut: true };
        return;
      }
    } finally {
      signal.removeEventListener('abort', leave);
      this.inboxes.delete(id);
      if (!hasEnded) this.send({ cancel: id });
    }
  }

  async close(): Promise<void> {
    await this.worker?.terminate();
  }

  private send(message: AnswerRequest): void {
    this.worker?.postMessage(message);
  }

  private open(id: number): Inbox {
    const inbox = new Inbox();
    this.inboxes.set(id, inbox);
    return inbox;
  }

  private async launch(): Promise<void> {
    const worker = new Worker(builtScript('serve/answer/answer-worker'), { workerData: this.settings });
    this.worker = worker;
    const inbox = this.open(0);
    worker.on('message', (message: AnswerMessage) => this.inboxes.get(message.id)?.push(message));
    worker.on('error', (cause) => this.fail(worker, cause.message));
    worker.on('exit', () => this.fail(worker, 'the thread has ended'));
    const started = await inbox.next();
    this.inboxes.delete(0);
    if (!('error' in started)) {
      // The server keeps the process alive, and the model alone does not.
      worker.unref();
      return;
    }
    await worker.terminate();
    throw errorOf(started.error);
  }

  /** Gives up a thread that has died, and all answers that it was to write. The next question starts another. */
  private fail(worker: Worker, reason: string): void {
    if (this.worker !== worker) return;
    this.worker = undefined;
    for (const [id, inbox] of this.inboxes) {
      inbox.push({ id, error: { message: `the language model ${this.name} failed: ${reason}` } });
    }
  }
}

const errorOf = ({ message, help }: { message: string; help?: string | undefined }): UndriftError =>
  new UndriftError(message, help === undefined ? {} : { help });
