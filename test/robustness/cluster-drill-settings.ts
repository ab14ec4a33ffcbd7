/** Time after which work is handed out again in a drill, in milliseconds. */
export const ACK_WAIT_MS = 3000;
/** Life of a lease in a drill, in milliseconds. */
export const LEASE_MS = 3000;
/** Rows of a task in a drill. A multiple of it is 1,024, at which blocks begin anew. */
export const TASK_ROWS = 256;
/** Rows of the store of a round. */
export const ROWS = 4000;
/** Time that a worker takes for a task at least, in milliseconds, so that there is something to interrupt. */
export const TASK_MS = 100;
