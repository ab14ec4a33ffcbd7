/**
 * @file Keeps onnxruntime-node from downloading CUDA libraries from outside the registry when Undrift is installed as
 * a dependency.
 *
 * On Linux x64 the `postinstall` script of onnxruntime-node downloads the libraries that are not there yet, and its
 * failure ends the installation. npm runs the `preinstall` scripts of all packages before any `postinstall` script.
 * This one therefore writes an empty file in the place of each library. Undrift on the CPU and on WebGPU does not
 * load them. `ONNXRUNTIME_NODE_INSTALL=true npm rebuild onnxruntime-node` replaces them by the libraries.
 *
 * Nothing is written where the user has decided for or against the download, where the project depends on
 * onnxruntime-node itself, and in a clone of this repository.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Environment variables by which the script of onnxruntime-node is told what to do. */
const SETTINGS = [
  'ONNXRUNTIME_NODE_INSTALL',
  'ONNXRUNTIME_NODE_INSTALL_CUDA',
  'npm_config_onnxruntime_node_install',
  'npm_config_onnxruntime_node_install_cuda',
];

const here = fileURLToPath(import.meta.url);
const isDependency = here.split(sep).includes('node_modules');
const isDecided =
  SETTINGS.some((name) => process.env[name]) || ownDependency(process.env.npm_config_local_prefix);

if (isDependency && !isDecided) {
  try {
    for (const file of missingLibraries()) {
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, '', { flag: 'wx' });
    }
  } catch (error) {
    // npm shows this if a later script fails.
    console.error(
      `undrift could not keep onnxruntime-node from downloading CUDA libraries (${error.message}). ` +
        'If the installation fails, install with ONNXRUNTIME_NODE_INSTALL=skip in the environment.',
    );
  }
}

/** Tells whether the project in a folder depends on onnxruntime-node itself. */
function ownDependency(folder) {
  if (!folder) return false;
  try {
    const project = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    return [project.dependencies, project.optionalDependencies, project.devDependencies].some(
      (list) => list && 'onnxruntime-node' in list,
    );
  } catch {
    return false;
  }
}

/** Lists the paths of the libraries that the script of onnxruntime-node would download. */
function missingLibraries() {
  const require = createRequire(here);
  const folder = dirname(require.resolve('onnxruntime-node/package.json'));
  const { requirements, manifests } = require(join(folder, 'script', 'install-metadata.js'));
  const platform = `${process.platform}/${process.arch}`;
  return (requirements[platform] ?? [])
    .flatMap((name) => Object.keys(manifests[`${platform}:${name}`] ?? {}))
    .map((file) => join(folder, 'bin', 'napi-v6', platform, file))
    .filter((file) => !existsSync(file));
}
