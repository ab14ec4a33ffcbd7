import { PAGE_SCRIPT } from './page-script.ts';
import { PAGE_STYLE } from './page-style.ts';

/** Page of the server: one file without a network beyond the server itself. */
export const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Undrift</title>
<link rel="icon" href="data:,">
<style>${PAGE_STYLE}</style>
</head>
<body>
<header>
  <h1>Undrift</h1>
  <p id="store" class="soft">&nbsp;</p>
</header>
<main>
  <form id="search" role="search">
    <label for="query" class="hidden">Text to search for</label>
    <input id="query" type="search" autocomplete="off" autofocus placeholder="Search (press / to come back here)">
    <button>Search</button>
    <fieldset>
      <legend>Columns</legend>
      <label><input type="checkbox" name="mode" value="hybrid" checked> hybrid</label>
      <label><input type="checkbox" name="mode" value="dense"> dense</label>
      <label><input type="checkbox" name="mode" value="bm25"> BM25</label>
      <label>filter <input id="filter" placeholder="year>=2020, lang=en" autocomplete="off"></label>
    </fieldset>
    <label id="token-row" hidden>token <input id="token" type="password" autocomplete="off"></label>
  </form>
  <p id="message" role="status" aria-live="polite"></p>
  <section id="results" aria-label="Results"></section>
  <section id="ages" aria-label="Embedding spaces"></section>
</main>
<script>${PAGE_SCRIPT}</script>
</body>
</html>
`;
