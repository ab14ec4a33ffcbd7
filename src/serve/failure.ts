import type { Context } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { UndriftError, UsageError } from '../util/errors.ts';
import { type FailureStatus, HttpError } from './http-error.ts';

/** Makes the answer to a request that fails, in the shape of the OpenAI API's errors, with a help of our own. */
export function failure(
  context: Context,
  status: FailureStatus,
  message: string,
  { help, code, param }: Pick<HttpError, 'help' | 'code' | 'param'> = NOTHING,
): Response {
  // Work of a second has ended by then; clients of the OpenAI API wait as long.
  if (status === 503) context.header('retry-after', '1');
  const error = { message, type: typeOf(status), param: param ?? null, code: code ?? null };
  const body = { error: { ...error, ...(help !== undefined && { help }) } };
  return context.json(body, status as ContentfulStatusCode);
}

/** Makes the answer to a request whose work has thrown an error. */
export function failureOf(error: Error, context: Context): Response {
  // Nobody reads this answer; it is counted under a status of its own.
  if (context.req.raw.signal.aborted) return failure(context, 499, 'the client has left');
  if (!(error instanceof UndriftError)) return failure(context, 500, 'internal error');
  const [message] = error.message.split('\n  help: ');
  if (error instanceof HttpError) return failure(context, error.status, message!, error);
  const status = error instanceof UsageError ? 400 : 500;
  return failure(context, status, message!, { ...NOTHING, help: error.help });
}

const NOTHING = { help: undefined, code: undefined, param: undefined };

function typeOf(status: FailureStatus): string {
  if (status >= 500) return 'server_error';
  return status === 401 ? 'authentication_error' : 'invalid_request_error';
}
