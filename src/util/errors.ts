/**
 * Base class of all errors that a user can cause.
 *
 * The message says what was expected, what was found and where; `help` says what to do about it. The command
 * line prints the message without a stack trace and exits with `exitCode`.
 */
export class UndriftError extends Error {
  /** Exit code of the process: 1 for a failure, 2 for wrong usage. */
  readonly exitCode: 1 | 2 = 1;
  /** One line that tells the user what to do next. */
  readonly help: string | undefined;

  constructor(message: string, options: { help?: string; cause?: unknown } = {}) {
    super(options.help ? `${message}\n  help: ${options.help}` : message, { cause: options.cause });
    this.name = new.target.name;
    this.help = options.help;
  }
}

/** Error in the flags, option values or arguments that the user gave. Exit code 2. */
export class UsageError extends UndriftError {
  override readonly exitCode = 2;
}

/** Error in the contents of a file, or a file that cannot be read. */
export class DataError extends UndriftError {
  /** Path of the file. */
  readonly file: string;
  /** Line of the error, counted from 1; undefined where the format has no lines or the line is not known. */
  readonly line: number | undefined;

  constructor(message: string, where: { file: string; line?: number; help?: string; cause?: unknown }) {
    super(`${where.file}${where.line === undefined ? '' : `:${where.line}`}: ${message}`, where);
    this.file = where.file;
    this.line = where.line;
  }
}

/** Mismatch of the shapes or dtypes of tensors. */
export class ShapeError extends UndriftError {}

/** Failure to load or to run a program of onnxruntime. */
export class RuntimeError extends UndriftError {}
