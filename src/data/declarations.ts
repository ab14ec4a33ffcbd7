import type TypeScript from 'typescript';
import { UsageError } from '../util/errors.ts';
import { cleanDescription } from './jsdoc-text.ts';

type Ts = typeof TypeScript;
type Node = TypeScript.Node;

/** A declaration: its text without comments, and what its JSDoc says about it. */
export interface Declaration {
  /** On one line, inside the heads of what it is declared in. Overloads that share a description are one declaration. */
  readonly document: string;
  /** The cleaned description, or undefined where nothing (or nothing useful) is written. */
  readonly description: string | undefined;
  /** 1-based line where it begins; undefined for a `.ts` file, of which the emitted declarations are read. */
  readonly line: number | undefined;
}

/** Longest document. A longer declaration is cut at the end of an overload or member. */
const MAX_DOCUMENT_CHARS = 800;

/** What a declaration lies in, outermost first: `module "fs"`, `interface Dirent`. */
type Heads = readonly string[];

/** Overloads of one name. */
interface Group {
  readonly heads: Heads;
  readonly texts: string[];
  readonly description: string | undefined;
  readonly line: number | undefined;
}

/**
 * The declarations of a `.d.ts` file in the order of the file: functions, variables, types, interfaces, classes, enums,
 * namespaces, modules, and their members. Private members are left out. Of a `.ts` file, the declarations that the compiler
 * would emit for it (what is exported, without bodies).
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
  /** Whether lines are those of the file itself. */
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
   * @param of.clauses  `extends` and bounds of type parameters, which stand in the container's own document only: in a member's they
   *   are noise
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

  /** Adds something with members: whole if it is short, otherwise its head and the names of its members. */
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

/** `head { head { text text } }`, with as many texts as fit, but at least (a part of) the first. */
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

/** `<K, V>`: names only. */
function typeParameters(
  node: TypeScript.InterfaceDeclaration | TypeScript.ClassDeclaration | TypeScript.TypeAliasDeclaration,
): string {
  const names = (node.typeParameters ?? []).map((parameter) => parameter.name.text);
  return names.length === 0 ? '' : `<${names.join(', ')}>`;
}

/** `prototype: X` beside `new(): X` is how a `.d.ts` file spells a class: it tells nothing. */
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

/** The text of the nearest JSDoc block before its tags. */
function rawComment(ts: Ts, node: Node): string {
  const block = ts.getJSDocCommentsAndTags(node).findLast((entry) => ts.isJSDoc(entry));
  return ts.getTextOfJSDocComment(block?.comment) ?? '';
}
