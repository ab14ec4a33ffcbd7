import { UndriftError } from '../util/errors.ts';

/** Refusal of a request by the hub. */
export class HubError extends UndriftError {
  /** HTTP status of the answer. */
  readonly status: number;

  constructor(status: number, message: string, options: { help?: string; cause?: unknown } = {}) {
    super(message, options);
    this.status = status;
  }
}

/** Failure to get an answer from the hub: no network, unknown host, or a server in trouble. */
export class HubUnreachable extends UndriftError {}

/** Subject of a request, for error messages. */
export interface Asked {
  /** Name of the repository in words: `the model org/name`. */
  readonly what: string;
  /** Revision that was asked for. */
  readonly revision: string;
  /** Whether a token was sent with the request. */
  readonly hasToken: boolean;
}

/**
 * Converts an unsuccessful answer to an error that says what to do.
 *
 * The hub states the reason in the header `X-Error-Code`. Requests without a token are not told whether a
 * repository exists.
 */
export function refusal(response: Response, { what, revision, hasToken }: Asked): UndriftError {
  const { status, headers } = response;
  const code = headers.get('X-Error-Code');
  const reason = headers.get('X-Error-Message');
  const said = reason ? ` (${reason})` : '';
  if (code === 'GatedRepo' || status === 403) {
    return new HubError(status, `the hub keeps ${what} behind an agreement${said}`, {
      help: hasToken
        ? 'accept its terms on its page, with the account of your token'
        : 'accept its terms on its page, make a token in your account there, and set HF_TOKEN=hf_…',
    });
  }
  if (code === 'RevisionNotFound') {
    return new HubError(status, `${what} has no revision "${revision}"`, {
      help: 'a revision is a branch, a tag or a commit: its page lists them; without @revision it is main',
    });
  }
  if (code === 'EntryNotFound') return new HubError(status, `${what} lacks a file that it lists${said}`);
  if (status === 401 || status === 404) {
    return new HubError(status, `the hub has no ${what.replace(/^the /, '')}, or not for you${said}`, {
      help: `check the name for typing errors (no folder of that name is here, either); ${
        hasToken
          ? 'the token in HF_TOKEN may be wrong, or may not see it'
          : 'a private one needs HF_TOKEN=hf_…'
      }`,
    });
  }
  if (status === 429) return new HubUnreachable('the hub asks for fewer requests (429): wait a while');
  if (status >= 500) return new HubUnreachable(`the hub is in trouble: it answered ${status}`);
  return new HubError(status, `the hub answered ${status} when asked for ${what}${said}`);
}

/**
 * Converts the failure of a request without an answer to an error that names the innermost cause that Node
 * reports.
 */
export function unreachable(error: unknown, url: string): HubUnreachable {
  let inner = error;
  while (inner instanceof Error && inner.cause !== undefined) inner = inner.cause;
  const code = (inner as NodeJS.ErrnoException | undefined)?.code;
  const reason = code ?? (inner instanceof Error ? inner.message : String(inner));
  return new HubUnreachable(`${url} cannot be reached (${reason})`, { cause: error });
}
