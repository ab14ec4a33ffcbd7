import type TypeScript from 'typescript';
import { UsageError } from '../util/errors.ts';
import { cleanDescription } from './jsdoc-text.ts';

type Ts = typeof TypeScript;
type Node = TypeScript.Node;

/** Declaration: its text without comments, and its JSDoc description. */
export interface Declaration {
  /**
   * Text on one line, inside the heads of the enclosing declarations. Overloads with the same description are
   * one declaration.
   */
  readonly document: string;
  /** Cleaned description; undefined if there is none, or none that is useful. */
  readonly description: string | undefined;
  /** Line of the declaration, from 1; undefined for a `.ts` file, whose emitted declarations are read. */
  readonly line: number | undefined;
}

/** Longest document, in characters. A longer declaration is cut at the end of an overload or member. */
const MAX_DOCUMENT_CHARS = 800;

/** Heads of the enclosing declarations, outermost first: `module "fs"`, `interface Dirent`. */
type Heads = readonly string[];

/** Overloads of one name. */
interface Group {
  readonly heads: Heads;
  readonly texts: string[];
  readonly description: string | undefined;
  readonly line: number | undefined;
}

/**
 * Extracts the declarations of a `.d.ts` file in file order: functions, variables, types, interfaces,
 * classes, enums, namespaces, modules, and their members. Private members are left out. For a `.ts` file,
 * reads the declarations that the compiler would emit (exports without bodies).
 *
 * @throws UsageError when the TypeScript version cannot read sources
 */
export function declarationsOf(ts: Ts, file: string, text: string): Declaration[] {
  const isSource = !/\.d\.[cm]?ts$/.test(file);
  if (isSource && typeof ts.transpileDeclaration !== 'function') {
    throw new UsageError(`TypeScript ${ts.version} cannot read sources`, {
      help: 'install TypeScript 5.5 or newer',
    });
  }
  const sourceText = isSource ? ts.transpileDeclaration(text, { fileName: file }).outputText : text;
  const source = ts.createSourceFile(file, sourceText, ts.ScriptTarget.Latest, true, ts.ScriptKind.TS);
  const reader = new DeclarationReader(ts, source, { numbered: !isSource });
  for (const statement of source.statements) reader.visit(statement, []);
  return reader.groups.map(({ heads, texts, description, line }) => ({
    document: wrap(heads, texts),
    description,
    line,
  }));
}

/** Collects the declarations of a file in groups of overloads. */
class DeclarationReader {
  readonly groups: Group[] = [];
  private readonly ts: Ts;
  private readonly source: TypeScript.SourceFile;
  /** Whether line numbers refer to the file itself; false for a `.ts` file, whose emitted declarations are read. */
  private readonly numbered: boolean;
  private readonly printer: TypeScript.Printer;
  /** Groups by name, which a further overload joins if it has no description of its own. */
  private readonly open = new Map<string, Group>();

  constructor(ts: Ts, source: TypeScript.SourceFile, { numbered }: { numbered: boolean }) {
    this.ts = ts;
    this.source = source;
    this.numbered = numbered;
    this.printer = ts.createPrinter({ removeComments: true });
  }

  visit(node: Node, heads: Heads): void {
    const { ts, source } = this;
    if (ts.isModuleDeclaration(node)) this.visitModule(node, heads);
    else if (ts.isInterfaceDeclaration(node) || ts.isClassDeclaration(node)) {
      const clauses = (node.heritageClauses ?? [])
        .map((clause) => ` ${oneLine(clause.getText(source))}`)
        .join('');
      const kind = ts.isClassDeclaration(node) ? 'class' : 'interface';
      const head = `${kind} ${this.nameOf(node)}${typeParameters(node)}`;
      this.visitMembers(heads, node, { head, clauses, members: node.members });
    } else if (ts.isEnumDeclaration(node)) {
      this.visitMembers(heads, node, { head: `enum ${this.nameOf(node)}`, members: node.members });
    } else if (ts.isTypeAliasDeclaration(node)) {
      if (ts.isTypeLiteralNode(node.type)) {
        const head = `type ${this.nameOf(node)}${typeParameters(node)} =`;
        this.visitMembers(heads, node, { head, members: node.type.members });
      } else this.add(heads, `type ${this.nameOf(node)}`, node, this.print(node));
    } else if (ts.isFunctionDeclaration(node)) {
      this.add(heads, `function ${this.nameOf(node)}`, node, this.print(node));
    } else if (ts.isVariableStatement(node)) this.visitVariables(node, heads);
  }

  private visitModule(node: TypeScript.ModuleDeclaration, heads: Heads): void {
    const { ts, source } = this;
    const { body } = node;
    if (body === undefined) return;
    const isGlobal = (node.flags & ts.NodeFlags.GlobalAugmentation) !== 0;
    const head = `${ts.isStringLiteral(node.name) ? 'module' : 'namespace'} ${this.nameOf(node)}`;
    if (ts.isModuleDeclaration(body)) {
      this.visit(body, [...heads, head]); // `namespace A.B`
      return;
    }
    if (!ts.isModuleBlock(body)) return;
    if (!isGlobal) {
      const names = new Set(body.statements.flatMap((statement) => statementNames(ts, statement, source)));
      const members = [...names].map((name) => ({ name, text: `${name};` }));
      this.addContainer(heads, node, head, members);
    }
    for (const statement of body.statements) this.visit(statement, isGlobal ? heads : [...heads, head]);
  }

  private visitVariables(node: TypeScript.VariableStatement, heads: Heads): void {
    const { ts } = this;
    const keyword = (node.declarationList.flags & ts.NodeFlags.Const) !== 0 ? 'const' : 'var';
    for (const variable of node.declarationList.declarations) {
      const head = `${keyword} ${this.nameOf(variable)}`;
      if (variable.type !== undefined && ts.isTypeLiteralNode(variable.type)) {
        this.visitMembers(heads, node, { head: `${head}:`, members: variable.type.members });
      } else this.add(heads, head, node, `${keyword} ${this.print(variable)};`);
    }
  }

