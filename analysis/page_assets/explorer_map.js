// The map of the explorer: every layer (rows) with every recorded area (columns) of one network, as a table whose cells
// are tinted by their number. A column's heading takes the picture above to that area.

/** What the map may show of a profile: [words, number of a layer]; the first is the plain twin where there is one. */
function mapChoices(p) {
  const trained = p.series.filter((one) => !one.untrained);
  const plain = trained.find((one) => one.attention === "none");
  const found = trained.map((one) => ({words: one.label, of: (x) => one.means[x], committed: one}));
  for (const one of trained) {
    if (!plain || one === plain) continue;
    const of = (x) => (one.means[x] === null || plain.means[x] === null ? null : one.means[x] - plain.means[x]);
    found.push({words: `${one.label} − plain`, of, difference: true});
  }
  return found;
}

/** The table of the map. profiles: [{place, profile}] of one network, metric and training; shownAs: words of mapChoices. */
function mapTable(profiles, shownAs, current, title, choose) {
  const cells = profiles.map(({profile}) => {
    const choice = mapChoices(profile).find((c) => c.words === shownAs);
    return profile.names.map((name, x) => {
      const one = choice?.committed, n = one?.committed[x] ?? 0;
      return {name, depth: profile.depths[x], value: choice ? choice.of(x) : null, choice,
        committed: n ? `, committed by ${n} of ${one.seeds.length}` : ""};
    });
  });
  const depths = new Map(cells.flat().map((cell) => [cell.name, cell.depth]));
  const names = [...depths.keys()].sort((a, b) => depths.get(a) - depths.get(b) || a.localeCompare(b));
  const most = Math.max(...cells.flat().map((cell) => Math.abs(cell.value ?? 0))) || 1;
  const head = make("tr", {}, make("th", {scope: "col", textContent: "layer"}), ...profiles.map(({place: name}) => {
    const [region, recording] = name.split("\n");
    const button = make("button", {type: "button", title: "show in the picture above"}, region, make("br"), recording);
    button.addEventListener("click", () => choose(name));
    const th = make("th", {scope: "col", className: "n"}, button);
    if (name === current) th.setAttribute("aria-current", "true");
    return th;
  }));
  const rows = names.map((name) => make("tr", {}, make("th", {scope: "row", textContent: name}), ...cells.map((column) => {
    const cell = column.find((c) => c.name === name);
    const td = make("td", {className: "n"});
    if (!cell || cell.value === null) return td;
    td.textContent = shown(cell.value);
    td.dataset.v = cell.value;
    td.classList.add("heat");
    td.style.setProperty("--part", Math.min(1, Math.abs(cell.value) / most).toFixed(3));
    td.style.setProperty("--hue", `var(--${cell.value < 0 ? "attention" : "plain"})`);
    if (cell.committed) {
      td.classList.add("committed");
      td.append(make("span", {className: "hidden", textContent: cell.committed}));
    }
    return td;
  })));
  return make("table", {className: profiles.length > 8 ? "map many" : "map", id: "explorer-map"},
    make("caption", {textContent: title}), make("thead", {}, head), make("tbody", {}, ...rows));
}
