/**
 * @file Takes the place of the package global-agent in a clone of this repository (`overrides` in package.json).
 *
 * The install script of onnxruntime-node calls `bootstrap` before it reads its settings, and nothing else uses
 * global-agent. The script would download CUDA libraries from outside the registry; the setting makes it end. It has
 * the same effect as `onnxruntime-node-install=skip` in `.npmrc`, which npm 11 warns about at every command.
 */
exports.bootstrap = () => {
  process.env.ONNXRUNTIME_NODE_INSTALL ??= 'skip';
};
