import { parentPort, workerData } from 'node:worker_threads';
import { chatPrompt } from '../../models/language/chat-template.ts';
import { generate } from '../../models/language/generate.ts';
import { LanguageModel } from '../../models/language/language-model.ts';
import { type PromptPassage, passagePrompt } from '../../models/language/passage-prompt.ts';
import { UndriftError } from '../../util/errors.ts';
import { INSTRUCTIONS, questionText } from './answerer.ts';
import type { AnswerMessage, AnswerRequest, AnswerThreadSettings } from './local-answerer.ts';

// A thread of its own that runs a language model, so that the thread of the HTTP server never waits for one.

/** Longest answer, in tokens; of a model that reads little, a quarter of what it reads. */
const ANSWER_TOKENS = 256;

const { folder, threads } = workerData as AnswerThreadSettings;
const port = parentPort!;
const send = (message: AnswerMessage): void => port.postMessage(message);
const running = new Map<number, AbortController>();

/** Writes passages and question as the model reads them. */
const written = (model: LanguageModel, question: string, passages: readonly PromptPassage[]): Int32Array =>
  chatPrompt(model, [
    { role: 'system', content: INSTRUCTIONS },
    { role: 'user', content: questionText(question, passages) },
  ]);

async function loadModel(): Promise<LanguageModel> {
  const model = await LanguageModel.load(folder);
  if (model.settings.chatTemplate === undefined) {
    throw new UndriftError(
      `the language model ${folder} has no chat template, by which it would read questions`,
      {
        help: 'put its chat_template.jinja into the folder, or take a model that was trained to answer, whose name often ends in Instruct',
      },
    );
  }
  written(model, 'question', []);
  return model;
}

async function answer(
  model: LanguageModel,
  { id, question, passages }: Exclude<AnswerRequest, { cancel: number }>,
  signal: AbortSignal,
): Promise<void> {
  const tokens = Math.min(
    ANSWER_TOKENS,
    Math.floor((model.decoder.maxTokens ?? Number.POSITIVE_INFINITY) / 4),
  );
  const numbered = passages.map((passage, i) => ({ ...passage, id: `${i + 1}` }));
  const { ids } = passagePrompt(model, numbered, {
    tokens,
    write: (some) => written(model, question, some),
  });
  const pieces = generate(model, ids, { tokens, ...(threads && { threads }), signal });
  for (;;) {
    const { done, value } = await pieces.next();
    if (done) {
      send({ id, end: { isCut: value.finish === 'tokens' || value.finish === 'window' } });
      return;
    }
    send({ id, text: value });
  }
}

const described = (error: unknown): { message: string; help?: string } => {
  const { message } = error as Error;
  if (!(error instanceof UndriftError)) return { message };
  const { message: own, help } = error.marked;
  return { message: own, ...(help !== undefined && { help }) };
};

try {
  const model = await loadModel();
  let last = Promise.resolve();
  port.on('message', (request: AnswerRequest) => {
    if ('cancel' in request) {
      running.get(request.cancel)?.abort();
      return;
    }
    const { id } = request;
    const controller = new AbortController();
    running.set(id, controller);
    last = last
      .then(() => answer(model, request, controller.signal))
      .catch((error) => send({ id, error: described(error) }))
      .finally(() => running.delete(id));
  });
  send({ id: 0, end: { isCut: false } });
} catch (error) {
  send({ id: 0, error: described(error) });
}
