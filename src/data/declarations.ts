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
  const printer = ts.createPrinter({ removeComments: true });
  const groups: Group[] = [];
  /** The group that a further overload of the same name joins if it is not described anew. */
  const open = new Map<string, Group>();

  const print = (node: Node): string =>
    oneLine(printer.printNode(ts.EmitHint.Unspecified, node, source)).replace(
      /^(export |declare |default )+/,
      '',
    );
  const nameOf = (node: TypeScript.NamedDeclaration): string => node.name?.getText(source) ?? '';

  const add = (heads: Heads, key: string, node: Node, text: string): void => {
    const id = [...heads, key].join('\0');
    const description = cleanDescription(rawComment(ts, node));
    const before = open.get(id);
    if (before !== undefined && (description === undefined || description === before.description)) {
      if (!before.texts.includes(text)) before.texts.push(text);
      return;
    }
    const line = isSource ? undefined : source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
    const group = { heads, texts: [text], description, line };
    open.set(id, group);
    groups.push(group);
  };

  /** A thing with members: the whole if it is short, otherwise its head and the names of its members. */
  const addContainer = (
    heads: Heads,
    node: Node,
    head: string,
    members: readonly { name: string; text: string }[],
  ): void => {
    const whole = wrap(
      [head],
      members.map(({ text }) => text),
    );
    const names = [...new Set(members.map(({ name }) => name).filter((name) => name !== ''))];
    const text =
      whole.length <= MAX_DOCUMENT_CHARS / 2
        ? whole
        : wrap(
            [head],
            names.map((name) => `${name};`),
          );
    add(heads, head, node, text);
  };

  /** `clauses` (extends, type parameters' bounds) stand in the container's own document only: to a member they are noise. */
  const visitMembers = (
    heads: Heads,
    node: Node,
    head: string,
    clauses: string,
    members: Iterable<Node>,
  ): void => {
    const visible = [...members].filter(
      (member) => !isPrivate(ts, member) && !isPrototype(ts, member, source),
    );
    const parts = visible.map((member) => ({ name: memberName(ts, member, source), text: print(member) }));
    addContainer(heads, node, head + clauses, parts);
    for (const [i, member] of visible.entries()) {
      const { name, text } = parts[i]!;
      add([...heads, head], `${isStatic(ts, member) ? 'static ' : ''}${name}`, member, text);
    }
  };

  const visit = (node: Node, heads: Heads): void => {
    if (ts.isModuleDeclaration(node)) {
      const { body } = node;
      if (body === undefined) return;
      const isGlobal = (node.flags & ts.NodeFlags.GlobalAugmentation) !== 0;
      const head = `${ts.isStringLiteral(node.name) ? 'module' : 'namespace'} ${nameOf(node)}`;
      if (ts.isModuleDeclaration(body)) {
        visit(body, [...heads, head]); // `namespace A.B`
      } else if (ts.isModuleBlock(body)) {
        if (!isGlobal) {
          const names = body.statements.flatMap((statement) => statementNames(ts, statement, source));
          addContainer(
            heads,
            node,
            head,
            [...new Set(names)].map((name) => ({ name, text: `${name};` })),
          );
        }
        for (const statement of body.statements) visit(statement, isGlobal ? heads : [...heads, head]);
      }
    } else if (ts.isInterfaceDeclaration(node) || ts.isClassDeclaration(node)) {
      const clauses = (node.heritageClauses ?? [])
        .map((clause) => ` ${oneLine(clause.getText(source))}`)
        .join('');
      const kind = ts.isClassDeclaration(node) ? 'class' : 'interface';
      visitMembers(heads, node, `${kind} ${nameOf(node)}${typeParameters(node)}`, clauses, node.members);
    } else if (ts.isEnumDeclaration(node)) {
      visitMembers(heads, node, `enum ${nameOf(node)}`, '', node.members);
    } else if (ts.isTypeAliasDeclaration(node)) {
      if (ts.isTypeLiteralNode(node.type)) {
        visitMembers(heads, node, `type ${nameOf(node)}${typeParameters(node)} =`, '', node.type.members);
      } else add(heads, `type ${nameOf(node)}`, node, print(node));
    } else if (ts.isFunctionDeclaration(node)) {
      add(heads, `function ${nameOf(node)}`, node, print(node));
    } else if (ts.isVariableStatement(node)) {
      const keyword = (node.declarationList.flags & ts.NodeFlags.Const) !== 0 ? 'const' : 'var';
      for (const variable of node.declarationList.declarations) {
        const head = `${keyword} ${nameOf(variable)}`;
        if (variable.type !== undefined && ts.isTypeLiteralNode(variable.type)) {
          visitMembers(heads, node, `${head}:`, '', variable.type.members);
        } else add(heads, head, node, `${keyword} ${print(variable)};`);
      }
    }
  };
  for (const statement of source.statements) visit(statement, []);

  return groups.map(({ heads, texts, description, line }) => ({
    document: wrap(heads, texts),
    description,
    line,
  }));
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
