/**
 * @file Looks at the server, again and again while the page is seen.
 */
import { page } from './dom.ts';

/** Time between two looks at the server, in milliseconds: while vectors are being made, and otherwise. */
const BUSY_MS = 2000;
const QUIET_MS = 15_000;

/**
 * Follows the server.
 *
 * @param look  asks the server and shows what it says; returns whether vectors are being made
 * @param onError  called with the message of a failure, and with the empty text after the next success
 * @returns a function that looks at once
 */
export function follow(look: () => Promise<boolean>, onError: (message: string) => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const lookAgain = async (): Promise<void> => {
    clearTimeout(timer);
    let wait = QUIET_MS;
    try {
      if (await look()) wait = BUSY_MS;
      onError('');
    } catch (error) {
      onError((error as Error).message);
    }
    clearTimeout(timer);
    timer = setTimeout(() => !page.hidden && void lookAgain(), wait);
  };
  page.addEventListener('visibilitychange', () => !page.hidden && void lookAgain());
  void lookAgain();
  return () => void lookAgain();
}
