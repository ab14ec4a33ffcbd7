import { InterruptedError } from '../train/callbacks.ts';
import { UndriftError } from '../util/errors.ts';
import { asFlags } from '../util/option-name.ts';
import { INTERRUPTED_EXIT_CODE, Interrupted } from './io.ts';
import { packageVersion } from './package-version.ts';

/** Description of a failed command. */
export interface ErrorDescription {
  /** Message for people, printed to stderr. */
  readonly message: string;
  /** Error object for programs, printed with `--json`. */
  readonly json: { readonly type: string; readonly message: string; readonly help?: string };
  /** Exit code of the process. */
  readonly exitCode: number;
}

/** Message and help of an error, with its options named as flags. */
export function withFlags({ marked }: UndriftError): string {
  const help = marked.help === undefined ? '' : `\n  help: ${asFlags(marked.help)}`;
  return `${asFlags(marked.message)}${help}`;
}

/**
 * Describes an error to the user.
 *
 * Errors of this package state the fault and a remedy, and are shown without a stack trace; options named in
 * them become flags. Any other error is a fault of this package. It is shown with its stack trace and a
 * request to report it.
 */
export function describeError(error: unknown): ErrorDescription {
  if (!(error instanceof UndriftError)) {
    const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
    return {
      message:
        `${stack ?? message}\n\nThis should not happen: it is a fault in undrift ${packageVersion()} ` +
        `(Node ${process.version}, ${process.platform} ${process.arch}).\n` +
        'Please report it with the command and the lines above.\n',
      json: { type: name, message },
      exitCode: 1,
    };
  }
  const what = asFlags(error.marked.message);
  const help = error.marked.help && asFlags(error.marked.help);
  const message = withFlags(error);
  const json = { type: error.name, message: what, ...(help !== undefined && { help }) };
  if (error instanceof Interrupted || error instanceof InterruptedError) {
    return { message: `${message}\n`, json, exitCode: INTERRUPTED_EXIT_CODE };
  }
  return { message: `error: ${message}\n`, json, exitCode: error.exitCode };
}