  /**
   * Adds a declaration and each of its members.
   *
   * @param of.clauses  `extends` and bounds of type parameters. They are part of the container's own document
   *   only, because they are noise for members
   */
  private visitMembers(
    heads: Heads,
    node: Node,
    { head, clauses = '', members }: { head: string; clauses?: string; members: Iterable<Node> },
  ): void {
    const { ts, source } = this;
    const visible = [...members].filter(
      (member) => !isPrivate(ts, member) && !isPrototype(ts, member, source),
    );
    const parts = visible.map((member) => ({
      name: memberName(ts, member, source),
      text: this.print(member),
    }));
    this.addContainer(heads, node, head + clauses, parts);
    for (const [i, member] of visible.entries()) {
      const { name, text } = parts[i]!;
      this.add([...heads, head], `${isStatic(ts, member) ? 'static ' : ''}${name}`, member, text);
    }
  }

  /** Adds a declaration with members: in full if it is short, otherwise its head and the names of its members. */
  private addContainer(
    heads: Heads,
    node: Node,
    head: string,
    members: readonly { name: string; text: string }[],
  ): void {
    const texts = members.map(({ text }) => text);
    const whole = wrap([head], texts);
    const names = [...new Set(members.map(({ name }) => name).filter((name) => name !== ''))];
    const short = names.map((name) => `${name};`);
    const text = whole.length <= MAX_DOCUMENT_CHARS / 2 ? whole : wrap([head], short);
    this.add(heads, head, node, text);
  }

  private add(heads: Heads, key: string, node: Node, text: string): void {
    const { ts, source } = this;
    const id = [...heads, key].join('\0');
    const description = cleanDescription(rawComment(ts, node));
    const before = this.open.get(id);
    if (before !== undefined && (description === undefined || description === before.description)) {
      if (!before.texts.includes(text)) before.texts.push(text);
      return;
    }
    const line = this.numbered
      ? source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1
      : undefined;
    const group = { heads, texts: [text], description, line };
    this.open.set(id, group);
    this.groups.push(group);
  }

  private print(node: Node): string {
    const text = this.printer.printNode(this.ts.EmitHint.Unspecified, node, this.source);
    return oneLine(text).replace(/^(export |declare |default )+/, '');
  }

  private nameOf(node: TypeScript.NamedDeclaration): string {
    return node.name?.getText(this.source) ?? '';
  }
}

/** Builds `head { head { text text } }` with as many texts as fit, but at least part of the first. */
function wrap(heads: Heads, texts: readonly string[]): string {
  const before = heads.map((head) => `${head} { `).join('');
  const after = ' }'.repeat(heads.length);
  let inside = '';
  for (const text of texts) {
    if (inside !== '' && before.length + inside.length + text.length + after.length > MAX_DOCUMENT_CHARS)
      break;
    inside += inside === '' ? text : ` ${text}`;
  }
  const room = Math.max(80, MAX_DOCUMENT_CHARS - before.length - after.length);
  return before + (inside.length > room ? `${inside.slice(0, room)} …` : inside) + after;
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}

/** Type parameters as `<K, V>`: names without bounds. */
function typeParameters(
  node: TypeScript.InterfaceDeclaration | TypeScript.ClassDeclaration | TypeScript.TypeAliasDeclaration,
): string {
  const names = (node.typeParameters ?? []).map((parameter) => parameter.name.text);
  return names.length === 0 ? '' : `<${names.join(', ')}>`;
}

/**
 * Recognises `prototype: X`, which a `.d.ts` file has beside `new(): X` to declare a class; it carries no
 * information.
 */
function isPrototype(ts: Ts, member: Node, source: TypeScript.SourceFile): boolean {
  return ts.isPropertySignature(member) && member.name.getText(source) === 'prototype';
}

function statementNames(ts: Ts, statement: Node, source: TypeScript.SourceFile): string[] {
  if (ts.isVariableStatement(statement)) {
    return statement.declarationList.declarations.map(({ name }) => name.getText(source));
  }
  const { name } = statement as TypeScript.NamedDeclaration;
  return name === undefined ? [] : [name.getText(source)];
}

function memberName(ts: Ts, member: Node, source: TypeScript.SourceFile): string {
  if (ts.isConstructSignatureDeclaration(member)) return 'new';
  if (ts.isConstructorDeclaration(member)) return 'constructor';
  const { name } = member as TypeScript.NamedDeclaration;
  return name === undefined ? '' : name.getText(source);
}

function isPrivate(ts: Ts, member: Node): boolean {
  const { name } = member as TypeScript.NamedDeclaration;
  if (name !== undefined && ts.isPrivateIdentifier(name)) return true;
  return ts.canHaveModifiers(member) && hasModifier(ts, member, ts.SyntaxKind.PrivateKeyword);
}

function isStatic(ts: Ts, member: Node): boolean {
  return ts.canHaveModifiers(member) && hasModifier(ts, member, ts.SyntaxKind.StaticKeyword);
}

function hasModifier(ts: Ts, member: TypeScript.HasModifiers, kind: TypeScript.SyntaxKind): boolean {
  return ts.getModifiers(member)?.some((modifier) => modifier.kind === kind) ?? false;
}

/** Text of the nearest JSDoc block, without its tags. */
function rawComment(ts: Ts, node: Node): string {
  const block = ts.getJSDocCommentsAndTags(node).findLast((entry) => ts.isJSDoc(entry));
  return ts.getTextOfJSDocComment(block?.comment) ?? '';
}
