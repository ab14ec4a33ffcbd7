/**
 * Colours of a chart and its arms. They differ for every kind of colour vision and have a contrast of at
 * least 3 : 1 to the page.
 */
const LIGHT = ['#0072b2', '#d55e00', '#2b2b2b', '#cc66aa', '#007a5e', '#8a8a8a', '#5b2a86', '#9e1c1c'];
const DARK = ['#56b4e9', '#ff8a3d', '#ececec', '#d977bd', '#17a67d', '#f2d75c', '#8b7bff', '#8a97a8'];
/** Dash patterns, which distinguish lines without colour. */
const DASHES = ['none', '7 3', '2 2.5', '9 3 2 3', '5 2', '12 4', '2 5', '8 2 2 2 2 2'];

const colours = (list: readonly string[]): string =>
  list.map((colour, i) => `--arm-${i}:${colour}`).join(';');

const LIGHT_THEME = `--page:#ffffff;--panel:#f6f7f9;--ink:#1b1f24;--soft:#57606a;--rule:#d0d7de;--grid:#e7eaee;--focus:#0057b8;${colours(LIGHT)}`;
const DARK_THEME = `--page:#14171c;--panel:#1d2229;--ink:#e8ebef;--soft:#a4adb8;--rule:#3a424d;--grid:#2a3038;--focus:#7fb8ff;${colours(DARK)}`;

/** Styles of charts, for a page or a separate SVG file. */
export const CHART_STYLE = `
:root{${LIGHT_THEME};color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{${DARK_THEME}}}
${LIGHT.map((_, i) => `.arm-${i}{--arm:var(--arm-${i})}`).join('')}
${DASHES.map((dash, i) => `.dash-${i}{--dash:${dash}}`).join('')}
svg text{font:12px system-ui,sans-serif;fill:var(--soft)}
svg .label{fill:var(--ink)}
svg .name{fill:var(--ink)}
.grid,.tick,.axis{stroke:var(--grid);fill:none}
.tick,.axis{stroke:var(--rule)}
.line{fill:none;stroke:var(--arm);stroke-width:2;stroke-dasharray:var(--dash);stroke-linejoin:round}
.band{fill:var(--arm);opacity:.16}
.marker{fill:var(--arm);stroke:var(--page);stroke-width:1}
.bar{stroke:var(--arm);stroke-width:1.5}
.leader{stroke:var(--soft);stroke-width:.75}
.trend{fill:none;stroke:var(--soft);stroke-width:1.5;stroke-dasharray:4 3}
`.trim();

/** Styles of the report page except those of its charts. */
export const PAGE_STYLE = `
*{box-sizing:border-box}
body{margin:0 auto;padding:1.25rem 1rem 3rem;max-width:72rem;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.6rem;line-height:1.2;margin:0 0 .25rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2rem 0 .5rem}
h3{font-size:1rem;margin:0;font-weight:600}
p{margin:.25rem 0}
.soft{color:var(--soft);font-size:.9rem}
.scroll{overflow-x:auto;border:1px solid var(--rule);border-radius:6px}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.4rem .65rem;text-align:right;white-space:nowrap;border-top:1px solid var(--rule)}
thead th{background:var(--panel);border-top:0;font-weight:600}
th:first-child{text-align:left;position:sticky;left:0;background:var(--panel)}
tbody th{font-weight:500}
.text td,.text th{text-align:left}
caption{text-align:left;padding:.4rem .65rem;color:var(--soft)}
.legend{display:flex;flex-wrap:wrap;gap:.25rem .4rem;align-items:center;border:1px solid var(--rule);border-radius:6px;padding:.4rem .6rem;margin:1rem 0;background:var(--page);min-width:0}
.legend label{display:flex;align-items:center;gap:.35rem;padding:.3rem .45rem;border-radius:6px;cursor:pointer;min-height:2rem}
.legend label:hover{background:var(--panel)}
.legend input{width:1.05rem;height:1.05rem;margin:0;accent-color:var(--focus)}
.legend label:not(:has(:checked)) span{text-decoration:line-through;color:var(--soft)}
.legend button{font:inherit;font-size:.9rem;color:inherit;background:var(--panel);border:1px solid var(--rule);border-radius:6px;padding:.25rem .6rem;min-height:2rem;cursor:pointer;margin-left:auto}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,26rem),1fr));gap:1.25rem}
.chart{margin:0;min-width:0;border:1px solid var(--rule);border-radius:6px;padding:.75rem .75rem .5rem}
.plot{position:relative;height:300px;margin-top:.25rem;border-radius:4px;touch-action:pan-y}
.plot>svg{display:block;width:100%;height:100%}
.tip{position:absolute;pointer-events:none;max-width:min(20rem,calc(100% - 8px));padding:.35rem .55rem;background:var(--panel);border:1px solid var(--rule);border-radius:6px;font-size:.8rem;line-height:1.35;box-shadow:0 2px 8px rgb(0 0 0/.18);z-index:1}
.tip ul{list-style:none;margin:0;padding:0}
.tip li{display:flex;gap:.35rem;align-items:baseline}
.tip li svg{flex:none}
.cursor path,.cursor circle{fill:none;stroke:var(--ink);stroke-width:1.25}
summary{cursor:pointer;color:var(--soft);font-size:.9rem;padding:.3rem 0}
:focus-visible{outline:2px solid var(--focus);outline-offset:2px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:.5rem 0;font-size:.9rem}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
@media (max-width:480px){body{padding:1rem .5rem 2rem}.chart{padding:.6rem .4rem .4rem}h1{font-size:1.35rem}.legend>.soft{flex-basis:100%}.plot{height:270px}tbody th{white-space:normal;min-width:8.5rem}dl{grid-template-columns:1fr}dd{margin-bottom:.3rem}}
@media (min-width:60rem){.legend{position:sticky;top:0;z-index:2}}
@media print{.legend,details.more{display:none}.chart{break-inside:avoid}}
`.trim();
