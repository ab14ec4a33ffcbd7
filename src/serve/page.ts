import { readFileSync } from 'node:fs';
import { builtScript } from '../util/built-script.ts';
import { PAGE_STYLE } from './page-style.ts';

/** File that the page loads from its server. */
export interface PageFile {
  readonly path: string;
  readonly type: 'text/javascript' | 'text/css';
  readonly text: string;
}

/** Modules of the page's script, in `browser/`. Each is served as it is built. */
const MODULES = [
  'address',
  'age-picture',
  'answer-view',
  'api',
  'citations',
  'cluster-view',
  'dom',
  'event-stream',
  'follow',
  'keys',
  'main',
  'passage-text',
  'progress',
  'rankings',
  'result-list',
  'store-view',
];

/** Reads the files of the page. */
export function pageFiles(): PageFile[] {
  const modules = MODULES.map((name): PageFile => {
    const built = readFileSync(builtScript(`serve/browser/${name}`), 'utf8');
    const text = built.replace(/^\/\/# sourceMappingURL=.*$/m, '');
    return { path: `/page/${name}.js`, type: 'text/javascript', text };
  });
  return [...modules, { path: '/page/style.css', type: 'text/css', text: PAGE_STYLE }];
}

/** Headers of the page. It loads nothing but its own files, and stands in no frame. */
export const PAGE_HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; " +
    "form-action 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-cache',
};

const preloads = MODULES.map((name) => `<link rel="modulepreload" href="page/${name}.js">`).join('\n');

/** The part that describes a store. */
const STORE = `  <section id="work" aria-labelledby="work-title" hidden>
    <h2 id="work-title">Migration</h2>
    <div id="work-bar" class="bar large" role="progressbar" aria-labelledby="work-title" aria-valuemin="0" aria-valuemax="100" aria-valuenow="0"><span></span></div>
    <p id="work-text" class="soft">&nbsp;</p>
  </section>
  <section id="corpus" class="absent" aria-labelledby="corpus-title">
    <div class="column-head">
      <h2 id="corpus-title">Ages of the vectors</h2>
      <label class="soft">coloured by <select id="age-by"><option value="version">version</option><option value="time">time</option></select></label>
    </div>
    <figure>
      <div id="age-picture"></div>
      <figcaption id="age-block" class="soft">&nbsp;</figcaption>
      <ul id="age-legend" aria-label="Passages by version"></ul>
    </figure>
    <h2>Models</h2>
    <ul id="models" class="cards"></ul>
  </section>
`;

/** The part that describes a cluster. */
const CLUSTER = `  <section id="cluster" class="absent" aria-labelledby="cluster-title">
    <div class="column-head">
      <h2 id="cluster-title">Versions of the vectors</h2>
      <span id="cluster-text" class="soft">&nbsp;</span>
    </div>
    <div id="cluster-bar" class="bar large shares" role="img"></div>
    <ul id="age-legend" aria-label="Passages by version"></ul>
    <h2>Shards</h2>
    <ul id="shards" class="cards"></ul>
    <h2>Workers</h2>
    <ul id="workers" class="cards"></ul>
    <div id="given-up" hidden>
      <h2>Blocks given up</h2>
      <ul id="letters"></ul>
    </div>
  </section>
`;

/**
 * Makes the page of the server. All addresses are relative, so that a proxy can serve it below a path.
 *
 * @param of  what the server searches
 * @param options.hasAnswers  whether the server has a language model
 */
export const pageHtml = (
  of: 'store' | 'cluster',
  { hasAnswers = false }: { readonly hasAnswers?: boolean } = {},
): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Undrift</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="page/style.css">
${preloads}
<script type="module" src="page/main.js"></script>
</head>
<body>
<header>
  <h1>Undrift</h1>
  <p id="store" class="soft">&nbsp;</p>
</header>
<main>
  <form id="search" role="search">
    <label for="query" class="unseen">Text to search for</label>
    <input id="query" type="search" autocomplete="off" autocapitalize="off" spellcheck="false" autofocus placeholder="Search the passages">
    <button>Search</button>
${hasAnswers ? '    <button id="ask">Answer</button>\n' : ''}    <div class="settings">
      <label>Ranking A <select id="first" disabled><option>Hybrid</option></select></label>
      <label>beside B <select id="second" disabled><option>nothing</option></select></label>
      <label>Filter <input id="filter" type="text" placeholder="year>=2020, lang=en" autocomplete="off" autocapitalize="off" spellcheck="false"></label>
    </div>
    <label id="token-row" hidden>Token <input id="token" type="password" autocomplete="off"></label>
  </form>
  <p id="message" role="status" aria-live="polite"></p>
  <section id="answer" aria-labelledby="answer-title" hidden>
    <div class="column-head">
      <h2 id="answer-title">Answer</h2>
      <span id="answer-message" class="soft" role="status"></span>
      <button id="answer-stop" type="button" hidden>Stop</button>
    </div>
    <p id="answer-text"></p>
    <ol id="answer-passages" aria-label="Passages of the answer"></ol>
  </section>
  <section id="results" aria-label="Results" aria-busy="false"></section>
  <p class="soft keys" aria-hidden="true"><kbd>/</kbd> search <kbd>↑</kbd><kbd>↓</kbd><kbd>←</kbd><kbd>→</kbd> results <kbd>Enter</kbd> whole passage <kbd>Esc</kbd> back</p>
${of === 'cluster' ? CLUSTER : STORE}</main>
<noscript><p>This page needs JavaScript. The same searches are answered by <code>POST /search</code>.</p></noscript>
</body>
</html>
`;
