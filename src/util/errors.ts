import { asNames } from './option-name.ts';

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
  readonly #marked: MarkedMessage;

  /**
   * Makes an error.
   *
   * @param message text in which options may be marked by `option(…)`; the error's `message` has their names instead
   * @param options.help one line that says what to do next
   */
  constructor(message: string, options: { help?: string; cause?: unknown } = {}) {
    const { help, cause } = options;
    super(asNames(help ? `${message}\n  help: ${help}` : message), { cause });
    this.name = new.target.name;
    this.help = help && asNames(help);
    this.#marked = { message, help };
  }

  /** Message and help in which options are still marked, for rendering them as flags or quoting them in another error. */
  get marked(): MarkedMessage {
    return this.#marked;
  }
}

/** Message and help line in which options are marked; see `option`. */
export interface MarkedMessage {
  /** Message without the help line. */
  readonly message: string;
  /** Help line. */
  readonly help: string | undefined;
}

/** Error in the flags, option values or arguments that the user gave. Exit code 2. */
export class UsageError extends UndriftError {
  /** Exit code of the process. */
  override readonly exitCode = 2;
}

/** Place at which something was read: a file, a line of a file, or an item of an iterable in memory. */
export interface Place {
  /** Path of the file, or the name of the iterable (`pairs`). */
  readonly file: string;
  /** Line, counted from 1; undefined where the format has no lines or the line is not known. */
  readonly line?: number | undefined;
  /** Position of an item in an iterable, counted from 0; undefined for files. */
  readonly item?: number | undefined;
}

/** Text of a place in a message: `train.jsonl:3`, or `pairs[2]` for an item in memory. */
export function placeText({ file, line, item }: Place): string {
  if (item !== undefined) return `${file}[${item}]`;
  return line === undefined ? file : `${file}:${line}`;
}

/** Error in the contents of a file or of data in memory, or a file that cannot be read. */
export class DataError extends UndriftError implements Place {
  readonly file: string;
  readonly line: number | undefined;
  readonly item: number | undefined;

  constructor(message: string, where: Place & { help?: string; cause?: unknown }) {
    super(`${placeText(where)}: ${message}`, where);
    this.file = where.file;
    this.line = where.line;
    this.item = where.item;
  }
}

/** Mismatch of the shapes or dtypes of tensors. */
export class ShapeError extends UndriftError {}

/** Failure to load or to run a program of onnxruntime. */
export class RuntimeError extends UndriftError {}

/** Memory that could not be had. */
export class OutOfMemoryError extends RuntimeError {
  /** Estimate of the memory that was needed, in bytes; undefined where it is not known. */
  readonly neededBytes: number | undefined;

  constructor(
    message: string,
    options: { help?: string; cause?: unknown; neededBytes?: number | undefined } = {},
  ) {
    super(message, options);
    this.neededBytes = options.neededBytes;
  }
}

/** What onnxruntime, the C++ library, the drivers and V8 say when memory cannot be had. */
const NO_MEMORY =
  /bad_alloc|failed to allocate memory|allocation failed|cannot allocate memory|out of memory|out_of_memory|cudaErrorMemoryAllocation|invalid array buffer length/i;

/** Tells whether an error says that memory could not be had. */
export function isOutOfMemory(error: unknown): boolean {
  if (error instanceof OutOfMemoryError) return true;
  return NO_MEMORY.test(error instanceof Error ? error.message : String(error));
}
