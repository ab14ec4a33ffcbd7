/*
 * Kills this process at one of its file operations, as `kill -9` would. Loaded with `node --import`.
 *
 *     KILL_AT=n       the n-th operation that changes the disk is not done any more; 0 kills nothing
 *     KILL_HALF=1     if that operation writes bytes, half of them are written
 *     KILL_LOG=file   list of the operations, one a line
 */
import fs, { appendFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

const at = Number(process.env.KILL_AT ?? 0);
const half = process.env.KILL_HALF === '1';
const log = process.env.KILL_LOG;
let count = 0;

/** Counts an operation, and ends the process if it is the one. */
function operation(name, path, writeHalf) {
  count++;
  if (log !== undefined) append(log, `${name} ${path ?? ''}\n`);
  if (count !== at) return;
  if (half) writeHalf?.();
  process.kill(process.pid, 'SIGKILL');
  for (;;); // the signal arrives at any moment
}

const append = appendFileSync;
const writeSync = fs.writeSync;
const bytesOf = (data) => (typeof data === 'string' ? Buffer.from(data) : data);
const firstHalf = (data) => bytesOf(data).subarray(0, bytesOf(data).byteLength >> 1);
/** Tells whether flags of `open` change the disk. */
const changes = (flags) => typeof flags === 'string' && flags !== 'r';

function wrap(holder, name, before) {
  const original = holder[name];
  holder[name] = function (...args) {
    before.call(this, ...args);
    return original.apply(this, args);
  };
}

const PATHS = [
  'mkdir',
  'rename',
  'rm',
  'rmdir',
  'unlink',
  'link',
  'symlink',
  'copyFile',
  'truncate',
  'writeFile',
];
for (const name of PATHS) {
  wrap(fs.promises, name, (...args) =>
    operation(name, args[['rename', 'link', 'symlink', 'copyFile'].includes(name) ? 1 : 0]),
  );
  if (name !== 'writeFile')
    wrap(fs, `${name}Sync`, (...args) => operation(name, args[['rename', 'link'].includes(name) ? 1 : 0]));
}
wrap(fs.promises, 'open', (path, flags) => changes(flags) && operation('open', path));
wrap(fs, 'openSync', (path, flags) => changes(flags) && operation('open', path));
wrap(fs, 'appendFileSync', (file, data) =>
  operation('append', file, () => typeof file === 'number' && writeSync(file, firstHalf(data))),
);
wrap(fs, 'writeSync', (fd, data) => fd > 2 && operation('write', fd, () => writeSync(fd, firstHalf(data))));
wrap(fs, 'fsyncSync', (fd) => operation('sync', fd));

const handle = await open(new URL(import.meta.url), 'r');
const prototype = Object.getPrototypeOf(handle);
await handle.close();
for (const name of ['write', 'writeFile', 'appendFile']) {
  wrap(prototype, name, function (data) {
    operation('write', this.fd, () => writeSync(this.fd, firstHalf(data)));
  });
}
wrap(prototype, 'sync', function () {
  operation('sync', this.fd);
});
syncBuiltinESMExports();
