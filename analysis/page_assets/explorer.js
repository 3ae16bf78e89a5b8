// The explorer: the score of every layer with one recorded area, plain against attention, drawn from layers.csv and
// scores.csv as they lie in the page. The same numbers stand in a table below it, for readers who do not see it.

const EXPLORER = document.getElementById("explorer-view");
const PREFIX = "#explorer:";
const KEYS = ["region", "recording", "metric", "network", "training", "scale"];

function explorer(root) {
  const layers = records("layers"), scores = records("scores");
  const trained = layers.filter(ownTraining);
  const word = (name) => DATA.labels[name] ?? name;
  const state = {scale: "ceiling"};
  let mapped = ""; // what the map shows, in words
  let focus = {s: 0, x: 0}, wide = 0;

  // ---- what may be chosen -------------------------------------------------------------------------------------
  const inOrder = (order) => (a, b) =>
    ((order.indexOf(a) + 1 || 99) - (order.indexOf(b) + 1 || 99)) || a.localeCompare(b, "en", {numeric: true});
  const places = unique(trained.map(place)).sort((a, b) => {
    const [[p, q], [r, s]] = [a.split("\n"), b.split("\n")];
    return inOrder(DATA.regions)(p, r) || q.localeCompare(s, "en", {numeric: true});
  });
  const here = () => trained.filter((r) => r.region === state.region && r.recording === state.recording);
  const options = {
    metric: () => unique(here().map((r) => r.metric)).sort(inOrder(DATA.metrics)),
    network: () => unique(here().filter((r) => r.metric === state.metric).map((r) => r.network))
      .sort(inOrder(DATA.networks)),
    training: () => unique(here().filter((r) => r.metric === state.metric && r.network === state.network)
      .map((r) => r.training)).sort(inOrder(DATA.trainings)),
  };

  function settle() {
    if (!["ceiling", "layers"].includes(state.scale)) state.scale = "ceiling";
    if (!places.includes(`${state.region}\n${state.recording}`)) [state.region, state.recording] = places[0].split("\n");
    for (const key of ["metric", "network", "training"]) {
      const there = options[key]();
      if (!there.includes(state[key])) state[key] = there[0];
    }
  }

  // ---- the numbers --------------------------------------------------------------------------------------------
  const profile = () => layerProfile(layers, scores, state, word);

  function describe(p, s, x) {
    const one = p.series[s], values = one.seeds.map((r) => r.values[x]).filter((v) => v !== null);
    const mark = one.committed[x];
    const n = `mean of ${values.length} seeds: ${values.map(shown).join(", ")}`;
    return `${p.names[x]} (depth ${shown(p.depths[x])}), ${one.label}: ${shown(one.means[x])}`
      + ` (${values.length === 1 ? "one seed" : n})`
      + (mark ? `, committed by ${mark} of ${one.seeds.length}` : "")
      + `. ${levels(p)}`;
  }

  function levels(p) {
    const say = (name, values) => (values.length ? `${name} ${values.map(shown).join(", ")}` : `${name} not known`);
    return `${say("Ceiling", p.ceilings)}, ${say("pixels", p.pixels)}.`;
  }

  // ---- the picture --------------------------------------------------------------------------------------------
  function picture(p) {
    const all = p.series.flatMap((s) => s.seeds.flatMap((r) => r.values)).concat(p.pixels, 0)
      .concat(state.scale === "ceiling" ? p.ceilings : []).filter((v) => v !== null);
    const low = Math.min(...all), span = Math.max(...all) - low || 1;
    const [bottom, top] = [low < 0 ? low - 0.06 * span : 0, low + 1.08 * span];
    const width = Math.max(320, Math.min(1080, root.clientWidth || 900));
    const foot = 24 + 4.6 * Math.max(...p.names.map((n) => Math.min(n.length, 18)));
    const box = {left: 52, right: width - 58, top: 22, bottom: 330};
    const height = box.bottom + foot;
    const px = (x) => (p.names.length === 1 ? (box.left + box.right) / 2
      : box.left + 16 + (x * (box.right - box.left - 32)) / (p.names.length - 1));
    const py = (v) => box.bottom - ((v - bottom) / (top - bottom)) * (box.bottom - box.top);
    const svg = make("svg", {
      viewBox: `0 0 ${width} ${height}`, role: "application", id: "explorer-picture",
      "aria-label": `${title()}. Arrow keys left and right go along the layers, up and down between the networks.`,
    });
    for (const v of ticks(bottom, top)) {
      svg.append(make("line", {class: "grid", x1: box.left, x2: box.right, y1: py(v), y2: py(v)}));
      const words = make("text", {x: box.left - 7, y: py(v) + 4, "text-anchor": "end", class: "tick", "data-v": v});
      words.textContent = shown(v);
      svg.append(words);
    }
    const axis = make("text", {transform: `translate(13 ${(box.top + box.bottom) / 2}) rotate(-90)`, "text-anchor": "middle"});
    axis.textContent = "score (raw)";
    svg.append(axis);
    for (const [name, values] of [["ceiling", p.ceilings], ["pixels", p.pixels]]) {
      for (const v of values) {
        const above = v > top;
        const words = make("text", {x: above ? box.right : box.right + 5, y: above ? 14 : py(v) + 4, "text-anchor": above ? "end" : "start"});
        words.textContent = above ? `${name} ${shown(v)}, above this scale` : name;
        svg.append(words);
        if (above) continue;
        svg.append(make("line", {class: `level ${name}`, x1: box.left, x2: box.right, y1: py(v), y2: py(v), "data-v": v}));
      }
    }
    p.names.forEach((name, x) => {
      const words = make("text", {transform: `translate(${px(x) + 4} ${box.bottom + 16}) rotate(-40)`, "text-anchor": "end"});
      words.textContent = name.length > 18 ? `${name.slice(0, 17)}…` : name;
      svg.append(words);
    });
    const path = (values) => {
      let pen = "M";
      return values.map((v, x) => {
        if (v === null) { pen = "M"; return ""; }
        const step = `${pen}${px(x).toFixed(2)} ${py(v).toFixed(2)}`;
        pen = "L";
        return step;
      }).join("");
    };
    const groups = p.series.map((one) => make("g", {class: one.untrained ? "untrained" : `s${one.shape}`}));
    p.series.forEach((one, s) => {
      const dash = {"stroke-dasharray": DASHES[one.shape]};
      if (one.seeds.length > 1) {
        one.seeds.forEach((r) => groups[s].append(make("path", {class: "curve seed", d: path(r.values), ...dash})));
      }
      groups[s].append(make("path", {class: "curve", d: path(one.means), ...dash}));
    });
    p.series.forEach((one, s) => one.means.forEach((v, x) => {
      if (v === null) return;
      const point = make("g", {
        class: "point", role: "img", tabindex: -1, transform: `translate(${px(x).toFixed(2)} ${py(v).toFixed(2)})`,
        "aria-label": describe(p, s, x), "data-series": s, "data-layer": x, "data-v": v,
      }, make("circle", {class: "hit", r: 11}), make("path", {class: "mark", d: SHAPES[one.shape]}));
      if (one.committed[x] && !one.untrained) point.append(make("circle", {class: "ring", r: 8.5}));
      point.addEventListener("pointerenter", () => tell(p, s, x));
      point.addEventListener("focus", () => tell(p, s, x));
      groups[s].append(point);
    }));
    svg.append(...groups.reverse()); // the plain and attention networks on top of the untrained ones
    svg.addEventListener("keydown", (event) => move(event, p));
    return svg;
  }

  function points() {
    return [...root.querySelectorAll(".point")];
  }

  function tell(p, s, x) {
    focus = {s, x};
    readout.textContent = describe(p, s, x);
    for (const point of points()) {
      const on = Number(point.dataset.series) === s && Number(point.dataset.layer) === x;
      point.classList.toggle("on", on);
      point.setAttribute("tabindex", on ? 0 : -1);
    }
  }

  function move(event, p) {
    const steps = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0]};
    const ends = {Home: p.names.findIndex((_, i) => p.series[focus.s].means[i] !== null),
      End: p.series[focus.s].means.findLastIndex((v) => v !== null)};
    let {s, x} = focus;
    if (event.key in ends) x = ends[event.key];
    else if (event.key in steps) {
      const [ds, dx] = steps[event.key];
      do { // over layers that one of the networks does not have
        s += ds;
        x += dx;
      } while (p.series[s] && x >= 0 && x < p.names.length && p.series[s].means[x] === null);
      if (!p.series[s] || x < 0 || x >= p.names.length) { s = focus.s; x = focus.x; }
    } else return;
    event.preventDefault();
    points().find((q) => Number(q.dataset.series) === s && Number(q.dataset.layer) === x)?.focus();
  }

  function legend(p) {
    const item = (words, sign) => make("li", {}, make("svg", {viewBox: "0 0 34 16", "aria-hidden": "true"}, sign), ` ${words}`);
    const items = p.series.map((one) => item(
      `${one.label}, ${one.seeds.length === 1 ? "one seed" : `mean of ${one.seeds.length} seeds`}`,
      make("g", {class: one.untrained ? "untrained" : `s${one.shape}`},
        make("path", {class: "curve", d: "M0 8H34", "stroke-dasharray": DASHES[one.shape]}),
        make("path", {class: "mark", d: SHAPES[one.shape], transform: "translate(17 8)"}))));
    if (p.series.some((one) => one.seeds.length > 1)) {
      items.push(item("thin: each seed", make("g", {class: "s0"}, make("path", {class: "curve seed", d: "M0 8H34"}))));
    }
    items.push(item("committed layer", make("circle", {class: "ring", r: 7, cx: 17, cy: 8})));
    return items;
  }

  // ---- the table ----------------------------------------------------------------------------------------------
  function numbers(p) {
    const {names, cells} = profileGrid(p);
    const number = names.map((_, i) => cells.some((row) => typeof row[i] === "number"));
    const head = make("tr", {}, ...names.map((name, i) => make("th", {
      scope: "col", className: number[i] ? "n" : "", textContent: name})));
    const rows = cells.map((row) => make("tr", {}, ...row.map((value, i) => {
      const cell = i ? make("td", {className: number[i] ? "n" : ""}) : make("th", {scope: "row"});
      if (typeof value === "number") cell.dataset.v = value;
      cell.textContent = typeof value === "number" ? shown(value) : value ?? "";
      return cell;
    })));
    return make("table", {id: "explorer-numbers", className: names.length > 9 ? "many" : ""}, make("caption", {textContent: `${title()}. ${levels(p)}`}),
      make("thead", {}, head), make("tbody", {}, ...rows));
  }

  // ---- putting it on the page ---------------------------------------------------------------------------------
  const trainedWords = () => (state.training ? `, ${word(`trained:${state.training}`)}` : "");
  const title = () => `${word(state.network)}${trainedWords()}: score of `
    + `each layer with ${state.region} of ${state.recording} (${word(state.metric)})`;
  const readout = make("p", {className: "readout", role: "status", "aria-live": "polite"});
  const heading = make("h3", {id: "explorer-title", tabIndex: -1});
  const selects = {};
  const fields = make("fieldset", {className: "filters"}, make("legend", {className: "hidden", textContent: "What the explorer shows"}));
  for (const [key, words] of [["place", "Area and recording"], ["metric", "Metric"], ["network", "Network"], ["training", "Training"]]) {
    selects[key] = make("select", {id: `explorer-${key}`});
    selects[key].addEventListener("change", () => {
      if (key === "place") [state.region, state.recording] = selects[key].value.split("\n");
      else state[key] = selects[key].value;
      show(true);
    });
    fields.append(make("label", {}, words, selects[key]));
  }
  const zoom = make("input", {type: "checkbox", id: "explorer-scale"});
  zoom.addEventListener("change", () => {
    state.scale = zoom.checked ? "layers" : "ceiling";
    show(true);
  });
  fields.append(make("label", {className: "check"}, zoom, "Scale to the layers, not to the ceiling"));
  const link = make("a", {textContent: "Link to this view"});
  const frame = make("div", {id: "explorer-frame"}), keys = make("ul", {className: "legend"});
  const below = make("div", {className: "wide", role: "region", tabIndex: 0, "aria-label": "Numbers of the explorer"});
  const buttons = csvButtons("layer-profile", () => { const {names, cells} = profileGrid(profile()); return csv(names, cells); },
    (words) => { readout.textContent = words; });
  const mapSelect = make("select", {id: "explorer-map-choice"});
  mapSelect.addEventListener("change", () => { mapped = mapSelect.value; show(false); });
  const mapBox = make("div", {className: "wide", role: "region", tabIndex: 0, "aria-label": "Map of layers and areas"});
  root.append(fields, heading, keys, frame, readout, make("p", {className: "no-print filters"}, link, ...buttons), below,
    make("h3", {textContent: "Every area at once"}),
    make("p", {className: "filters"}, make("label", {}, "Shown", mapSelect)), mapBox);

  /** The map of the chosen network, metric and training over all places that have them. */
  function drawMap() {
    const wanted = {metric: state.metric, network: state.network, training: state.training};
    const at = (name) => Object.fromEntries([["region", name.split("\n")[0]], ["recording", name.split("\n")[1]]]);
    const there = new Set(trained.filter((r) => KEYS.every((key) => !(key in wanted) || r[key] === wanted[key])).map(place));
    const profiles = places.filter((name) => there.has(name)).map((name) => (
      {place: name, profile: layerProfile(layers, scores, {...wanted, ...at(name)}, word)}));
    const choices = unique(profiles.flatMap(({profile: one}) => mapChoices(one).map((c) => c.words)));
    if (!choices.includes(mapped)) [mapped] = choices;
    fill(mapSelect, choices, (words) => words, mapped);
    const words = `${word(state.network)}${trainedWords()}, ${mapped}: raw score (${word(state.metric)}) of each layer `
      + "with each area, mean over seeds; framed: committed by at least one seed. Areas without this metric are left out.";
    mapBox.replaceChildren(mapTable(profiles, mapped, place(state), words, (name) => {
      Object.assign(state, at(name));
      show(true);
      heading.focus(); // the button that was pressed is gone; what it asked for is here
    }));
  }

  function fill(select, values, label, chosen) {
    select.replaceChildren(...values.map((value) => make("option", {value, textContent: label(value), selected: value === chosen})));
  }

  function picked() {
    fill(selects.place, places, (v) => v.split("\n").join(" · ") + (DATA.planted.includes(v.split("\n")[1]) ? " (invented)" : ""), place(state));
    for (const key of ["metric", "network", "training"]) {
      const label = key === "training" ? (v) => word(`trained:${v}`) : word;
      fill(selects[key], options[key](), label, state[key]);
    }
  }

  function show(remember, words = "") {
    settle();
    picked();
    const p = profile();
    zoom.checked = state.scale === "layers";
    heading.textContent = title();
    keys.replaceChildren(...legend(p));
    frame.replaceChildren(picture(p));
    below.replaceChildren(numbers(p));
    drawMap();
    wide = root.clientWidth;
    focus = {s: 0, x: Math.max(0, p.series[0].means.findIndex((v) => v !== null))};
    points().find((q) => q.dataset.series === "0" && Number(q.dataset.layer) === focus.x)?.setAttribute("tabindex", 0);
    readout.textContent = words || `${title()}. ${levels(p)} Point at a mark, or go to one with Tab and the arrow keys, for its numbers.`;
    link.href = PREFIX + new URLSearchParams(KEYS.map((key) => [key, state[key]]));
    if (remember) history.replaceState(null, "", link.href);
  }

  function fromHash() {
    if (!location.hash.startsWith(PREFIX)) return;
    const asked = Object.fromEntries(new URLSearchParams(location.hash.slice(PREFIX.length)));
    for (const key of KEYS) if (key in asked) state[key] = asked[key];
    show(false);
    const lost = KEYS.filter((key) => key in asked && asked[key] !== state[key]);
    if (lost.length) readout.textContent = `Not in this page: ${lost.map((key) => `${key} ${asked[key]}`).join(", ")}. ${heading.textContent} is shown.`;
    document.getElementById("explorer").scrollIntoView();
  }

  show(false);
  fromHash();
  addEventListener("hashchange", fromHash);
  new ResizeObserver(() => { // text keeps its size: the picture is drawn anew for the room that it has
    if (root.clientWidth !== wide) show(false);
  }).observe(root);
}

if (EXPLORER && DATA.tables.layers?.rows) explorer(EXPLORER);
