/**
 * @file The part of the browser's DOM that the page uses. The package is compiled without the types of browsers.
 */

/** Element of the page. */
export interface PageElement {
  textContent: string | null;
  className: string;
  hidden: boolean;
  readonly dataset: Record<string, string | undefined>;
  readonly style: { width: string; fill: string; setProperty(name: string, value: string): void };
  readonly classList: { toggle(name: string, force: boolean): void; contains(name: string): boolean };
  readonly children: ArrayLike<PageElement> & Iterable<PageElement>;
  readonly parentElement: PageElement | null;
  append(...nodes: (PageElement | string)[]): void;
  replaceChildren(...nodes: (PageElement | string)[]): void;
  setAttribute(name: string, value: string): void;
  removeAttribute(name: string): void;
  getAttribute(name: string): string | null;
  querySelectorAll(selector: string): Iterable<PageElement>;
  querySelector(selector: string): PageElement | null;
  closest(selector: string): PageElement | null;
  matches(selector: string): boolean;
  focus(options?: { preventScroll?: boolean }): void;
  scrollIntoView(options: { block: 'nearest'; inline?: 'nearest' }): void;
  addEventListener(name: string, listener: (event: PageEvent) => void): void;
}

/** Field of a form. */
export interface PageField extends PageElement {
  value: string;
  disabled: boolean;
  select(): void;
}

/** Event of the page. */
export interface PageEvent {
  readonly target: PageElement;
  readonly key: string;
  readonly altKey: boolean;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly submitter?: PageElement | null;
  preventDefault(): void;
}

interface PageDocument {
  readonly activeElement: PageElement | null;
  readonly hidden: boolean;
  title: string;
  getElementById(id: string): PageElement | null;
  createElement(tag: string): PageElement;
  createElementNS(space: string, tag: string): PageElement;
  querySelectorAll(selector: string): Iterable<PageElement>;
  addEventListener(name: string, listener: (event: PageEvent) => void): void;
}

declare const document: PageDocument;

/** Document of the page. */
export const page: PageDocument = typeof document === 'undefined' ? (undefined as never) : document;

/** Returns the element of an id that the page's HTML has. */
export const byId = (id: string): PageElement => page.getElementById(id)!;

/** Returns the form field of an id. */
export const fieldOf = (id: string): PageField => byId(id) as PageField;

type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;

/** Makes an element. Texts become text nodes, never HTML. Attributes that are undefined or false are left out. */
export const make = (
  tag: string,
  attributes: Attributes = {},
  ...children: (PageElement | string)[]
): PageElement => filled(page.createElement(tag), attributes, children);

/** Makes an element of SVG. */
export const makeSvg = (
  tag: string,
  attributes: Attributes = {},
  ...children: (PageElement | string)[]
): PageElement => filled(page.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);

function filled(element: PageElement, attributes: Attributes, children: (PageElement | string)[]) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false)
      element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children);
  return element;
}
