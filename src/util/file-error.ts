import { DataError, UndriftError } from './errors.ts';

/**
 * Converts the error of a failed file operation: to a `DataError` where `action` is `'read'`, else to an
 * `UndriftError`.
 *
 * An error that does not come from the operating system is returned unchanged.
 *
 * @param action verb for the message: "cannot `action` `path`"
 */
export function fileError(error: unknown, path: string, action: string): unknown {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  if (code === undefined || error instanceof UndriftError) return error;
  const [reason, help] = reasons[code] ?? [error instanceof Error ? error.message : code, undefined];
  const options = { cause: error, ...(help && { help }) };
  return action === 'read'
    ? new DataError(reason, { file: path, ...options })
    : new UndriftError(`cannot ${action} ${path}: ${reason}`, options);
}

/** Explanation and advice for each error code of the operating system. */
const reasons: Record<string, [reason: string, help: string]> = {
  ENOENT: ['no such file or folder', 'check the path for typing errors'],
  EACCES: ['no permission', 'change the permissions of the file or its folder, or choose another path'],
  EPERM: ['the operation is not permitted', 'choose another path'],
  EISDIR: ['it is a folder, not a file', 'give the path of a file'],
  ENOTDIR: ['a part of the path is a file, not a folder', 'choose another path, or move the file away'],
  EEXIST: ['a file of that name is in the way', 'choose another path, or move the file away'],
  ENOSPC: ['no space left on the disk', 'free some space, or choose a path on another disk'],
  EDQUOT: ['the disk quota is used up', 'free some space, or choose a path on another disk'],
  EROFS: ['the disk is read-only', 'choose a path on another disk'],
  EMFILE: ['too many files are open', 'raise the limit (ulimit -n)'],
  ENAMETOOLONG: ['the name is too long', 'choose a shorter path'],
  EFBIG: ['the file is too large for the disk', 'choose a path on another disk'],
  EIO: ['the disk reports an input/output error', 'check the disk'],
};

/** Returns a function that awaits a file operation on `path` and converts its error with `fileError`. */
export function guard(path: string, action: string): <T>(operation: Promise<T>) => Promise<T> {
  return async (operation) => {
    try {
      return await operation;
    } catch (error) {
      throw fileError(error, path, action);
    }
  };
}
