/**
 * Every error a user can cause is an `UndriftError`: it says what was expected, what was found, where, and what to do.
 * The command line prints its message without a stack trace and exits with `exitCode`.
 */
export class UndriftError extends Error {
  /** Process exit code: 1 failure, 2 wrong usage. */
  readonly exitCode: 1 | 2 = 1;
  /** One line that tells the user what to do next. */
  readonly help: string | undefined;

  constructor(message: string, options: { help?: string; cause?: unknown } = {}) {
    super(options.help ? `${message}\n  help: ${options.help}` : message, { cause: options.cause });
    this.name = new.target.name;
    this.help = options.help;
  }
}

/** Wrong flags, option values or arguments. */
export class UsageError extends UndriftError {
  override readonly exitCode = 2;
}

/** A file or a line of a file that does not hold what its format demands. */
export class DataError extends UndriftError {
  readonly file: string;
  /** 1-based line, where the format has lines. */
  readonly line: number | undefined;

  constructor(message: string, where: { file: string; line?: number; help?: string; cause?: unknown }) {
    super(`${where.file}${where.line === undefined ? '' : `:${where.line}`}: ${message}`, where);
    this.file = where.file;
    this.line = where.line;
  }
}

/** Shapes or dtypes of graph tensors that do not fit together. */
export class ShapeError extends UndriftError {}

/** A program that failed to load or to run. */
export class RuntimeError extends UndriftError {}
