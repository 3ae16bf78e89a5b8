"use strict";
// Tables that sort and filter, the theme, printing. Nothing is fetched: large tables lie in the page as one JSON island
// (column by column, text as numbers of levels), small ones as rows of HTML; both behave alike.

const RENDERED = 2000; // rows that are put on the screen at once; filter, sorting and CSV take all
const PRINTED = 25; // rows of a table that go on paper
const FEW = 12; // a text column with at most this many values, none of them long, gets a select

const island = document.getElementById("data");
const DATA = island ? JSON.parse(island.textContent) : {tables: {}};

const SVG = new DOMParser().parseFromString("<svg></svg>", "text/html").querySelector("svg").namespaceURI;

/** An element with these properties (or attributes, where the name has a dash or the element is SVG) and children. */
function make(tag, given = {}, ...children) {
  const svg = /^(svg|g|path|line|text|circle|rect)$/.test(tag);
  const element = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (svg || /-/.test(name) || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** A number as the tables show it: four digits, no digit before the point lost; page.py has the same rule. */
function shown(value) {
  const size = Math.abs(value);
  let text;
  if (Number.isInteger(value)) text = String(value);
  else if (size >= 1000) text = value.toFixed(0);
  else if (size < 1e-4) text = value.toExponential(1);
  else text = String(Number(value.toPrecision(4)));
  return text.replaceAll("-", "−");
}

/** The values of one column of a table of the island: text, numbers, or null where a cell is empty. */
function column(table, i) {
  const {levels, codes, values} = table.columns[i];
  return levels ? codes.map((code) => levels[code]) : values;
}

/** One object a row, keys are the column names. */
function records(name) {
  const table = DATA.tables[name];
  if (!table) return [];
  const columns = table.columns.map((_, i) => column(table, i));
  return Array.from({length: table.rows}, (_, r) =>
    Object.fromEntries(table.columns.map((c, i) => [c.name, columns[i][r]])));
}

function csv(names, rows) {
  const cell = (value) => {
    const text = value === null ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [names, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

/** Two buttons, download and copy, for what `content()` gives; `say` tells what happened. */
function csvButtons(name, content, say) {
  const download = make("button", {type: "button", textContent: "Download CSV"});
  download.addEventListener("click", () => {
    const link = make("a", {href: URL.createObjectURL(new Blob([content()], {type: "text/csv"})), download: `${name}.csv`});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    say(`${name}.csv was made`);
  });
  const copy = make("button", {type: "button", textContent: "Copy CSV"});
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(content());
      say("copied");
    } catch {
      say("the browser does not allow copying; use Download CSV");
    }
  });
  return [download, copy];
}

function fromIsland(table) {
  const columns = table.columns.map((_, i) => column(table, i));
  return Array.from({length: table.rows}, (_, r) => {
    const values = columns.map((c) => c[r]);
    return {values, text: values.join("\n").toLowerCase(), element: null};
  });
}

function fromPage(body, numeric) {
  return [...body.rows].map((element) => {
    const values = [...element.cells].map((cell, i) => {
      if (!numeric[i]) return cell.title || cell.textContent;
      return cell.dataset.v === undefined ? null : Number(cell.dataset.v);
    });
    return {values, text: `${values.join("\n")}\n${element.textContent}`.toLowerCase(), element};
  });
}

/** The row as HTML, made when it is first seen. */
function rowElement(row, table) {
  if (row.element) return row.element;
  row.element = make("tr");
  row.values.forEach((value, i) => {
    const {number, short} = table.columns[i];
    const cell = make("td");
    if (number) {
      cell.className = "n";
      if (value !== null) {
        cell.dataset.v = value;
        cell.textContent = shown(value);
      }
    } else if (short && value.length > 12) {
      cell.title = value;
      cell.textContent = `${value.slice(0, 12)}…`;
    } else {
      cell.textContent = value;
      if (value.length > 40) cell.className = "long";
    }
    row.element.append(cell);
  });
  return row.element;
}

function compare(numeric, up) {
  return (a, b) => {
    if (a === null || b === null || a === "" || b === "") return (a === null || a === "") - (b === null || b === "");
    const order = numeric ? a - b : a.localeCompare(b, "en", {numeric: true});
    return up ? order : -order;
  };
}

function enhance(table) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const names = heads.map((th) => th.textContent);
  const numeric = heads.map((th) => th.classList.contains("n"));
  const inside = DATA.tables[table.dataset.json];
  const box = table.closest(".wide");
  const count = make("p", {className: "count", role: "status"});
  const search = make("input", {type: "search"});
  const selects = new Map(); // number of a column -> its select
  let rows = null, seen = [], sorted = "";

  function load() {
    if (rows) return;
    rows = inside ? fromIsland(inside) : fromPage(body, numeric);
    seen = rows;
    if (!table.dataset.filters) return;
    names.forEach((name, i) => {
      if (numeric[i]) return;
      const levels = [...new Set(rows.map((row) => row.values[i]))].sort((a, b) => compare(false, true)(a, b));
      if (levels.length < 2 || levels.length > FEW || levels.some((level) => level.length > 40)) return;
      const select = make("select", {}, make("option", {textContent: "all"}),
        ...levels.map((level) => make("option", {textContent: level || "(empty)"})));
      select.addEventListener("change", filter);
      selects.set(i, {select, levels});
      fields.append(make("label", {}, name, select));
    });
    fields.append(...buttons);
    draw();
  }

  function draw(extra = "") {
    const listed = seen.slice(0, RENDERED);
    const elements = listed.map((row) => rowElement(row, inside));
    elements.forEach((element, i) => element.classList.toggle("more", i >= PRINTED));
    body.replaceChildren(...elements);
    paper(seen.length);
    if (!table.dataset.filters) return;
    const rest = seen.length > RENDERED ? `; the first ${RENDERED} are listed, filter, sorting and CSV take all` : "";
    count.textContent = `${seen.length} of ${rows.length} rows${rest}${sorted}${extra && `; ${extra}`}`;
  }

  function filter() {
    load();
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = [...selects].filter(([, {select}]) => select.selectedIndex > 0)
      .map(([i, {select, levels}]) => [i, levels[select.selectedIndex - 1]]);
    seen = rows.filter((row) => words.every((word) => row.text.includes(word))
      && chosen.every(([i, level]) => row.values[i] === level));
    draw();
  }

  function sort(i) {
    load();
    const up = heads[i].getAttribute("aria-sort") !== "ascending";
    heads.forEach((th) => th.removeAttribute("aria-sort"));
    heads[i].setAttribute("aria-sort", up ? "ascending" : "descending");
    sorted = `; sorted by ${names[i]}, ${up ? "ascending" : "descending"}`;
    const order = compare(numeric[i], up);
    rows.sort((a, b) => order(a.values[i], b.values[i]));
    filter();
  }

  heads.forEach((th, i) => {
    const button = make("button", {type: "button", textContent: names[i]});
    button.addEventListener("click", () => sort(i));
    th.replaceChildren(button);
  });
  const note = make("p", {className: "soft print-only"});
  function paper(n) {
    note.textContent = n > PRINTED ? `On paper: the first ${PRINTED} of ${n} rows.` : "";
  }
  const fields = make("fieldset", {className: "filters"},
    make("legend", {className: "hidden", textContent: `Filter the table ${table.dataset.name}`}),
    make("label", {}, "Rows that contain", search));
  const content = () => csv(names, seen.map((row) => row.values));
  const buttons = csvButtons(table.dataset.name, content, (words) => draw(words));
  search.addEventListener("input", filter);
  if (table.dataset.filters) box.before(fields, count);
  box.after(note);
  paper(inside ? inside.rows : body.rows.length);
  const fold = table.closest("details:not([open])");
  if (inside && fold) fold.addEventListener("toggle", load, {once: true}); // thousands of rows wait until they are asked for
  else load();
}

document.querySelectorAll("table.sorts").forEach(enhance);

// The theme follows the system until the button is pressed; nothing is stored outside the page.
{
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const button = make("button", {type: "button", className: "theme", textContent: "Dark theme"});
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const tell = () => button.setAttribute("aria-pressed", dark());
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    tell();
  });
  system.addEventListener("change", tell);
  tell();
  document.querySelector("header")?.append(button);
}
