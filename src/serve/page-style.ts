/** Styles of the page of the server. */
export const PAGE_STYLE = `
:root{--page:#fff;--panel:#f6f7f9;--ink:#1b1f24;--soft:#57606a;--rule:#d0d7de;--focus:#0057b8;--mark:#fff0a8;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--page:#14171c;--panel:#1d2229;--ink:#e8ebef;--soft:#a4adb8;--rule:#3a424d;--focus:#7fb8ff;--mark:#5c4a00}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem 1rem 3rem;max-width:80rem;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
header{display:flex;flex-wrap:wrap;gap:0 1rem;align-items:baseline;margin-bottom:.75rem}
h1{font-size:1.4rem;margin:0}
h2{font-size:1rem;margin:0 0 .5rem}
.soft{color:var(--soft);font-size:.9rem;margin:0}
.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
form{display:grid;grid-template-columns:1fr auto;gap:.5rem}
input,button{font:inherit;color:inherit;background:var(--page);border:1px solid var(--rule);border-radius:6px;padding:.5rem .7rem;min-height:2.5rem;min-width:0}
button{background:var(--focus);border-color:var(--focus);color:var(--page);font-weight:600;cursor:pointer}
input:focus-visible,button:focus-visible,li:focus-visible{outline:2px solid var(--focus);outline-offset:2px}
fieldset{grid-column:1/-1;border:0;padding:0;margin:0;display:flex;flex-wrap:wrap;gap:.25rem 1rem;align-items:center}
legend{float:left;margin-right:1rem;color:var(--soft);font-size:.9rem}
fieldset label{display:flex;align-items:center;gap:.4rem;min-height:2.5rem}
input[type=checkbox]{width:1.1rem;min-height:1.1rem;accent-color:var(--focus)}
#token-row{grid-column:1/-1}
#message{min-height:1.5rem;margin:.5rem 0;color:var(--soft)}
#results{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1rem}
ol{list-style:none;margin:0;padding:0;display:grid;gap:.6rem}
li{border:1px solid var(--rule);border-radius:6px;padding:.6rem .75rem;background:var(--panel);overflow-wrap:anywhere}
li h3{font-size:1rem;margin:0}
li p{margin:.15rem 0 0;max-height:9em;overflow:auto;white-space:pre-line}
.facts{display:flex;flex-wrap:wrap;gap:0 .75rem;color:var(--soft);font-size:.85rem;font-variant-numeric:tabular-nums}
mark{background:var(--mark);color:inherit;border-radius:2px}
#ages{margin-top:2rem}
.bar{display:flex;height:1rem;border-radius:6px;overflow:hidden;border:1px solid var(--rule);background:var(--panel)}
.bar span{background:var(--focus)}
.space{margin:.5rem 0}
`.trim();
