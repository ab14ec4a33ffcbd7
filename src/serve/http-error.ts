import { UsageError } from '../util/errors.ts';

/** Status of an answer that is not the requested result. */
export type FailureStatus = 400 | 401 | 403 | 404 | 405 | 413 | 415 | 499 | 500 | 502 | 503;

/** Error with a status and, for clients of the OpenAI API, the name of a cause and the field of the body. */
export class HttpError extends UsageError {
  readonly status: FailureStatus;
  /** Cause as a word: `model_not_found`. */
  readonly code: string | undefined;
  /** Field of the body that is refused. */
  readonly param: string | undefined;

  constructor(
    status: FailureStatus,
    message: string,
    { help, code, param }: { help?: string | undefined; code?: string; param?: string } = {},
  ) {
    super(message, help === undefined ? {} : { help });
    this.status = status;
    this.code = code;
    this.param = param;
  }
}
