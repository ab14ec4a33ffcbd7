/**
 * Makes the API reference from the comments of the code, as a website in docs/api/ (not committed):
 *
 *     npm run docs:api
 *
 * Every entry point of package.json is a module of the reference. A warning is treated as an error. Examples
 * are a type in a public signature that no entry point exports, a link to a name that does not exist, and a
 * description of a parameter that a function does not have.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Application, Converter, type SignatureReflection } from 'typedoc';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { exports } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as {
  exports: Readonly<Record<string, string | { readonly default: string }>>;
};
const entryPoints = Object.values(exports).flatMap((entry) => {
  const built = typeof entry === 'string' ? entry : entry.default;
  return built.endsWith('.js') ? [root + built.replace(/^\.\/dist\/(.*)\.js$/, 'src/$1.ts')] : [];
});

const app = await Application.bootstrap({
  name: 'Undrift',
  entryPoints,
  tsconfig: `${root}tsconfig.build.json`,
  basePath: root,
  out: `${root}docs/api`,
  readme: 'none',
  includeVersion: true,
  excludeInternal: true,
  excludePrivate: true,
  blockTags: [
    '@module',
    '@param',
    '@returns',
    '@throws',
    '@yields',
    '@example',
    '@file',
    '@paper',
    '@verified',
  ],
  // Paths of the checkout, relative to a page such as docs/api/classes/Graph.html.
  disableGit: true,
  sourceLinkTemplate: '../../../{path}',
});

/** Names a destructured parameter as its comment does: `options` for `@param options.seed`. */
app.converter.on(Converter.EVENT_CREATE_SIGNATURE, (_, signature: SignatureReflection) => {
  const unnamed = signature.parameters?.find(({ name }) => name === '__namedParameters');
  const tags = signature.comment?.blockTags.filter(({ tag }) => tag === '@param') ?? [];
  const isParameter = (name: string) => signature.parameters?.some((parameter) => parameter.name === name);
  // TypeDoc itself takes the first name that no parameter has.
  const named = tags.some(({ name }) => name && !name.includes('.') && !isParameter(name));
  if (unnamed && !named)
    unnamed.name = tags.find(({ name }) => name?.includes('.'))?.name?.split('.')[0] ?? 'options';
});

const project = await app.convert();
if (project) {
  app.validate(project);
  await app.generateOutputs(project);
}
if (!project || app.logger.hasErrors() || app.logger.hasWarnings()) process.exitCode = 1;
