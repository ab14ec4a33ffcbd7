import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');

/** Collects all garbage, so that memory can be compared before and after. */
export const collectGarbage = runInNewContext('gc') as () => void;
