import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, it } from 'vitest';
import { TRAIN_OPTIONS } from '../src/train/options.ts';

it('every option shows a comment in an editor', { timeout: 60_000 }, () => {
  const file = fileURLToPath(new URL('../src/train/options.ts', import.meta.url));
  const program = ts.createProgram([file], {
    strict: true,
    noEmit: true,
    allowImportingTsExtensions: true,
    exactOptionalPropertyTypes: true,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    skipLibCheck: true,
  });
  const checker = program.getTypeChecker();
  const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(file)!)!);
  const type = checker.getDeclaredTypeOfSymbol(exported.find(({ name }) => name === 'TrainOptions')!);
  const members = checker.getPropertiesOfType(type);
  expect(members.length).toBeGreaterThan(80);
  for (const member of members) {
    // Options of a caller's own method have a place of their own.
    if (member.name !== 'methodOptions') expect(TRAIN_OPTIONS).toHaveProperty(member.name);
    const comment = ts.displayPartsToString(member.getDocumentationComment(checker));
    expect(comment, member.name).toMatch(/^[A-Z`].+/);
  }
});
