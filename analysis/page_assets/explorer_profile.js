// The numbers of the explorer, apart from how they are drawn: what explorer.js shows, as a picture and as a table.

const SHAPES = [
  "M0-5A5 5 0 1 0 0 5A5 5 0 1 0 0-5Z", "M0-6L5.5 4.5H-5.5Z", "M-4.5-4.5H4.5V4.5H-4.5Z", "M0-6.5L6 0L0 6.5L-6 0Z",
];
const DASHES = ["none", "6 3", "8 3 2 3", "2 2"];

const unique = (values) => [...new Set(values)];
const mean = (values) => values.reduce((sum, v) => sum + v, 0) / values.length;
const place = (row) => `${row.region}\n${row.recording}`;
/** Whether a row is of a network with a training of its own, ours or ready made. */
const ownTraining = (row) => row.kind === "network" || row.kind === "control";

/** One series an attention kind and heads, trained first, then untrained: means over seeds and each seed, and how many
 * of its runs committed each layer. state: region, recording, metric, network, training. */
function layerProfile(layers, scores, state, word) {
  const at = (row) => place(row) === place(state) && row.metric === state.metric;
  const mine = layers.filter((r) => at(r) && r.network === state.network
    && (ownTraining(r) ? r.training === state.training : r.kind === "untrained"));
  const depth = new Map(mine.map((r) => [r.layer, r.depth]));
  const names = [...depth.keys()].sort((a, b) => depth.get(a) - depth.get(b) || a.localeCompare(b));
  const kinds = unique(mine.map((r) => `${r.attention}\n${r.heads ?? ""}`))
    .sort((a, b) => b.startsWith("none\n") - a.startsWith("none\n") || a.localeCompare(b, "en", {numeric: true}));
  const others = kinds.filter((kind) => !kind.startsWith("none\n"));
  const series = [];
  for (const untrained of [false, true]) {
    kinds.forEach((kind) => {
      const rows = mine.filter((r) => `${r.attention}\n${r.heads ?? ""}` === kind && ownTraining(r) !== untrained);
      if (!rows.length) return;
      const [attention, heads] = kind.split("\n");
      const twin = word(attention) + (Number(heads) ? ` (${heads} heads)` : "");
      const shape = (others.indexOf(kind) + 1) % SHAPES.length; // 0 is the plain twin
      const runs = unique(rows.map((r) => r.run));
      const seeds = runs.map((run) => {
        const found = new Map(rows.filter((r) => r.run === run).map((r) => [r.layer, r.score]));
        return {seed: rows.find((r) => r.run === run).seed, values: names.map((n) => found.get(n) ?? null)};
      }).sort((a, b) => a.seed - b.seed);
      const chosen = scores.filter((r) => at(r) && runs.includes(r.run) && r.kind !== "shuffled").map((r) => r.layer);
      series.push({
        label: untrained ? `untrained, ${twin}` : twin, attention, shape, untrained, seeds,
        means: names.map((_, x) => {
          const values = seeds.map((s) => s.values[x]).filter((v) => v !== null);
          return values.length ? mean(values) : null;
        }),
        committed: names.map((n) => chosen.filter((layer) => layer === n).length),
      });
    });
  }
  const ceilings = unique(layers.filter(at).map((r) => r.ceiling).filter((v) => v !== null));
  const pixels = [layers, scores].map((t) => t.filter((r) => at(r) && r.kind === "pixels").map((r) => r.score)
    .filter((v) => v !== null)).find((v) => v.length) ?? [];
  return {names, depths: names.map((n) => depth.get(n)), series, ceilings, pixels};
}

function profileGrid(p) {
  const names = ["layer", "depth"], cells = p.names.map((n, x) => [n, p.depths[x]]);
  const plain = p.series.find((one) => !one.untrained && one.attention === "none");
  const add = (name, values) => { names.push(name); values.forEach((v, x) => cells[x].push(v)); };
  for (const one of p.series) {
    add(one.label + (one.seeds.length > 1 ? ", mean" : ""), one.means);
    if (one.seeds.length > 1) one.seeds.forEach((r) => add(`${one.label}, seed ${r.seed}`, r.values));
    if (one.committed.some(Boolean)) {
      add(`${one.label}, committed by`, one.committed.map((n) => (n ? `${n} of ${one.seeds.length}` : "")));
    }
    if (plain && one !== plain && !one.untrained) {
      add(`${one.label} − plain`, one.means.map((v, x) => (v === null || plain.means[x] === null ? null : v - plain.means[x])));
    }
  }
  return {names, cells};
}

/** Round numbers between low and high, about five. */
function ticks(low, high) {
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((m) => m * power >= rough) * power;
  const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
  return Array.from({length: last - first + 1}, (_, i) => Number(((first + i) * step).toPrecision(12)));
}
